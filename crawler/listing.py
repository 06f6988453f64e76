"""Listing a source into the catalogue, page by page, so that a crawl that was cut goes on where it stood.

A full pass walks the listing in the order of creation and then knows what is gone. An increment goes back through the
last modifications to where the pass before it began, and an hour further, since replicas of a listing lag. A page's
repositories, the cursor behind it and, with the last page, the watermark are stored in one transaction.
"""

from __future__ import annotations

import logging
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from crawler.declared import listed_parents
from db import crawls, declared
from db.engine import exclusive, transaction
from db.errors import Failure, UsageError
from db.listing import Row, remove, store_names, store_rows
from db.models import Crawl

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from crawler.source import Listed, Page, Query, Source

OVERLAP = timedelta(hours=1)
GONE = "deleted or made private"

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
    words = query_words(query)
    with transaction(engine) as session:
        source_id = crawls.source_id(session, source.name)
        newest_id = crawls.newest_id(session)
        known = crawls.watermark(session, source_id, words) if increment else None
    kind = "increment" if known is not None else "full"
    with exclusive(engine, f"list {source.name} {kind} {words}"):
        with transaction(engine) as session:
            other = crawls.finished_after(session, source_id, kind, words, newest_id)
        if other is not None:
            return Listing(other.id, source_id, kind, other.listed, 0)
        crawl = _begin(engine, source, source_id, kind, query, known)
        crawl = _walk(engine, source, query, crawl, progress)
        removed = _sweep(engine, source, query, crawl) if kind == "full" else 0
    return Listing(crawl.id, source_id, kind, crawl.listed, removed)


def query_words(query: Query) -> dict[str, Any]:
    """A query as the catalogue stores it."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(query).items()}


def _begin(engine: Engine, source: Source, source_id: int, kind: str, query: Query, known: datetime | None) -> Crawl:
    """The crawl to go on with, or a new one. Before its first page the source is asked how far its listing goes."""
    words = query_words(query)
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
    pages = source.pages(replace(query, limit=left), crawl.cursor, newest_first=crawl.kind == "increment")
    for page in pages:
        reached = crawl.since is not None and page.oldest is not None and page.oldest < crawl.since
        with transaction(engine) as session:
            crawl = session.merge(crawl)
            if query.ids:
                ids = store_names(session, crawl.source_id, [row.name for row in page.rows])
            else:
                ids = store_page(session, crawl.source_id, page)
            crawls.add_page(session, crawl, ids, page.cursor)
            if page.cursor is None or reached:
                crawls.finish(session, crawl, moves_watermark=not query.ids and query.limit is None)
        progress(page.rows[-1].name if page.rows else "", crawl.listed)
        if reached:
            break
    return crawl


def store_page(session: Session, source_id: int, page: Page) -> tuple[int, ...]:
    """Store a page's repositories with what the listing says of their parents; return their ids."""
    stored = store_rows(session, source_id, [row_of(one) for one in page.rows])
    parents = (
        (revision, listed_parents(page.rows[at].card_data, page.rows[at].base_models, page.rows[at].tags))
        for at, revision in stored.revisions.items()
    )
    declared.store_many(session, [(revision, [one.row() for one in found]) for revision, found in parents if found])
    return stored.repositories


def row_of(one: Listed) -> Row:
    """A row of the catalogue from one of a listing."""
    values = {**vars(one)}
    values["head_sha"] = values.pop("sha")
    del values["base_models"]
    return Row(**values)


def _sweep(engine: Engine, source: Source, query: Query, crawl: Crawl) -> int:
    """Settle what a full pass did not show any more; return how many repositories are gone.

    The whole listing shows all there is. A narrower one may have lost sight of what was renamed or is of another kind
    now: these are looked up one by one.
    """
    if query.ids or query.limit is not None:
        return 0
    everything = query == type(query)()
    with transaction(engine) as session:
        crawl = session.merge(crawl)
        missing = crawls.unseen(session, crawl, everything=everything)
        removed = remove(session, [number for number, _ in missing]) if everything else 0
    for number, name in () if everything else missing:
        removed += _settle(engine, source, crawl.source_id, number, name)
    with transaction(engine) as session:
        crawls.forget_older(session, session.merge(crawl))
    return removed


def _settle(engine: Engine, source: Source, source_id: int, number: int, name: str) -> int:
    try:
        found = source.locate(name)
    except Failure as failure:  # the next pass asks again, as long as it does not see it
        log.warning("%s", failure)
        return 0
    with transaction(engine) as session:
        if found is None:
            return remove(session, [number], GONE)
        store_rows(session, source_id, [row_of(found)])
    return 0
