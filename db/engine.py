"""Engines, transactions and locks."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.orm import Session

from db.errors import DatabaseUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONNECT_SECONDS = 10


def connect(url: str) -> Engine:
    """An engine for a PostgreSQL address, checked to answer. Raises DatabaseUnreachable naming the address."""
    try:
        address = make_url(url)
    except (ArgumentError, ValueError):
        # The text itself stays unsaid: it may hold a password in a place where none is looked for.
        raise DatabaseUnreachable("this is no database address, expected postgresql://user@host:port/name") from None
    if address.get_backend_name() not in {"postgresql", "postgres"}:
        raise DatabaseUnreachable(f"{address.render_as_string()} is not a PostgreSQL address")
    engine = create_engine(
        address.set(drivername="postgresql+psycopg"),
        connect_args={"connect_timeout": _CONNECT_SECONDS, "options": "-c timezone=UTC"},
        pool_pre_ping=True,
    )
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except DBAPIError as error:
        engine.dispose()
        reason = str(error.orig).strip().splitlines()[0]
        raise DatabaseUnreachable(f"{address.render_as_string()}: {reason}") from error
    return engine


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """One transaction: committed at the end of the block, rolled back on an error."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def exclusive(engine: Engine, name: str) -> Iterator[None]:
    """Hold a lock of that name across all processes of this database; it ends with the connection that holds it."""
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(hashtextextended(:name, 0))"), {"name": name})
        try:
            yield
        finally:
            try:
                connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), {"name": name})
            except OperationalError:
                # The server is gone, and the lock with it.
                connection.invalidate()


class Claims:
    """Work that this process has taken, so that no other one does it too; all is let go when the process ends.

    One connection holds a lock per claim. Safe for threads, which must not claim the same twice.
    """

    def __init__(self, engine: Engine, kind: str) -> None:
        self._connection = engine.execution_options(isolation_level="AUTOCOMMIT").connect()
        self._kind = kind
        self._lock = threading.Lock()
        self._closed = False

    def take(self, number: int) -> bool:
        """Whether the work of that number is ours now."""
        return self._call("pg_try_advisory_lock", number)

    def release(self, number: int) -> None:
        """Give it to others."""
        self._call("pg_advisory_unlock", number)

    def close(self) -> None:
        """Let go of all; threads that are still at something get and give nothing from now on."""
        with self._lock:
            self._closed = True
            self._connection.invalidate()  # closed for good: in the pool it would keep its locks
            self._connection.close()

    def _call(self, function: str, number: int) -> bool:
        call = text(f"SELECT {function}(hashtextextended(:name, 0))")
        with self._lock:
            if self._closed:
                return False
            return bool(self._connection.scalar(call, {"name": f"{self._kind} {number}"}))
