"""One filled catalogue for all exports, which only read it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from commands import Command, NewDatabase
from exported_catalogue import filled
from sqlalchemy import Engine

from db.engine import connect


@pytest.fixture(scope="session")
def catalogue(new_database: NewDatabase) -> Iterator[tuple[Command, Engine]]:
    """The command and an engine on the filled catalogue; to be read only."""
    url = new_database()
    engine = connect(url)
    try:
        filled(engine)
        yield Command(url), engine
    finally:
        engine.dispose()
