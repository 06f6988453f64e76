"""The two sources over the same models: a folder, and the local Hub that serves it to the real client."""

from __future__ import annotations

import json
import logging
import os
import socket
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from safetensors.numpy import save

from crawler.folder import FolderSource
from crawler.hub import HubSource
from crawler.retry import Policy
from crawler.safetensors_header import read_header
from crawler.source import Query, Source
from db.errors import (
    CardMalformed,
    ConfigMalformed,
    HeaderMalformed,
    RangeNotHonoured,
    RepositoryUnavailable,
    SourceUnreachable,
    Transient,
    WeightsMissing,
)
from hublineage.hub.faults import Faults
from hublineage.hub.server import HubServer

QUICK = Policy(sleep=lambda _: None)
WEIGHTS = save({"w": np.arange(50_000, dtype="<f4").reshape(500, 100), "b": np.ones(7, "<f2")})
SIDECARS: dict[str, dict[str, Any]] = {
    "alice/plain": {"created_at": "2026-01-02T03:04:05Z", "likes": 3, "tags": ["vision"]},
    "alice/gated": {"created_at": "2026-01-03T03:04:05Z", "gated": "manual"},
    "alice/disabled": {"created_at": "2026-01-04T03:04:05Z", "disabled": True},
    "bob/copy": {"created_at": "2026-01-05T03:04:05Z", "commit_title": "Duplicate from alice/plain"},
    "bob/bare": {"created_at": "2026-01-06T03:04:05Z"},
}


def write_models(root: Path) -> None:
    for name, sidecar in SIDECARS.items():
        folder = root / name
        folder.mkdir(parents=True)
        (folder / ".hub.json").write_text(json.dumps(sidecar))
        if name != "bob/bare":
            (folder / "model.safetensors").write_bytes(WEIGHTS)
            (folder / "config.json").write_text('{"architectures": ["ViTForImageClassification"], "model_type": "vit"}')
            (folder / "README.md").write_text("---\nlicense: mit\n---\nText.")
    (root / "alice/plain/README.md").write_text("---\nbase_model: bob/root\n---\nText.")
    (root / "truth.json").write_text("{}")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    write_models(root)
    return root


@pytest.fixture(params=["folder", "hub"])
def source(request: pytest.FixtureRequest, models: Path, hub: HubSource) -> Source:
    return FolderSource(models) if request.param == "folder" else hub


def names(source: Source, query: Query | None = None, cursor: str | None = None) -> list[str]:
    return [row.name for page in source.pages(query or Query(), cursor) for row in page.rows]


def test_both_list_all_models(source: Source) -> None:
    assert sorted(names(source)) == sorted(SIDECARS)
    rows = {row.name: row for page in source.pages(Query()) for row in page.rows}
    assert rows["alice/plain"].likes == 3
    assert rows["alice/plain"].author == "alice"
    assert str(rows["alice/plain"].created_at) == "2026-01-02 03:04:05+00:00"
    assert rows["alice/plain"].architectures == ("ViTForImageClassification",)
    assert rows["alice/gated"].gated == "manual"
    assert rows["alice/disabled"].disabled


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(author="bob"), ["bob/bare", "bob/copy"]),
        (Query(search="pla"), ["alice/plain"]),
        (Query(tags=("vision",)), ["alice/plain"]),
        (Query(architectures=("ViT*",), author="bob"), ["bob/copy"]),
        (Query(architectures=("Llama*", "Bert*")), []),
        (Query(ids=("bob/bare", "no/body", "bob/bare")), ["bob/bare", "no/body"]),
        (Query(author="nobody"), []),
    ],
)
def test_both_answer_queries_alike(source: Source, query: Query, expected: list[str]) -> None:
    assert sorted(names(source, query)) == expected


def test_a_limit_ends_the_listing(source: Source) -> None:
    assert len(names(source, Query(limit=3))) == 3


