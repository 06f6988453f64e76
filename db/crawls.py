"""Queries on crawls: where each one stands, what it saw, and up to when a listing is known."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, delete, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import JSONB, insert

from db.models import Crawl, CrawlPage, Repository, Revision, SourceRow, Watermark

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session


def source_id(session: Session, name: str) -> int:
    """The id of a source, which is added if it is new."""
    session.execute(insert(SourceRow).values(name=name).on_conflict_do_nothing())
    return session.scalars(select(SourceRow.id).where(SourceRow.name == name)).one()


def watermark(session: Session, source: int, query: dict[str, Any]) -> datetime | None:
    """Up to which modification the listing of a query is known; None where that lies ahead, as it says nothing then."""
    known = select(Watermark.at).where(
        Watermark.source_id == source,
        Watermark.query == literal(query, JSONB),
        Watermark.at <= func.clock_timestamp() + text("interval '1 day'"),
    )
    return session.scalars(known).one_or_none()


def unfinished(session: Session, source: int, kind: str, query: dict[str, Any]) -> Crawl | None:
    """The crawl of this kind and query that was begun and not finished."""
    return session.scalars(_of(source, query).where(Crawl.kind == kind, Crawl.finished_at.is_(None))).one_or_none()


def finished_after(session: Session, source: int, kind: str, query: dict[str, Any], moment: datetime) -> Crawl | None:
    """The newest crawl of this kind and query that was finished after a moment of the database's clock."""
    newer = _of(source, query).where(Crawl.kind == kind, Crawl.finished_at > moment)
    return session.scalars(newer.order_by(Crawl.id.desc()).limit(1)).one_or_none()


def now(session: Session) -> datetime:
    """The database's clock, which all workers share."""
    moment: datetime = session.scalars(select(func.clock_timestamp())).one()
    return moment


def begin(session: Session, crawl: Crawl) -> Crawl:
    """Store a new crawl."""
    session.add(crawl)
    session.flush()
    return crawl


def add_page(session: Session, crawl: Crawl, repositories: Sequence[int], cursor: str | None) -> None:
    """Note what a page showed, and move the cursor behind it."""
    crawl.pages += 1
    crawl.listed += len(repositories)
    crawl.cursor = cursor
    session.add(CrawlPage(crawl_id=crawl.id, number=crawl.pages, repositories=list(repositories)))
    session.flush()


def finish(session: Session, crawl: Crawl, *, moves_watermark: bool) -> None:
    """End the listing of a crawl; the watermark never goes back, unless it lay ahead of all clocks."""
    crawl.finished_at = now(session)
    if moves_watermark and crawl.newest is not None:
        statement = insert(Watermark).values(source_id=crawl.source_id, query=crawl.query, at=crawl.newest)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=["source_id", "query"],
                set_={
                    "at": case(
                        (Watermark.at > func.clock_timestamp() + text("interval '1 day'"), statement.excluded.at),
                        else_=func.greatest(Watermark.at, statement.excluded.at),
                    )
                },
            )
        )
    session.flush()


def unseen(session: Session, crawl: Crawl, *, everything: bool) -> list[tuple[int, str]]:
    """(id, name) of what is there and this full crawl did not show.

    Of `everything` in the source that was known before it began, or only of what earlier crawls of its query showed.
    """
    if everything:
        candidates = "SELECT id FROM repositories WHERE source_id = :source AND first_seen < :begun"
    else:
        candidates = """
            SELECT unnest(crawl_pages.repositories) FROM crawl_pages JOIN crawls ON crawls.id = crawl_pages.crawl_id
            WHERE crawls.source_id = :source AND crawls.query = CAST(:query AS jsonb) AND crawls.id < :crawl
        """
    statement = text(
        f"""
        WITH shown AS MATERIALIZED (
            SELECT unnest(repositories) AS id FROM crawl_pages WHERE crawl_id = :crawl
        )
        SELECT id, name FROM repositories
        WHERE removed_at IS NULL AND id IN ({candidates})
          AND NOT EXISTS (SELECT FROM shown WHERE shown.id = repositories.id)
        ORDER BY id
        """  # noqa: S608  # one of the two above
    ).bindparams(source=crawl.source_id, crawl=crawl.id)
    if everything:
        statement = statement.bindparams(begun=crawl.started_at)
    else:
        statement = statement.bindparams(query=json.dumps(crawl.query))
    return [(row.id, row.name) for row in session.execute(statement)]


