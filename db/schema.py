"""The schema's version: upgrades and downgrades, one process at a time, with the views made anew around them."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text

from db.errors import UsageError
from db.views import create_views, drop_views

if TYPE_CHECKING:
    from collections.abc import Iterator

MIGRATIONS = Path(__file__).parent.parent / "migrations"


def config(connection: Connection) -> Config:
    """Alembic's configuration for work on one connection."""
    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS))
    made.attributes["connection"] = connection
    return made


def is_ours(name: str | None, kind: str, _parent: object = None) -> bool:
    """Whether a table belongs to the models: the queue's own are its library's, and made by one migration."""
    return not (kind == "table" and name is not None and name.startswith("procrastinate_"))


def version(connection: Connection) -> str | None:
    """The schema's version in this database; None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


@cache
def newest() -> str:
    """The newest version that this code knows: as it was when the process began, whatever is installed over it."""
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    assert head is not None  # noqa: S101  # there is at least one migration
    return head


def upgrade(engine: Engine) -> str:
    """Bring the schema to the newest version; many processes may do so at once. Returns the version.

    Raises UsageError where the database is of a newer version than this code knows.
    """
    with engine.connect() as connection:
        found = version(connection)
    if found == newest():
        return found
    known = {script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()}
    if found is not None and found not in known:
        raise UsageError(f"the database has version {found}, newer than this program's {newest()}: update the program")
    with _migrating(engine) as connection:
        command.upgrade(config(connection), "head")
        create_views(connection)
    return newest()


def downgrade(engine: Engine, revision: str) -> None:
    """Take the schema back to an older version ("base" for an empty database)."""
    with _migrating(engine) as connection:
        command.downgrade(config(connection), revision)
        if version(connection) == newest():
            create_views(connection)


@contextmanager
def _migrating(engine: Engine) -> Iterator[Connection]:
    """One transaction, that waits for other migrations but not long for other work. The views make way for it."""
    with engine.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('hublineage migrations', 0))"))
        connection.execute(text("SET LOCAL lock_timeout = '30s'"))
        connection.execute(text("SET LOCAL statement_timeout = '30min'"))
        drop_views(connection)
        yield connection
