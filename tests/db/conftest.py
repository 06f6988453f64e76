"""What the tests of `db` share: a catalogue in a database of their own, where nothing is ever committed."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from catalogues import Catalogue
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from db import embedded
from db.engine import connect


@pytest.fixture(scope="session")
def never_committed(server: str) -> Iterator[Engine]:
    """An engine on a migrated database that its users leave as they found it."""
    control = server.replace(f"/{embedded.DATABASE}?", "/postgres?")
    with psycopg.connect(control, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE never_committed TEMPLATE {embedded.DATABASE}".encode())
    engine = connect(server.replace(f"/{embedded.DATABASE}?", "/never_committed?"))
    yield engine
    engine.dispose()


@pytest.fixture
def catalogue(never_committed: Engine) -> Iterator[Catalogue]:
    """An empty source, in a transaction that is rolled back."""
    with Session(never_committed) as session:
        yield Catalogue(session)
        session.rollback()
