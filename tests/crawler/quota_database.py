"""One database for all tests of a module that need nothing but the table of quotas, emptied for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy import Engine, text

from db import embedded
from db.engine import connect


@contextmanager
def database(server: str, name: str) -> Iterator[Engine]:
    """An engine on a migrated database of this name."""
    with psycopg.connect(server.replace(f"/{embedded.DATABASE}?", "/postgres?"), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {embedded.DATABASE}".encode())
        engine = connect(server.replace(f"/{embedded.DATABASE}?", f"/{name}?"))
        try:
            yield engine
        finally:
            engine.dispose()
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def emptied(engine: Engine) -> Engine:
    """The same engine, nothing known of any quota."""
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM quotas"))
    return engine