def test_the_hubs_listing_goes_by_creation_and_goes_on_from_any_cursor(hub: HubSource) -> None:
    pages = list(hub.pages(Query()))
    assert [row.name for page in pages for row in page.rows] == list(SIDECARS)
    assert [len(page.rows) for page in pages] == [2, 2, 1]
    assert pages[-1].cursor is None
    assert names(hub, cursor=pages[0].cursor) == list(SIDECARS)[2:]


def test_a_folders_listing_goes_on_from_a_name(models: Path) -> None:
    assert names(FolderSource(models), cursor="alice/gated") == ["alice/plain", "bob/bare", "bob/copy"]


def test_both_give_the_same_details(source: Source) -> None:
    details = source.details("alice/plain")
    files = {file.path: file for file in details.files}
    assert {"README.md", "config.json", "model.safetensors"} <= set(files) <= {*files, ".gitattributes"}
    assert ".hub.json" not in files
    assert files["model.safetensors"].size == len(WEIGHTS)
    assert details.config is not None
    assert details.config["model_type"] == "vit"
    assert details.card_data is not None
    assert details.card_data["base_model"] == "bob/root"
    assert len(details.sha) == 40
    assert details.listed.name == "alice/plain"
    assert source.details("alice/plain").sha == details.sha
    assert source.details("bob/copy").commit_titles == ("Duplicate from alice/plain",)


def test_both_read_the_same_bytes(source: Source) -> None:
    sha = source.details("alice/plain").sha
    assert source.read_small("alice/plain", sha, "README.md", 1000).startswith(b"---\nbase_model")
    header = read_header(
        lambda start, stop: source.read_range("alice/plain", sha, "model.safetensors", start, stop),
        len(WEIGHTS),
        file="model.safetensors",
    )
    spec = {spec.name: spec for spec in header.specs}["w"]
    buffer = np.empty(spec.shape, "<f4")
    source.read_into("alice/plain", sha, "model.safetensors", spec.start, buffer.data)
    assert np.array_equal(buffer, np.arange(50_000, dtype="<f4").reshape(500, 100))
    assert source.read_range("alice/plain", sha, "model.safetensors", 5, 5) == b""


def test_both_refuse_what_is_too_large_missing_or_too_short(source: Source) -> None:
    sha = source.details("alice/plain").sha
    with pytest.raises(CardMalformed, match="expected at most 5"):
        source.read_small("alice/plain", sha, "README.md", 5)
    with pytest.raises(ConfigMalformed, match="expected at most 5"):
        source.read_small("alice/plain", sha, "config.json", 5)
    with pytest.raises(ConfigMalformed, match="not in this revision"):
        source.read_small("alice/plain", sha, "adapter_config.json", 5)
    with pytest.raises(WeightsMissing, match="not in this revision"):
        source.read_range("alice/plain", sha, "model-2.safetensors", 0, 5)
    with pytest.raises(HeaderMalformed, match=f"the file has {len(WEIGHTS)} bytes"):
        source.read_range("alice/plain", sha, "model.safetensors", 0, len(WEIGHTS) + 1)
    with pytest.raises(ValueError, match="no range"):
        source.read_range("alice/plain", sha, "model.safetensors", 3, 1)


@pytest.mark.parametrize("name", ["no/body", "alice/nobody", "../etc", "a b/c", "alice", "alice/plain/x"])
def test_both_say_when_a_repository_is_not_there(source: Source, name: str) -> None:
    with pytest.raises(RepositoryUnavailable) as caught:
        source.details(name)
    assert caught.value.model == name


def test_a_gated_repository_has_details_but_no_files(source: Source) -> None:
    details = source.details("alice/gated")
    assert details.listed.gated == "manual"
    assert details.files
    with pytest.raises(RepositoryUnavailable, match="gated"):
        source.read_range("alice/gated", details.sha, "model.safetensors", 0, 8)
    with pytest.raises(RepositoryUnavailable, match="gated"):
        source.read_small("alice/gated", details.sha, "README.md", 1000)


