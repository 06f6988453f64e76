"""Listing a source into the catalogue, page by page, so that a crawl that was cut goes on where it stood.

A full pass walks the listing in the order of creation and then knows what is gone. An increment goes back through the
last modifications to where the pass before it began, and an hour further, since replicas of a listing lag. A page's
repositories, the cursor behind it and, with the last page, the watermark are stored in one transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from crawler.declared import listed_parents
from crawler.lookup import located
from crawler.storing import stored
from db import crawls, declared
from db.engine import exclusive, transaction
from db.errors import UsageError
from db.listing import Row, refresh_statistics, remove, rendered, store_names, store_rendered, store_rows
from db.models import Crawl

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from crawler.parents import Declared
    from crawler.source import Listed, Page, Query, Source

OVERLAP = timedelta(hours=1)
_GROWN = (1, 10, 100, 1_000)  # pages after which the tables are ten times as large as before
GONE = "deleted or made private"
LOOKED_UP = 1_000  # repositories that the whole listing does not show any more, in one pass

Item = TypeVar("Item")
Result = TypeVar("Result")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Listing:
    """What one pass over a listing found."""

    crawl_id: int
    source_id: int
    kind: str  # "full" or "increment"
    listed: int
    removed: int


def list_repositories(
    engine: Engine,
    source: Source,
    query: Query,
    *,
    increment: bool = False,
    progress: Callable[[str, int], None] = lambda _name, _done: None,
) -> Listing:
    """Store the listing of a query; an increment where there was a full pass before it, else that full pass.

    One process at a time lists a query; others that come meanwhile take its result for theirs. Raises
    SourceUnreachable; what was stored until then is gone on from by the next call.
    """
    if increment and (query.ids or query.limit is not None):
        raise UsageError("an increment follows a whole listing: say no --id and no --limit with it")
    words = query.words
    with transaction(engine) as session:
        source_id = crawls.source_id(session, source.name)
        came = crawls.now(session)
        known = crawls.watermark(session, source_id, words) if increment else None
    kind = "increment" if known is not None else "full"
    with exclusive(engine, f"list {source.name} {kind} {words}"):
        with transaction(engine) as session:
            other = crawls.finished_after(session, source_id, kind, words, came)
        if other is not None:
            return Listing(other.id, source_id, kind, other.listed, 0)
        crawl = _begin(engine, source, source_id, kind, query, known)
        crawl = _walk(engine, source, query, crawl, progress)
        removed = _sweep(engine, source, query, crawl) if kind == "full" else 0
    return Listing(crawl.id, source_id, kind, crawl.listed, removed)


def _begin(engine: Engine, source: Source, source_id: int, kind: str, query: Query, known: datetime | None) -> Crawl:
    """The crawl to go on with, or a new one. Before its first page the source is asked how far its listing goes."""
    words = query.words
    with transaction(engine) as session:
        begun = crawls.unfinished(session, source_id, kind, words)
    if begun is not None:
        return begun
    newest = source.newest(query)
    since = known - OVERLAP if known is not None else None
    with transaction(engine) as session:
        return crawls.begin(session, Crawl(source_id=source_id, kind=kind, query=words, newest=newest, since=since))


def _walk(engine: Engine, source: Source, query: Query, crawl: Crawl, progress: Callable[[str, int], None]) -> Crawl:
    """Store the pages that are left of a crawl."""
    left = None if query.limit is None else query.limit - crawl.listed
    increment = crawl.kind == "increment"
    found = source.pages(replace(query, limit=left), crawl.cursor, newest_first=increment)
    # An increment does not know that it has reached its end before it has seen the page: none is fetched too many.
    for page, ready in map(_made_ready, found) if increment else ahead(_made_ready, found):
        reached = crawl.since is not None and page.oldest is not None and page.oldest < crawl.since
        crawl = stored(engine, partial(_store, query=query, crawl=crawl, page=page, ready=ready, reached=reached))
        if crawl.pages in _GROWN:
            with transaction(engine) as session:
                refresh_statistics(session)
        progress(page.rows[-1].name if page.rows else "", crawl.listed)
        if reached:
            break
    return crawl


def _store(session: Session, *, query: Query, crawl: Crawl, page: Page, ready: Ready, reached: bool) -> Crawl:
    """A page, the cursor behind it and, at the end, the watermark; the crawl as it stands then."""
    crawl = session.merge(crawl)
    if query.ids:
        ids = store_names(session, crawl.source_id, [row.name for row in page.rows])
    else:
        ids = store_page(session, crawl.source_id, ready)
    crawls.add_page(session, crawl, ids, page.cursor)
    if page.cursor is None or reached:
        crawls.finish(session, crawl, moves_watermark=not query.ids and query.limit is None)
    return crawl


def _made_ready(page: Page) -> tuple[Page, Ready]:
    return page, ready_page(page)


@dataclass(frozen=True)
class Ready:
    """A page as far as it can be made ready for the catalogue without it."""

    rows: str
    parents: tuple[tuple[Declared, ...], ...]  # of each row


def ready_page(page: Page) -> Ready:
    """A page's rows and what they declare."""
    parents = tuple(listed_parents(row.card_data, row.base_models, row.tags) for row in page.rows)
    return Ready(rendered([row_of(one) for one in page.rows]), parents)


