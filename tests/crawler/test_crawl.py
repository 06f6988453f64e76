"""Crawls of a Hub that lives: what is new, changed, renamed, hidden and gone, and what a crawl that was cut costs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save
from sqlalchemy import Engine, text
from starlette.middleware import Middleware

from crawler.hub import HubSource
from crawler.pipeline import Crawled, Options, crawl
from crawler.retry import Policy
from crawler.source import Query
from db.errors import SourceUnreachable, UsageError
from hublineage.hub.faults import Faults
from hublineage.hub.server import HubServer

QUICK = Policy(sleep=lambda _: None)
EVERYTHING = Query()


class Hub:
    """A folder that a server shows as a Hub, and how models in it come and go."""

    def __init__(self, root: Path, server: HubServer, faults: Faults, after: dict[str, Any]) -> None:
        self.root, self.server, self.faults, self.after = root, server, faults, after

    def write(self, name: str, day: int, *, weights: int = 0, card: str = "", **more: Any) -> None:
        """A model, created on a day of January 2026 and changed now by the Hub's clock of days."""
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        architecture = more.pop("architecture", "TinyModel")
        sidecar = {"created_at": f"2026-01-{day:02}T00:00:00Z", "last_modified": f"2026-02-{day:02}T00:00:00Z", **more}
        sidecar.setdefault("hub_id", f"{day:024x}")
        (folder / ".hub.json").write_text(json.dumps(sidecar))
        config = {"architectures": [architecture], "model_type": architecture.lower().removesuffix("model")}
        (folder / "config.json").write_text(json.dumps(config))
        (folder / "README.md").write_text(card or "---\nlicense: mit\n---\nText.")
        values = np.full((4, 4), float(weights or day), dtype="<f4")
        (folder / "model.safetensors").write_bytes(save({"layer.weight": values}))

    def change(self, name: str, **facts: Any) -> None:
        """Change what the Hub knows of a model."""
        path = self.root / name / ".hub.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))

    def rename(self, old: str, new: str) -> None:
        """As the Hub does it: the id stays, the old name leads to the new one."""
        (self.root / new).parent.mkdir(exist_ok=True)
        (self.root / old).rename(self.root / new)
        self.change(new, former_names=[old])

    def source(self, page_size: int = 2) -> HubSource:
        return HubSource(self.server.url, page_size=page_size, policy=QUICK)

    def later(self, pages: int, then: Callable[[], None]) -> None:
        """What befalls the Hub once it has given that many pages, after the question for the newest."""
        self.after.update(count=pages + 1, then=then)

    def asked(self, start: str) -> list[str]:
        return [line for line in self.faults.asked if line.startswith(start)]


class Ending:
    """Once the Hub has answered `count` requests for the listing, `then` befalls it; faults stand before this."""

    def __init__(self, app: Any, after: dict[str, Any]) -> None:
        self.app, self.after = app, after

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/api/models" and self.after:
            self.after["count"] -= 1
            if self.after["count"] == 0:
                self.after.pop("then")()
                self.after.clear()
        await self.app(scope, receive, send)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    faults = Faults()
    after: dict[str, Any] = {}
    with HubServer(tmp_path, faults=faults, middleware=[Middleware(Ending, after=after)]) as server:
        found = Hub(tmp_path, server, faults, after)
        for day in range(1, 8):
            found.write(f"org/model-{day}", day)
        yield found


def run(engine: Engine, hub: Hub, query: Query = EVERYTHING, **options: Any) -> Crawled:
    hub.faults.asked.clear()
    with hub.source() as source:
        return crawl(engine, source, query, Options(**options))


