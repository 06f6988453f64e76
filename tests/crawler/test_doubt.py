"""Replies that are mistakes: nothing of them is believed as long as the Hub says something else when asked again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from crawler.doubt import TIMES, confirmed
from crawler.hub import HubSource
from crawler.source import Part, Query
from db.errors import RangeNotHonoured, RepositoryUnavailable, SourceUnreachable, Transient
from hublineage.hub.faults import Faults

NAME = "org/model-1"
WEIGHTS = save({"layer.weight": np.arange(64, dtype="<f4").reshape(8, 8)})
MANY = [f"org/model-{number}" for number in range(1, 6)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for number, name in enumerate(MANY, 1):
        (root / name).mkdir(parents=True)
        facts = {"created_at": f"2026-01-0{number}T00:00:00Z", "last_modified": f"2026-02-0{number}T00:00:00Z"}
        facts["commit_title"] = "Duplicate from org/origin"
        if number == 2:
            facts["gated"] = "manual"
        (root / name / ".hub.json").write_text(json.dumps(facts))
        (root / name / "README.md").write_text("A card.")
        (root / name / "model.safetensors").write_bytes(WEIGHTS)
    return root


REFUSALS: list[Callable[[Faults, str, int], None]] = [
    lambda faults, pattern, times: faults.status(401, pattern, times),
    lambda faults, pattern, times: faults.status(403, pattern, times),
    lambda faults, pattern, times: faults.status(404, pattern, times),
]
GARBLED: list[Callable[[Faults, str, int], None]] = [
    lambda faults, pattern, times: faults.garbage(pattern, times, content="{}", media_type="application/json"),
    lambda faults, pattern, times: faults.garbage(pattern, times, content="[]", media_type="application/json"),
    lambda faults, pattern, times: faults.garbage(pattern, times),
]


@pytest.mark.parametrize("mistake", REFUSALS + GARBLED)
def test_what_the_hub_says_of_a_repository_twice_by_mistake_is_not_believed(
    hub: HubSource, faults: Faults, mistake: Callable[[Faults, str, int], None]
) -> None:
    expected = hub.details(NAME)
    mistake(faults, f"/api/models/{NAME}", TIMES - 1)
    assert hub.details(NAME) == expected
    mistake(faults, f"/api/models/{NAME}", TIMES - 1)
    found = hub.locate(NAME)
    assert found is not None
    assert found.name == NAME


@pytest.mark.parametrize("refuse", REFUSALS)
def test_a_refusal_that_comes_again_and_again_is_believed(
    hub: HubSource, faults: Faults, refuse: Callable[[Faults, str, int], None]
) -> None:
    refuse(faults, "/api/models/org/*", TIMES)
    with pytest.raises(RepositoryUnavailable):
        hub.details(NAME)
    assert len(faults.asked) == TIMES
    assert hub.locate("org/none") is None


def test_a_page_that_is_no_json_is_transient_however_often_it_comes(hub: HubSource, faults: Faults) -> None:
    faults.garbage(f"/api/models/{NAME}", times=None)
    with pytest.raises(Transient, match="not JSON"):
        hub.details(NAME)
    with pytest.raises(Transient):
        hub.locate(NAME)


@pytest.mark.parametrize("mistake", REFUSALS + GARBLED)
def test_the_commit_that_tells_of_a_duplication_is_asked_for_again(
    hub: HubSource, faults: Faults, mistake: Callable[[Faults, str, int], None]
) -> None:
    mistake(faults, "/api/models/*/commits/*", TIMES - 1)
    assert hub.details(NAME).commit_titles == ("Duplicate from org/origin",)


def test_a_history_that_cannot_be_had_for_the_moment_fails_the_description(hub: HubSource, faults: Faults) -> None:
    faults.status(502, "/api/models/*/commits/*", times=None)
    with pytest.raises(Transient):
        hub.details(NAME)


def test_a_history_that_is_refused_for_good_is_done_without(hub: HubSource, faults: Faults) -> None:
    faults.status(403, "/api/models/*/commits/*", times=None)
    assert hub.details(NAME).commit_titles == ()


@pytest.mark.parametrize("refuse", REFUSALS)
@pytest.mark.parametrize("pattern", [f"/{NAME}/resolve/*", "/api/resolve-cache/*"])
def test_a_file_that_is_refused_twice_is_read(
    hub: HubSource, faults: Faults, refuse: Callable[[Faults, str, int], None], pattern: str
) -> None:
    sha = hub.details(NAME).sha
    refuse(faults, pattern, TIMES - 1)
    assert hub.read_small(NAME, sha, "README.md", 1000) == b"A card."


MISLEADING: list[Callable[[Faults, int], None]] = [
    lambda faults, times: faults.ignore_range(times=times),
    lambda faults, times: faults.short_range(3, times=times),
    lambda faults, times: faults.shifted_range(times=times),
    lambda faults, times: faults.wrong_content_range(total=1, times=times),
    lambda faults, times: faults.status(403, "/cdn/*", times),
    lambda faults, times: faults.status(404, "/*/resolve/*", times),
    lambda faults, times: faults.status(404, "/*/resolve/*", times, error_code="EntryNotFound"),
]


@pytest.mark.parametrize("mistake", MISLEADING)
def test_bytes_that_were_not_given_twice_are_asked_for_again(
    hub: HubSource, faults: Faults, mistake: Callable[[Faults, int], None]
) -> None:
    sha = hub.details(NAME).sha
    mistake(faults, TIMES - 1)
    assert hub.read_range(NAME, sha, "model.safetensors", 8, 60) == WEIGHTS[8:60]


def test_of_many_parts_only_those_that_failed_are_asked_for_again(hub: HubSource, faults: Faults) -> None:
    names = MANY[2:]
    shas = {name: hub.details(name).sha for name in names}
    buffers = {name: bytearray(40) for name in names}
    faults.asked.clear()
    faults.ignore_range(f"/cdn/{names[0]}/*", times=1)
    found = hub.read_many([Part(name, shas[name], "model.safetensors", 8, memoryview(buffers[name])) for name in names])
    assert found == [None] * len(names)
    assert set(map(bytes, buffers.values())) == {WEIGHTS[8:48]}
    assert [sum(f"GET /cdn/{name}/" in line for line in faults.asked) for name in names] == [2, 1, 1]


def test_a_server_that_never_honours_a_range_is_told_so(hub: HubSource, faults: Faults) -> None:
    sha = hub.details(NAME).sha
    faults.ignore_range()
    with pytest.raises(RangeNotHonoured):
        hub.read_range(NAME, sha, "model.safetensors", 8, 60)


def test_what_is_gated_is_believed_at_once(hub: HubSource, faults: Faults) -> None:
    sha = hub.details(MANY[1]).sha
    faults.asked.clear()
    with pytest.raises(RepositoryUnavailable, match="gated"):
        hub.read_range(MANY[1], sha, "model.safetensors", 0, 8)
    assert len(faults.asked) == 1


def listed(hub: HubSource, **options: bool) -> list[str]:
    return [row.name for page in hub.pages(Query(), **options) for row in page.rows]


@pytest.mark.parametrize(
    "mistake",
    [
        lambda faults: faults.status(401, "/api/models", TIMES - 1),
        lambda faults: faults.status(404, "/api/models", TIMES - 1),
        lambda faults: faults.status(400, "/api/models", TIMES - 1),
        lambda faults: faults.garbage("/api/models", TIMES - 1),
        lambda faults: faults.garbage("/api/models", TIMES - 1, content="[]", media_type="application/json"),
        lambda faults: faults.garbage("/api/models", 1, content="{}", media_type="application/json"),
        lambda faults: faults.missing_cursor(),
    ],
)
@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("behind", [0, 1, 2])
def test_a_listing_is_whole_whatever_one_page_of_it_is_answered_with(
    hub: HubSource, faults: Faults, mistake: Callable[[Faults], None], newest_first: bool, behind: int
) -> None:
    found: list[str] = []
    pages = hub.pages(Query(), newest_first=newest_first)
    for _ in range(behind):
        found += [row.name for row in next(pages).rows]
    mistake(faults)
    found += [row.name for page in pages for row in page.rows]
    assert found == (MANY[::-1] if newest_first else MANY)


def test_a_listing_that_is_refused_again_and_again_is_unreachable(hub: HubSource, faults: Faults) -> None:
    faults.status(403, "/api/models", times=None)
    with pytest.raises(SourceUnreachable, match="answers the listing with 403"):
        listed(hub)
    assert len(faults.asked) == TIMES


def test_only_what_is_refused_of_expand_is_done_without(hub: HubSource, faults: Faults) -> None:
    faults.refuse_expand(["safetensors", "baseModels"], times=1)
    assert listed(hub) == MANY
    queries = [request.query for request in faults.requests[1:]]
    assert all("expand=disabled" in query and "expand=safetensors" not in query for query in queries)


def test_a_failure_is_confirmed_with_pauses_between() -> None:
    pauses: list[int] = []

    def call() -> int:
        raise RepositoryUnavailable("gone")

    with pytest.raises(RepositoryUnavailable):
        confirmed(call, pauses.append)
    assert pauses == list(range(1, TIMES))
