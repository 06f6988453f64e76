"""The command on databases of one shared server."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from commands import Command, NewDatabase
from small_models import write_lineage

from db import embedded
from db.models import Base

_NUMBERS = count(1)


@pytest.fixture(scope="session")
def new_database(server: str) -> Iterator[NewDatabase]:
    """Makes a fresh, migrated database and returns its address; all are dropped at the end."""
    made: list[str] = []
    control = server.replace(f"/{embedded.DATABASE}?", "/postgres?")
    with psycopg.connect(control, autocommit=True) as connection:

        def make() -> str:
            made.append(f"command_{next(_NUMBERS)}")
            connection.execute(f"CREATE DATABASE {made[-1]} TEMPLATE {embedded.DATABASE}".encode())
            return server.replace(f"/{embedded.DATABASE}?", f"/{made[-1]}?")

        yield make
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture(scope="session")
def reused(new_database: NewDatabase) -> Command:
    """The command on one database for many tests: to empty it is quicker than to make another."""
    return Command(new_database())


@pytest.fixture
def command(reused: Command) -> Command:
    """The command on an empty database."""
    reused.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    tables = ", ".join(table.name for table in Base.metadata.sorted_tables)
    reused.execute(f"TRUNCATE {tables} RESTART IDENTITY")
    return reused


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a known lineage; to be read only."""
    return write_lineage(tmp_path_factory.mktemp("lineage") / "models")


@pytest.fixture(scope="session")
def populated(new_database: NewDatabase, models: Path) -> tuple[Command, Any]:
    """The command on a database that knows `models`, to be read only, and the result of its run."""
    known = Command(new_database())
    answer = known("run", "--folder", models, "--json", "--weights-only")
    assert answer.code == 0, answer.err
    return known, answer.json
