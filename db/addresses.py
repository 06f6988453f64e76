"""Signed addresses of files that one worker was told, for all workers of the account: to ask costs its quota.

Who asks for an address first says so, and the others wait for a moment for what it is told. Time is PostgreSQL's. The
rows are worth nothing after an hour, or after a crash of the server, which empties the table.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.orm import Session

KEPT_SECONDS = 3_000.0  # most are signed for an hour; one that ended before is told by the storage, and asked for anew
ASKED_SECONDS = 3.0  # after which whoever asks is not waited for

_ROW = """
    endpoint = :endpoint AND account = :account AND repository = :repository AND sha = :sha AND path = :path
"""
# Of a clock that was set back neither an address nor a claim lies in the future.
_IS_KEPT = "found_at BETWEEN clock_timestamp() - make_interval(secs => :kept) AND clock_timestamp()"
_KNOWN = text(
    f"SELECT url, size FROM addresses WHERE {_ROW} AND {_IS_KEPT} AND url IS DISTINCT FROM CAST(:refused AS text)"  # noqa: S608  # of constants
)
_CLAIM = text(
    """
    INSERT INTO addresses AS known (endpoint, account, repository, sha, path)
    VALUES (:endpoint, :account, :repository, :sha, :path)
    ON CONFLICT (endpoint, account, repository, sha, path) DO UPDATE
    SET url = NULL, size = NULL, found_at = NULL, asked_at = clock_timestamp()
    WHERE known.asked_at NOT BETWEEN clock_timestamp() - make_interval(secs => :asked) AND clock_timestamp()
       OR known.url = CAST(:refused AS text)
    RETURNING 1
    """
)
_TELL = text(f"UPDATE addresses SET url = :url, size = :size, found_at = clock_timestamp() WHERE {_ROW}")  # noqa: S608  # of constants
_FORGET = text(f"DELETE FROM addresses WHERE {_ROW} AND url IS NOT DISTINCT FROM CAST(:url AS text)")  # noqa: S608  # of constants
_FORGET_OLD = text(
    "DELETE FROM addresses WHERE coalesce(found_at, asked_at)"
    " NOT BETWEEN clock_timestamp() - make_interval(secs => :kept) AND clock_timestamp()"
)


@dataclass(frozen=True)
class Key:
    """A file at a commit, and whose address of it: `account` is "anonymous" or a digest of the token."""

    endpoint: str
    account: str
    repository: str
    sha: str
    path: str


def known(connection: Connection, key: Key, refused: str | None) -> tuple[str, int | None] | None:
    """Address and size, where an address is known and not the one that the storage refused."""
    row = connection.execute(_KNOWN, {**asdict(key), "refused": refused, "kept": KEPT_SECONDS}).one_or_none()
    return None if row is None else (row.url, row.size)


def claim(connection: Connection, key: Key, refused: str | None) -> bool:
    """Whether it is ours to ask the Hub; else somebody else has just begun to."""
    values = {**asdict(key), "refused": refused, "asked": ASKED_SECONDS}
    return connection.execute(_CLAIM, values).one_or_none() is not None


def tell(connection: Connection, key: Key, url: str, size: int | None) -> None:
    """Let others have an address that was claimed."""
    connection.execute(_TELL, {**asdict(key), "url": url, "size": size})


def forget(connection: Connection, key: Key, url: str | None) -> None:
    """Give this address to nobody any more; None: take a claim back."""
    connection.execute(_FORGET, {**asdict(key), "url": url})


def forget_old(session: Session) -> None:
    """Delete those that have ended."""
    session.execute(_FORGET_OLD, {"kept": KEPT_SECONDS})
