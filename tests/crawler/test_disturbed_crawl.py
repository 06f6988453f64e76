"""Crawls that are disturbed: by a Hub that errs or is gone for a while, by each other, and by time."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from crawler import describing, listing
from crawler.hub import HubSource
from crawler.pipeline import Crawled, Options, crawl
from crawler.retry import Policy
from crawler.source import Query
from crawler.storing import stored
from db.errors import SourceUnreachable
from hublineage.hub.faults import Faults
from hublineage.hub.server import HubServer

QUICK = Policy(sleep=lambda _: None)
EVERYTHING = Query()
PROSE = "---\nlicense: mit\n---\nA fine-tuned version of [x](https://huggingface.co/org/model-1)."


class Hub:
    """A folder that a server shows as a Hub."""

    def __init__(self, root: Path, url: str, faults: Faults) -> None:
        self.root, self.url, self.faults = root, url, faults

    def write(self, number: int, *, month: int = 1, **more: Any) -> None:
        """The model of that number; another month is another commit."""
        folder = self.root / f"org/model-{number}"
        folder.mkdir(parents=True, exist_ok=True)
        day = f"{number % 28 + 1:02}"
        facts = {"created_at": f"2026-01-{day}T00:00:00Z", "last_modified": f"2026-{month:02}-{day}T00:00:00Z"}
        facts["hub_id"] = f"{number:024x}"
        (folder / ".hub.json").write_text(json.dumps({**facts, **more}))
        (folder / "config.json").write_text(json.dumps({"architectures": ["TinyModel"], "model_type": "tiny"}))
        (folder / "README.md").write_text(PROSE)
        values = np.full((4, 4), number + 100.0 * month, dtype="<f4")
        (folder / "model.safetensors").write_bytes(save({"layer.weight": values}))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    faults = Faults()
    with HubServer(tmp_path, faults=faults) as server:
        found = Hub(tmp_path, server.url, faults)
        for number in range(1, 7):
            found.write(number)
        yield found


def run(engine: Engine, hub: Hub, query: Query = EVERYTHING, **options: Any) -> Crawled:
    with HubSource(hub.url, page_size=2, policy=QUICK) as source:
        return crawl(engine, source, query, Options(**options))


def rows(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def failed(engine: Engine) -> list[tuple[Any, ...]]:
    return rows(engine, "SELECT model, kind, file FROM hublineage.failures ORDER BY 1, 2, 3")


def test_a_repository_that_a_page_has_lost_is_not_gone(engine: Engine, hub: Hub) -> None:
    run(engine, hub)
    hub.write(3, month=2)
    hub.faults.drop_rows(1, times=3)
    done = run(engine, hub)
    assert done.removed == 0
    assert rows(engine, "SELECT count(*) FROM repository_changes") == [(0,)]
    assert rows(engine, "SELECT count(*) FROM revisions WHERE weights = 'safetensors'") == [(7,)]


@pytest.mark.parametrize("gone", [True, False])
def test_of_very_many_that_are_not_listed_only_some_are_looked_up(
    engine: Engine, hub: Hub, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    hub.write(7)
    run(engine, hub)
    monkeypatch.setattr(listing, "LOOKED_UP", 2)
    hub.faults.clear()
    if gone:
        for number in range(1, 7):
            (hub.root / f"org/model-{number}").rename(hub.root.parent / f"kept-{number}")
    else:
        hub.faults.drop_rows(2, times=3)
    assert run(engine, hub, describe=False).removed == (6 if gone else 0)
    assert len({line for line in hub.faults.asked if line.startswith("GET /api/models/")}) == 2


def test_what_is_refused_although_it_is_listed_is_tried_again_by_the_next_crawl(engine: Engine, hub: Hub) -> None:
    hub.faults.status(404, "/api/models/org/model-2", times=None)
    assert run(engine, hub).described == 5
    assert failed(engine) == [("org/model-2", "Transient", None)]
    hub.faults.clear()
    assert run(engine, hub).described == 1
    assert failed(engine) == []


def test_a_first_try_with_holes_does_not_take_the_place_of_what_is_known(engine: Engine, hub: Hub) -> None:
    run(engine, hub)
    known = rows(engine, "SELECT sha FROM hublineage.models WHERE model = 'org/model-2'")
    parents = "SELECT parent FROM hublineage.declared_parents WHERE model = 'org/model-2' AND declared_in = 'prose'"
    hub.write(2, month=2)
    hub.faults.status(500, "/org/model-2/resolve/*/README.md", times=None)
    assert run(engine, hub).described == 0
    assert rows(engine, "SELECT sha FROM hublineage.models WHERE model = 'org/model-2'") == known
    assert rows(engine, parents) == [("org/model-1",)]
    assert failed(engine) == [("org/model-2", "Transient", "README.md")]
    assert run(engine, hub).described == 1, "a hole that stays does not hold up the rest for ever"
    hub.faults.clear()
    assert run(engine, hub).described == 1
    assert rows(engine, parents) == [("org/model-1",)]
    assert failed(engine) == []


def test_a_small_file_with_another_hash_than_the_hubs_is_read_again(engine: Engine, hub: Hub) -> None:
    hub.faults.garbage("/api/resolve-cache/*", times=2)
    run(engine, hub, Query(ids=("org/model-2",)))
    parents = "SELECT parent FROM hublineage.declared_parents WHERE declared_in = 'prose'"
    assert rows(engine, parents) == [("org/model-1",)]


def test_a_header_is_read_again_before_it_counts_as_malformed(engine: Engine, hub: Hub) -> None:
    hub.faults.shifted_range(times=2, lying=True)
    run(engine, hub, Query(ids=("org/model-2",)))
    assert failed(engine) == []
    assert rows(engine, "SELECT weights FROM hublineage.models WHERE model = 'org/model-2'") == [("safetensors",)]


@pytest.mark.parametrize(("days", "again"), [(6, 0), (8, 1)])
def test_what_was_unavailable_is_tried_again_after_a_week(engine: Engine, hub: Hub, days: int, again: int) -> None:
    hub.faults.status(403, "/org/model-2/resolve/*/model.safetensors", times=None, error_code="GatedRepo")
    run(engine, hub)
    assert failed(engine) == [("org/model-2", "RepositoryUnavailable", "model.safetensors")]
    hub.faults.clear()
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE failures SET last_at = now() - interval '{days} days'"))
    assert run(engine, hub).described == again
    assert len(failed(engine)) == 1 - again


@pytest.mark.parametrize("code", [401, 500])
def test_a_hub_that_fails_of_one_repository_after_the_other_ends_the_crawl(
    engine: Engine, hub: Hub, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(describing, "GIVEN_UP", 3)
    hub.faults.status(code, "/api/models/*", times=None)
    with pytest.raises(SourceUnreachable, match="fails of 3 repositories in a row"):
        run(engine, hub, jobs=1)
    hub.faults.clear()
    assert run(engine, hub).described == 6
    assert failed(engine) == []


def test_a_worker_that_comes_while_another_one_lists_takes_its_listing(engine: Engine, hub: Hub) -> None:
    hub.faults.latency(0.1, "/api/models", times=None)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(run, engine, hub)
        while not hub.faults.asked.count("GET /api/models") > 1:
            threading.Event().wait(0.01)
        second = pool.submit(run, engine, hub)
        assert first.result().described + second.result().described == 6
    assert rows(engine, "SELECT count(*), sum(listed) FROM crawls") == [(1, 6)]


def test_crawls_of_different_queries_and_kinds_go_side_by_side(engine: Engine, hub: Hub) -> None:
    run(engine, hub, describe=False)
    for number in range(1, 20):
        hub.write(number, month=3)
    queries = [EVERYTHING, Query(author="org"), Query(architectures=("Tiny*",)), Query(search="model")]
    with ThreadPoolExecutor(6) as pool:
        done = [pool.submit(run, engine, hub, query) for query in queries]
        done += [pool.submit(run, engine, hub, increment=True)]
        done += [pool.submit(run, engine, hub, Query(ids=tuple(f"org/model-{n}" for n in range(19, 0, -1))))]
        assert all(future.result() for future in done)
    assert rows(engine, "SELECT count(*) FROM hublineage.models WHERE weights = 'safetensors'") == [(19,)]
    assert rows(engine, "SELECT count(*) FROM crawls WHERE finished_at IS NULL OR described_at IS NULL") == [(0,)]
    assert failed(engine) == []


def test_what_only_an_increment_saw_can_be_gone_too(engine: Engine, hub: Hub) -> None:
    query = Query(author="org")
    run(engine, hub, query)
    hub.write(9, month=5)
    run(engine, hub, query, increment=True)
    (hub.root / "org/model-9").rename(hub.root.parent / "kept-9")
    assert run(engine, hub, query).removed == 1


def test_transactions_that_block_each_other_are_done_anew(engine: Engine) -> None:
    both = threading.Barrier(2)
    names = ("http://a", "http://b")
    with engine.begin() as connection:
        for name in names:
            connection.execute(text("INSERT INTO sources (name) VALUES (:name)"), {"name": name})
    tries: list[int] = []

    def change(order: tuple[str, ...]) -> int:
        def store(session: Session) -> int:
            tries.append(1)
            first = len(tries) <= 2
            for name in order:
                session.execute(text("UPDATE sources SET name = name WHERE name = :name"), {"name": name})
                if first and name == order[0]:
                    both.wait(10)
            return 1

        return stored(engine, store)

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(change, (names, names[::-1]))) == [1, 1]
    assert len(tries) == 3