def store_page(session: Session, source_id: int, page: Ready) -> tuple[int, ...]:
    """Store a page's repositories with what the listing says of their parents; return their ids."""
    stored = store_rendered(session, source_id, page.rows)
    new = ((revision, page.parents[at]) for at, revision in stored.revisions.items())
    declared.store_many(session, [(revision, [one.row() for one in found]) for revision, found in new if found])
    return stored.repositories


def ahead(work: Callable[[Item], Result], items: Iterator[Item]) -> Iterator[Result]:
    """`map`, of which one result is made in a thread of its own while the one before it is used."""
    pool = ThreadPoolExecutor(1, thread_name_prefix="listing")

    def following() -> Future[Result | None]:
        return pool.submit(copy_context().run, lambda: next(map(work, items), None))

    try:
        result = following()
        while (found := result.result()) is not None:
            result = following()
            yield found
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # an interrupt does not wait for a page that nobody wants


def row_of(one: Listed) -> Row:
    """A row of the catalogue from one of a listing."""
    values = {**vars(one)}
    values["head_sha"] = values.pop("sha")
    del values["base_models"]
    return Row(**values)


def _sweep(engine: Engine, source: Source, query: Query, crawl: Crawl) -> int:
    """Settle what a full pass did not show any more; return how many repositories are gone.

    A page may have lost a row, and a narrower listing has lost sight of what was renamed or is of another kind now: so
    each is looked up. Of more than LOOKED_UP in the whole listing so many are; where none of these is there any more,
    the listing is believed of all others too.
    """
    if query.ids or query.limit is not None:
        return 0
    everything = query == type(query)()
    with transaction(engine) as session:
        missing = crawls.unseen(session, session.merge(crawl), everything=everything)
    step = max(-(-len(missing) // LOOKED_UP), 1) if everything else 1
    looked_up = missing[::step]
    removed, there = _settle_all(engine, source, crawl.source_id, looked_up)
    if removed == len(looked_up) < len(missing):
        rest = [number for at, (number, _) in enumerate(missing) if at % step]
        removed += stored(engine, partial(remove, repositories=rest))
    elif there and step > 1:
        log.warning("%s: the listing has lost repositories that are there; what it did not show stays", source.name)
    with transaction(engine) as session:
        crawl = session.merge(crawl)
        if there and everything:
            crawls.add_page(session, crawl, there, None)
        crawls.settle(session, crawl)
    return removed


def _settle_all(
    engine: Engine, source: Source, source_id: int, missing: Sequence[tuple[int, str]]
) -> tuple[int, list[int]]:
    """How many of these are gone, and which are there."""
    removed = 0
    there: list[int] = []
    numbers = {name: number for number, name in missing}
    for name, found in located(source, numbers):
        if found is None:
            removed += stored(engine, partial(remove, repositories=[numbers[name]], why=GONE))
        else:
            shown = stored(engine, partial(store_rows, source_id=source_id, rows=[row_of(found)]))
            there += shown.repositories
    return removed, there