def settle(session: Session, crawl: Crawl) -> None:
    """End a full crawl for good: what earlier crawls of its query saw is let go of, as it saw all that is there."""
    crawl.finished_at = now(session)
    older = (
        update(Crawl)
        .where(
            Crawl.source_id == crawl.source_id,
            Crawl.query == literal(crawl.query, JSONB),
            Crawl.id < crawl.id,
            Crawl.finished_at.is_not(None),
        )
        .values(described_at=func.coalesce(Crawl.described_at, func.now()))
        .returning(Crawl.id)
    )
    ids = session.scalars(older).all()
    session.execute(delete(CrawlPage).where(CrawlPage.crawl_id.in_(ids)))


@dataclass(frozen=True)
class Seen:
    """A repository that a crawl showed and that is there, with the newest revision of it that was described."""

    repository: Repository
    known: str | None


def to_describe(session: Session, source: int, query: dict[str, Any]) -> list[int]:
    """The finished crawls of a query whose repositories were not all described."""
    waiting = _of(source, query).where(Crawl.finished_at.is_not(None), Crawl.described_at.is_(None))
    return [crawl.id for crawl in session.scalars(waiting)]


def pages(session: Session, crawls: Sequence[int]) -> list[tuple[int, int, int]]:
    """(crawl, number, how many repositories) of every page of these crawls, in the order of the listing."""
    query = (
        select(CrawlPage.crawl_id, CrawlPage.number, func.cardinality(CrawlPage.repositories))
        .where(CrawlPage.crawl_id.in_(crawls))
        .order_by(CrawlPage.crawl_id, CrawlPage.number)
    )
    return [(crawl, number, count) for crawl, number, count in session.execute(query)]


def seen(session: Session, crawl: int, number: int) -> list[Seen]:
    """The repositories that a page showed and that are there, by id."""
    shown = select(CrawlPage.repositories).where(CrawlPage.crawl_id == crawl, CrawlPage.number == number)
    return seen_of(session, session.scalar(shown) or [])


def seen_of(session: Session, repositories: Sequence[int]) -> list[Seen]:
    """Those of these repositories that are there, by id."""
    query = (
        select(Repository, Revision.sha)
        .outerjoin(Revision, (Revision.id == Repository.current_revision_id) & (Revision.weights != "unread"))
        .where(Repository.id.in_(repositories), Repository.removed_at.is_(None))
        .order_by(Repository.id)
    )
    return [Seen(repository, sha) for repository, sha in session.execute(query)]


def set_described(session: Session, crawls: Sequence[int]) -> None:
    """Note that all that these crawls showed was described. What they saw is kept until a full pass has seen all."""
    session.execute(update(Crawl).where(Crawl.id.in_(crawls)).values(described_at=func.now()))


def newest(session: Session, source: int, limit: int = 5) -> list[Crawl]:
    """The crawls of a source that were begun last, and any that are not finished."""
    of_source = select(Crawl).where(Crawl.source_id == source)
    recent = session.scalars(of_source.order_by(Crawl.id.desc()).limit(limit)).all()
    open_ones = session.scalars(of_source.where(Crawl.finished_at.is_(None))).all()
    return sorted({crawl.id: crawl for crawl in (*recent, *open_ones)}.values(), key=lambda crawl: -crawl.id)


def _of(source: int, query: dict[str, Any]) -> Any:
    return select(Crawl).where(Crawl.source_id == source, Crawl.query == literal(query, JSONB))