def rows(engine: Engine, statement: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def versions(engine: Engine) -> list[tuple[Any, ...]]:
    """Where every row of the catalogue was last written."""
    tables = ("repositories", "revisions", "declared_parents", "declared_problems", "files", "aliases")
    return [row for table in tables for row in rows(engine, f"SELECT '{table}', xmin::text, ctid::text FROM {table}")]


def names(engine: Engine) -> set[str]:
    return {name for (name,) in rows(engine, "SELECT name FROM repositories WHERE removed_at IS NULL")}


def changes(engine: Engine) -> list[tuple[Any, ...]]:
    return rows(engine, "SELECT model, what, before, after FROM hublineage.changes ORDER BY at, what, model")


def test_a_second_full_pass_over_an_unchanged_hub_writes_no_row(engine: Engine, hub: Hub) -> None:
    assert run(engine, hub).described == 7
    before = versions(engine)
    again = run(engine, hub)
    assert (again.kind, again.listed, again.described, again.removed) == ("full", 7, 0, 0)
    assert versions(engine) == before
    assert not hub.asked("GET /api/models/")


def test_an_increment_reads_the_pages_back_to_the_watermark_and_describes_what_is_new(engine: Engine, hub: Hub) -> None:
    run(engine, hub)
    before = rows(engine, "SELECT at FROM watermarks")
    hub.write("org/model-2", 2, weights=99, last_modified="2026-03-01T00:00:00Z")
    hub.write("org/new", 9, last_modified="2026-03-02T00:00:00Z")
    done = run(engine, hub, increment=True)
    assert (done.kind, done.described) == ("increment", 2)
    assert len(hub.asked("GET /api/models?")) + hub.faults.asked.count("GET /api/models") == 3  # the newest, two pages
    assert rows(engine, "SELECT at FROM watermarks") > before
    shas = rows(engine, "SELECT count(*) FROM hublineage.revisions WHERE model = 'org/model-2'")
    assert shas == [(2,)]
    assert rows(engine, "SELECT count(*) FROM hublineage.revisions WHERE model = 'org/model-2' AND is_current") == [
        (1,)
    ]


def test_an_increment_without_a_full_pass_before_it_is_one(engine: Engine, hub: Hub) -> None:
    assert run(engine, hub, increment=True).kind == "full"
    done = run(engine, hub, increment=True)
    assert (done.kind, done.described) == ("increment", 0)


def test_an_increment_goes_with_no_limit(engine: Engine, hub: Hub) -> None:
    with pytest.raises(UsageError, match="limit"):
        run(engine, hub, Query(limit=2), increment=True)


@pytest.mark.parametrize("increment", [False, True])
@pytest.mark.parametrize("good", [0, 1, 2, 3])
def test_a_listing_that_is_cut_at_any_page_goes_on_there(engine: Engine, hub: Hub, good: int, increment: bool) -> None:
    if increment:
        run(engine, hub)
        for day in range(1, 8):
            hub.change(f"org/model-{day}", last_modified=f"2026-03-{day:02}T00:00:00Z", likes=5)
    hub.later(good, lambda: hub.faults.status(500, "/api/models", times=None))
    with pytest.raises(SourceUnreachable):
        run(engine, hub, increment=increment)
    hub.faults.clear()
    run(engine, hub, increment=increment)
    assert len(names(engine)) == 7
    # the pages that are left, and at the end the question whether that is the end
    assert hub.faults.asked.count("GET /api/models") == 4 - good + 1
    assert rows(engine, "SELECT count(*), max(listed) FROM crawls WHERE finished_at IS NOT NULL")[0][1] == 7


@pytest.mark.parametrize("query", [EVERYTHING, Query(author="org")])
def test_a_renamed_repository_keeps_its_history(engine: Engine, hub: Hub, query: Query) -> None:
    run(engine, hub, query)
    before = rows(engine, "SELECT id, first_seen FROM repositories WHERE name = 'org/model-3'")
    hub.rename("org/model-3", "other/renamed")
    assert run(engine, hub, query).removed == 0
    assert rows(engine, "SELECT id, first_seen FROM repositories WHERE name = 'other/renamed'") == before
    assert changes(engine) == [("other/renamed", "name", "org/model-3", "other/renamed")]
    assert rows(engine, "SELECT name, target FROM aliases") == [("org/model-3", "other/renamed")]
    assert rows(engine, "SELECT count(*) FROM repositories") == [(7,)]


def test_two_repositories_may_swap_their_names(engine: Engine, hub: Hub) -> None:
    run(engine, hub)
    ids = dict(rows(engine, "SELECT hub_id, id FROM repositories"))
    for old, new in (("org/model-1", "org/x"), ("org/model-7", "org/model-1"), ("org/x", "org/model-7")):
        (hub.root / old).rename(hub.root / new)
    run(engine, hub)
    assert dict(rows(engine, "SELECT hub_id, id FROM repositories")) == ids
    assert len(names(engine)) == 7
    assert set(rows(engine, "SELECT name, hub_id FROM repositories WHERE name IN ('org/model-1', 'org/model-7')")) == {
        ("org/model-1", f"{7:024x}"),
        ("org/model-7", f"{1:024x}"),
    }


def test_another_repository_of_the_same_name_is_another_one(engine: Engine, hub: Hub) -> None:
    run(engine, hub)
    shutil.rmtree(hub.root / "org/model-4")
    hub.write("org/model-4", 20, hub_id="f" * 24)
    done = run(engine, hub)
    found = rows(engine, "SELECT hub_id, removed_at IS NULL FROM repositories WHERE name = 'org/model-4' ORDER BY id")
    assert found == [(f"{4:024x}", False), ("f" * 24, True)]
    assert (done.described, len(names(engine))) == (1, 7)


@pytest.mark.parametrize("query", [EVERYTHING, Query(author="org"), Query(architectures=("Tiny*",))])
def test_what_is_deleted_or_made_private_counts_as_gone_until_it_is_back(
    engine: Engine, hub: Hub, query: Query
) -> None:
    run(engine, hub, query)
    shutil.move(hub.root / "org/model-5", hub.root.parent / "kept")
    hub.change("org/model-6", private=True)
    assert run(engine, hub, query).removed == 2
    assert len(names(engine)) == 5
    why = rows(engine, "SELECT DISTINCT removed_why FROM hublineage.models WHERE removed_at IS NOT NULL")
    assert len(why) == 1
    assert "deleted or made private" in why[0][0]
    assert rows(engine, "SELECT count(*) FROM hublineage.revisions WHERE model = 'org/model-5'") == [(1,)]
    shutil.move(hub.root.parent / "kept", hub.root / "org/model-5")
    done = run(engine, hub, query)
    assert (done.described, len(names(engine))) == (0, 6)
    assert [row[1:] for row in changes(engine)][-1] == ("removed", why[0][0], None)


def test_a_repository_that_is_gated_or_disabled_later_keeps_what_was_known(engine: Engine, hub: Hub) -> None:
    run(engine, hub)
    hub.change("org/model-1", gated="manual")
    hub.change("org/model-2", disabled=True)
    run(engine, hub)
    assert [row[:2] for row in changes(engine)] == [("org/model-2", "disabled"), ("org/model-1", "gated")]
    known = "SELECT weights FROM hublineage.models WHERE model IN ('org/model-1', 'org/model-2')"
    assert rows(engine, known) == [("safetensors",), ("safetensors",)]


def test_only_models_of_an_architecture_cost_requests_of_their_own(engine: Engine, hub: Hub) -> None:
    for day in range(11, 14):
        hub.write(f"org/big-{day}", day, architecture="BigForCausalLM")
    done = run(engine, hub, Query(architectures=("BigForCausalLM",)))
    assert (done.listed, done.described) == (3, 3)
    own = {line.split("/")[4] for line in hub.asked("GET /api/models/org/")}
    assert {name.partition("?")[0] for name in own} == {"big-11", "big-12", "big-13"}
    assert not any("config.json" in line for line in hub.faults.asked)


@pytest.mark.parametrize("refused", [["baseModels"], ["config", "siblings", "baseModels", "safetensors"]])
def test_a_refused_expand_is_done_without(engine: Engine, hub: Hub, refused: list[str]) -> None:
    hub.faults.refuse_expand(refused)
    done = run(engine, hub, Query(architectures=("Tiny*",)))
    assert done.described == 7


def test_a_cursor_that_comes_again_is_asked_for_again(engine: Engine, hub: Hub) -> None:
    hub.later(1, hub.faults.repeat_cursor)
    assert run(engine, hub).listed == 7


def test_a_listing_that_goes_in_circles_is_given_up(engine: Engine, hub: Hub) -> None:
    hub.later(1, lambda: hub.faults.repeat_cursor(times=None))
    with pytest.raises(SourceUnreachable, match="cursor"):
        run(engine, hub)


def test_a_page_without_its_link_does_not_end_the_listing(engine: Engine, hub: Hub) -> None:
    run(engine, hub)
    hub.later(1, hub.faults.missing_cursor)
    done = run(engine, hub)
    assert (done.listed, done.removed) == (7, 0)


def test_several_workers_share_one_crawl(engine: Engine, hub: Hub) -> None:
    hub.faults.latency(0.02, "/api/models/*", times=None)
    with ThreadPoolExecutor(3) as pool:
        done = [future.result() for future in [pool.submit(run, engine, hub) for _ in range(3)]]
    assert sum(one.described for one in done) == 7
    assert rows(engine, "SELECT count(*) FROM revisions WHERE weights = 'safetensors'") == [(7,)]


def test_a_listing_alone_tells_what_is_declared(engine: Engine, hub: Hub) -> None:
    hub.write("org/child", 10, card="---\nbase_model: org/model-1\nbase_model_relation: finetune\n---\n")
    done = run(engine, hub, describe=False)
    assert (done.listed, done.described) == (8, 0)
    assert not hub.asked("GET /api/models/")
    assert not any("resolve" in line for line in hub.faults.asked)
    declared = "SELECT DISTINCT parent_model, relation FROM hublineage.declared_parents WHERE model = 'org/child'"
    assert ("org/model-1", "finetune") in rows(engine, declared)
    assert rows(engine, "SELECT DISTINCT weights FROM hublineage.models") == [("unread",)]
    assert run(engine, hub).described == 8


def test_copies_are_known_by_their_hashes_also_where_files_are_closed(engine: Engine, hub: Hub) -> None:
    hub.write("org/copy", 10, weights=1)
    hub.write("org/closed-copy", 11, weights=1, gated="manual")
    (hub.root / "org/copy/model.safetensors").rename(hub.root / "org/copy/weights.safetensors")
    run(engine, hub)
    copies = rows(engine, "SELECT model, copy_of, copies FROM hublineage.copies ORDER BY model")
    assert copies == [("org/closed-copy", "org/model-1", 3), ("org/copy", "org/model-1", 3)]
    families = "SELECT count(DISTINCT family) FROM hublineage.models WHERE model IN ('org/closed-copy', 'org/model-1')"
    assert rows(engine, families) == [(1,)]
    assert rows(engine, "SELECT weights FROM hublineage.models WHERE model = 'org/closed-copy'") == [("safetensors",)]


def test_a_former_name_of_a_parent_is_looked_up_once(engine: Engine, hub: Hub) -> None:
    hub.change("org/model-1", former_names=["tiny-base"])
    hub.write(
        "org/child", 10, card="---\nlicense: mit\n---\nA fine-tuned version of [x](https://huggingface.co/tiny-base)."
    )
    run(engine, hub)
    declared = "SELECT parent_model, resolution FROM hublineage.declared_parents WHERE parent = 'tiny-base'"
    assert rows(engine, declared) == [("org/model-1", "renamed")]
    hub.write(
        "org/child-2", 11, card="---\nlicense: mit\n---\nA fine-tuned version of [x](https://huggingface.co/tiny-base)."
    )
    run(engine, hub)
    assert not hub.asked("GET /api/models/tiny-base")


def test_an_id_may_be_a_former_name(engine: Engine, hub: Hub) -> None:
    hub.change("org/model-1", former_names=["tiny-base"])
    run(engine, hub, Query(ids=("tiny-base", "org/model-2")))
    assert names(engine) == {"org/model-1", "org/model-2"}
    assert run(engine, hub, Query(ids=("tiny-base",))).described == 0
    assert names(engine) == {"org/model-1", "org/model-2"}


def test_a_repository_of_the_future_hides_no_changes_from_increments(engine: Engine, hub: Hub) -> None:
    hub.change("org/model-7", last_modified="2099-01-01T00:00:00Z")
    run(engine, hub)
    for day in range(1, 6):
        hub.write(f"org/model-{day}", day, weights=50 + day, last_modified="2098-01-01T00:00:00Z")
    assert run(engine, hub, increment=True).described == 5
    assert rows(engine, "SELECT bool_and(at <= now() + interval '1 minute') FROM watermarks") == [(True,)]


def test_a_watermark_that_lies_ahead_is_not_believed(engine: Engine, hub: Hub) -> None:
    run(engine, hub)
    with engine.begin() as connection:
        connection.execute(text("UPDATE watermarks SET at = '2099-01-01'"))
    assert run(engine, hub, increment=True).kind == "full"
    assert run(engine, hub, increment=True).kind == "increment"