def test_a_disabled_repository_cannot_be_read(source: Source) -> None:
    details = source.details("alice/disabled")
    assert details.listed.disabled
    with pytest.raises(RepositoryUnavailable, match="disabled"):
        source.read_range("alice/disabled", details.sha, "model.safetensors", 0, 8)


def test_a_refused_expand_falls_back_to_full_rows(models: Path) -> None:
    with HubServer(models, listing_expands=("sha",)) as server, HubSource(server.url, policy=QUICK) as source:
        rows = {row.name: row for page in source.pages(Query(architectures=("ViT*",))) for row in page.rows}
    assert sorted(rows) == sorted(set(SIDECARS) - {"bob/bare"})
    assert rows["alice/plain"].sha


def test_a_busy_hub_is_asked_again_and_a_broken_one_is_transient(hub: HubSource, faults: Faults) -> None:
    faults.status(429, "/api/models", times=2, headers={"Retry-After": "1"})
    assert len(names(hub)) == 5
    faults.status(503, "/api/models/alice/plain", times=2)
    assert hub.details("alice/plain").sha
    faults.status(500, "/api/models*", times=None)
    with pytest.raises(SourceUnreachable, match="answers 500"):
        names(hub)
    with pytest.raises(Transient, match="answers 500") as caught:
        hub.details("alice/plain")
    assert type(caught.value) is Transient  # failures are stored by the names of their classes
    assert caught.value.model == "alice/plain"


def test_weights_survive_cuts_and_a_server_that_ignores_ranges_does_not(hub: HubSource, faults: Faults) -> None:
    sha = hub.details("alice/plain").sha
    hub.read_range("alice/plain", sha, "model.safetensors", 0, 8)
    faults.cut_after(1000, times=2)
    faults.status(403, "/cdn/*", times=1)
    assert hub.read_range("alice/plain", sha, "model.safetensors", 0, len(WEIGHTS)) == WEIGHTS
    faults.ignore_range()
    with pytest.raises(RangeNotHonoured, match="expected 206"):
        hub.read_range("alice/plain", sha, "model.safetensors", 0, 100)


def test_many_ranges_of_a_file_cost_one_resolve(hub: HubSource, faults: Faults) -> None:
    sha = hub.details("alice/plain").sha
    faults.clear()
    for start in range(0, 1000, 100):
        hub.read_range("alice/plain", sha, "model.safetensors", start, start + 100)
    assert sum("/resolve/" in asked for asked in faults.asked) == 1
    assert sum(asked.startswith("GET /cdn/") for asked in faults.asked) == 10


def test_an_expired_address_is_renewed(models: Path) -> None:
    now = [1e9]
    with HubServer(models, clock=lambda: now[0], address_lifetime=60) as server, HubSource(server.url) as source:
        sha = source.details("alice/plain").sha
        source.read_range("alice/plain", sha, "model.safetensors", 0, 100)
        now[0] += 61
        assert source.read_range("alice/plain", sha, "model.safetensors", 8, 100) == WEIGHTS[8:100]


def test_a_card_beyond_its_limit_is_never_loaded(tmp_path: Path) -> None:
    (tmp_path / "a/big").mkdir(parents=True)
    with (tmp_path / "a/big/README.md").open("wb") as card:
        card.truncate(50_000_000)
    faults = Faults()
    with HubServer(tmp_path, faults=faults) as server, HubSource(server.url, policy=QUICK) as hub:
        for source in (hub, FolderSource(tmp_path)):
            details = source.details("a/big")
            with pytest.raises(CardMalformed, match="50000000 bytes, expected at most 1000000"):
                source.read_small("a/big", details.sha, "README.md", 1_000_000)
    assert not any(asked.startswith("GET") and asked.endswith("README.md") for asked in faults.asked)


