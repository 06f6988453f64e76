"""What all tests share: one real PostgreSQL server, and a migrated database of its own for each test that asks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine

from db import embedded, schema
from db.engine import connect

_NUMBERS = count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The address of a server with a migrated database that others are copied from."""
    with tempfile.TemporaryDirectory(prefix="hublineage-tests-", ignore_cleanup_errors=True) as folder:
        address = embedded.start(Path(folder))
        engine = connect(address)
        schema.upgrade(engine)
        engine.dispose()
        with psycopg.connect(address, autocommit=True) as connection:
            # Nothing of these databases must outlive a crash of the machine.
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("SELECT pg_reload_conf()")
        try:
            yield address
        finally:
            embedded.stop(Path(folder))


@pytest.fixture
def database_url(server: str) -> Iterator[str]:
    """The address of a fresh, migrated database."""
    name = f"test_{next(_NUMBERS)}"
    control = server.replace(f"/{embedded.DATABASE}?", "/postgres?")
    with psycopg.connect(control, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {embedded.DATABASE}".encode())
        try:
            yield server.replace(f"/{embedded.DATABASE}?", f"/{name}?")
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on a fresh, migrated database."""
    engine = connect(database_url)
    yield engine
    engine.dispose()
