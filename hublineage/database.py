"""The database that a command works on: the one of DATABASE_URL, else the data folder's own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from psycopg.errors import InsufficientPrivilege
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError

from db import embedded, schema
from db.engine import connect
from db.errors import DatabaseUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from hublineage.settings import Settings


@contextmanager
def address(settings: Settings) -> Iterator[str]:
    """The database's address; the embedded server runs at least as long as the block. Raises DatabaseUnreachable."""
    if settings.database_url:
        yield settings.database_url
        return
    with embedded.serving(settings.data_dir) as url:
        yield url


@contextmanager
def database(settings: Settings) -> Iterator[Engine]:
    """An engine on the database, its schema brought up to date. Raises DatabaseUnreachable."""
    with address(settings) as url:
        engine = connect(url)
        try:
            schema.upgrade(engine)
            yield engine
        except (OperationalError, InterfaceError) as error:
            raise DatabaseUnreachable(f"{_reason(error)}; the same command goes on from here") from error
        except ProgrammingError as error:
            if isinstance(error.orig, InsufficientPrivilege):
                raise DatabaseUnreachable(_reason(error)) from error
            raise
        finally:
            engine.dispose()


def _reason(error: DBAPIError) -> str:
    return (str(error.orig).strip().splitlines() or ["the connection was lost"])[0]
