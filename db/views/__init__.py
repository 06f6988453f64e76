"""The public SQL surface: one file per view and per function, all in the schema `hublineage`.

What functions share and nobody else needs is in a schema of its own. `hublineage.schema_version` says which version of
the surface a database has: its minor number grows with whatever is added here, its major one with what changes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from db.views import reader

if TYPE_CHECKING:
    from sqlalchemy import Connection

SCHEMA = "hublineage"
INTERNAL = "hublineage_internal"
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
    "missing_ancestors",
    "duplicates",
    "verdicts",
    "licences",
    "licence_findings",
    "failures",
    "disagreements",
    "lineage",
    "families",
    "trees",
    "runs",
    "edge_history",
    "schema_version",
)


# The first of them are internal; after the views, in the order in which they may call each other.
FUNCTIONS = (
    "nearest_names",
    "repository_of",
    "place_of",
    "why_no_place",
    "begin_walk",
    "walk",
    "find",
    "ancestors",
    "descendants",
    "siblings",
    "root",
    "path",
    "nearest",
)


def create_views(connection: Connection) -> None:
    """Make every view and function anew, and let the reader see them."""
    drop_views(connection)
    connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
    connection.execute(text(f"CREATE SCHEMA {INTERNAL}"))
    connection.execute(
        text(f"COMMENT ON SCHEMA {SCHEMA} IS 'The lineage of models, for reading: views and functions.'")
    )
    for name in (*VIEWS, *FUNCTIONS):
        definition = (Path(__file__).parent / f"{name}.sql").read_text()
        # The driver's own cursor: no parameters, so that % and : in the SQL mean themselves.
        connection.connection.cursor().execute(definition.encode())
    reader.grant(connection)


def drop_views(connection: Connection) -> None:
    """Remove both schemas and all in them."""
    connection.execute(text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))
    connection.execute(text(f"DROP SCHEMA IF EXISTS {INTERNAL} CASCADE"))
