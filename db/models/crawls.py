"""Tables of the crawl: sources, passes over their listings, and what a Hub grants."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, false, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, reference


class SourceRow(Base):
    """A Hub or a folder that was crawled."""

    __tablename__ = "sources"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class Crawl(Base):
    """One pass over a listing; cursor, page and, at its end, the watermark move in one transaction."""

    __tablename__ = "crawls"
    __table_args__ = (
        CheckConstraint("kind IN ('full', 'increment')", name="kind"),
        CheckConstraint("kind = 'full' OR since IS NOT NULL", name="since"),
        Index(
            "uq_crawls_unfinished",
            "source_id",
            "kind",
            "query",
            unique=True,
            postgresql_where=text("finished_at IS NULL"),
        ),
    )
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    source_id: Mapped[int] = reference("sources.id")
    kind: Mapped[str] = mapped_column(server_default="full")
    query: Mapped[dict[str, Any]]
    cursor: Mapped[str | None]
    pages: Mapped[int] = mapped_column(server_default="0")
    listed: Mapped[int] = mapped_column(server_default="0")
    since: Mapped[datetime | None]  # an increment ends behind the first row that was last modified before
    newest: Mapped[datetime | None]  # the last modification that the source knew of when the crawl began
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]
    described_at: Mapped[datetime | None]  # when all that it listed had been described


class CrawlPage(Base):
    """Which repositories a page showed: so that unchanged ones need no write of their own."""

    __tablename__ = "crawl_pages"
    crawl_id: Mapped[int] = reference("crawls.id", primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    repositories: Mapped[list[int]]


class Watermark(Base):
    """Up to which modification a query's listing is known; the next increment goes back to it, and a bit further."""

    __tablename__ = "watermarks"
    source_id: Mapped[int] = reference("sources.id", primary_key=True)
    query: Mapped[dict[str, Any]] = mapped_column(JSONB, primary_key=True)
    at: Mapped[datetime]


class Quota(Base):
    """What a Hub grants one token in one bucket, and what all workers together have used of it in this window."""

    __tablename__ = "quotas"
    __table_args__ = (
        CheckConstraint("bucket IN ('api', 'resolvers')", name="bucket"),
        CheckConstraint("quota > 0 AND window_s > 0 AND used >= 0", name="counts"),
    )
    endpoint: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(primary_key=True)  # "anonymous" or a digest of the token, never the token
    bucket: Mapped[str] = mapped_column(primary_key=True)
    quota: Mapped[int]  # requests per window
    window_s: Mapped[float]  # seconds
    learnt: Mapped[bool] = mapped_column(server_default=false())  # by the Hub's headers, else the documented default
    share: Mapped[float]  # of the quota that may be used
    used: Mapped[int] = mapped_column(server_default="0")  # by us, in this window
    remaining: Mapped[int | None]  # of the quota, as the Hub last said, whoever used it
    resets_at: Mapped[datetime]
    blocked_until: Mapped[datetime | None]
    updated_at: Mapped[datetime] = mapped_column(server_default=func.now())


class FileAddress(Base):
    """Where a file's bytes are to be had for a while, for all workers of an account; without `url`: being asked for."""

    __tablename__ = "addresses"
    __table_args__ = (
        CheckConstraint("(url IS NULL) = (found_at IS NULL)", name="found"),
        {"prefixes": ["UNLOGGED"]},
    )
    endpoint: Mapped[str] = mapped_column(primary_key=True)
    account: Mapped[str] = mapped_column(primary_key=True)  # "anonymous" or a digest of the token, never the token
    repository: Mapped[str] = mapped_column(primary_key=True)
    sha: Mapped[str] = mapped_column(primary_key=True)
    path: Mapped[str] = mapped_column(primary_key=True)
    url: Mapped[str | None]  # signed
    size: Mapped[int | None] = mapped_column(BigInteger)
    asked_at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    found_at: Mapped[datetime | None]
