"""The public SQL surface: one file per view, all in the schema `hublineage`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

SCHEMA = "hublineage"
# In the order in which they may refer to each other.
VIEWS = (
    "models",
    "revisions",
    "changes",
    "copies",
    "declared_parents",
    "declared_problems",
    "inferred_parents",
    "absent_parents",
    "duplicates",
    "verdicts",
    "failures",
)


def create_views(connection: Connection) -> None:
    """Make every view anew."""
    drop_views(connection)
    connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
    for name in VIEWS:
        definition = (Path(__file__).parent / f"{name}.sql").read_text()
        # The driver's own cursor: no parameters, so that % and : in the SQL mean themselves.
        connection.connection.cursor().execute(definition.encode())


def drop_views(connection: Connection) -> None:
    """Remove the schema and all in it."""
    connection.execute(text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))