def test_an_unreachable_hub_is_named(models: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with HubSource(f"http://127.0.0.1:{port}", policy=QUICK) as source:
        for call in (
            lambda: names(source),
            lambda: source.details("a/b"),
            lambda: source.read_small("a/b", "0" * 40, "x", 9),
        ):
            with pytest.raises(SourceUnreachable, match=f"127.0.0.1:{port}"):
                call()
    with pytest.raises(SourceUnreachable, match="nowhere"):
        FolderSource(models / "nowhere")


def test_a_stalled_hub_is_transient() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        HubSource(
            f"http://127.0.0.1:{silent.getsockname()[1]}",
            policy=Policy(tries=2, sleep=lambda _: None),
            timeout=httpx2.Timeout(0.2),
        ) as source,
        pytest.raises(Transient, match="ReadTimeout"),
    ):
        source.details("org/name")


def test_the_token_is_sent_to_its_hub_and_written_nowhere(models: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with HubServer(models, tokens=("hf_secret",)) as server:
        with HubSource(server.url, "hf_secret", policy=QUICK) as source:
            sha = source.details("alice/gated").sha
            assert source.read_range("alice/gated", sha, "model.safetensors", 0, 8) == WEIGHTS[:8]
            with pytest.raises(RepositoryUnavailable) as caught:
                source.details("no/body")
        with HubSource(server.url, "hf_wrong", policy=QUICK) as source, pytest.raises(RepositoryUnavailable):
            source.read_range("alice/gated", sha, "model.safetensors", 0, 8)
    assert "hf_secret" not in caplog.text
    assert "hf_secret" not in f"{caught.value} {source!r}"


def test_the_environments_token_goes_to_no_other_hub(
    models: Path, monkeypatch: pytest.MonkeyPatch, served: tuple[str, Faults]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_environment")
    with HubSource(served[0]) as source:
        assert "authorization" not in source._headers()
        assert source._headers()["user-agent"].startswith("hublineage/")


def test_a_folders_sha_follows_its_content(tmp_path: Path) -> None:
    write_models(tmp_path)
    source = FolderSource(tmp_path)
    before = source.details("alice/plain").sha
    (tmp_path / "alice/plain/.hub.json").write_text("{}")
    os.utime(tmp_path / "alice/plain/README.md", (1, 1))
    assert source.details("alice/plain").sha == before
    (tmp_path / "alice/plain/README.md").write_text("other")
    after = source.details("alice/plain").sha
    assert after != before
    (tmp_path / "alice/plain/model.safetensors").write_bytes(WEIGHTS[:-5])
    with pytest.raises(Transient, match=f"{len(WEIGHTS) - 5} bytes, it had {len(WEIGHTS)} when listed"):
        source.read_range("alice/plain", after, "model.safetensors", 0, 5)


def test_a_folder_holds_models_whatever_else_lies_about(tmp_path: Path) -> None:
    write_models(tmp_path)
    plain = tmp_path / "alice/plain"
    for name in (".git/config", "truth.json", ".hidden"):
        (plain / name).parent.mkdir(exist_ok=True)
        (plain / name).write_text("x")
    (tmp_path / ".cache/x").mkdir(parents=True)
    (tmp_path / "a-file").write_text("x")
    (plain / "circle").symlink_to(tmp_path)
    (plain / "nowhere").symlink_to(tmp_path / "missing")
    (plain / "linked.json").symlink_to(tmp_path / "bob/copy/config.json")
    (tmp_path / "carol").symlink_to(tmp_path / "bob")
    os.mkfifo(plain / "pipe")
    (plain / "config.json").write_text("{")
    source = FolderSource(tmp_path)
    assert names(source, Query(author="carol")) == ["carol/bare", "carol/copy"]
    details = source.details("alice/plain")
    assert {file.path for file in details.files} == {"README.md", "config.json", "linked.json", "model.safetensors"}
    assert details.config is None
    for path in ("../copy/config.json", "/etc/hostname", ".hub.json", "circle/a-file/..", "a\0b"):
        with pytest.raises(ConfigMalformed, match="not in this revision"):
            source.read_small("alice/plain", details.sha, path, 100)


def test_an_address_that_is_none_is_unreachable() -> None:
    with (
        HubSource("ftp://example.org", policy=QUICK) as source,
        pytest.raises(SourceUnreachable, match="no http address"),
    ):
        names(source)
