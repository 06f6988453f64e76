"""The public views as streams of Arrow batches: which there are, their columns' types, and their rows in order."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from psycopg import sql
from sqlalchemy import text

from db.views import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

FETCHED = 1_024  # rows per round trip: a card and a configuration in each stay some megabytes
_VIEWS = """
SELECT view.relname, obj_description(view.oid, 'pg_class'), col.attname, format_type(col.atttypid, col.atttypmod),
    col_description(view.oid, col.attnum)
FROM pg_class AS view
JOIN pg_namespace ON pg_namespace.oid = view.relnamespace
JOIN pg_attribute AS col ON col.attrelid = view.oid AND col.attnum > 0 AND NOT col.attisdropped
WHERE pg_namespace.nspname = :schema AND view.relkind IN ('v', 'm')
ORDER BY view.relname COLLATE "C", col.attnum
"""
_SCALARS: dict[str, Any] = {
    "text": pa.string(),
    "character varying": pa.string(),
    "name": pa.string(),
    "smallint": pa.int16(),
    "integer": pa.int32(),
    "bigint": pa.int64(),
    "real": pa.float32(),
    "double precision": pa.float64(),
    "boolean": pa.bool_(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "timestamp with time zone": pa.timestamp("us", tz="UTC"),
}
_TEXTS = {"text", "character varying", "name"}


@dataclass(frozen=True)
class Column:
    """A column of a view. What Arrow has no type for (jsonb, numeric, ...) is text, and `note` says of which type."""

    name: str
    database_type: str
    comment: str | None

    @property
    def element(self) -> str:
        """The type without the brackets of a list."""
        return self.database_type.removesuffix("[]")

    @property
    def is_list(self) -> bool:
        """Whether its values are lists of a type that Arrow has."""
        return self.database_type.endswith("[]") and self.element in _SCALARS

    @property
    def is_json(self) -> bool:
        """Whether its values are JSON, as text."""
        return self.database_type in {"json", "jsonb"}

    @property
    def arrow_type(self) -> Any:
        """Its type in Arrow."""
        if self.is_list:
            return pa.list_(_SCALARS[self.element])
        return _SCALARS.get(self.database_type, pa.string())

    @property
    def note(self) -> str | None:
        """How to read a text that is none in the database."""
        if self.is_json:
            return "JSON as text"
        return None if self.is_list or self.database_type in _SCALARS else f"{self.database_type} as text"

    def selected(self, *, flat: bool) -> sql.Composed:
        """The expression that gives its values; `flat`: lists as JSON, bytes as hexadecimal digits, in text."""
        name = sql.Identifier(self.name)
        if self.note is not None or (flat and self.database_type == "bytea"):
            return sql.SQL("{}::text").format(name)
        return sql.SQL("to_json({})::text" if self.is_list and flat else "{}").format(name)

    def ordered(self) -> sql.Composed:
        """The expression that rows are sorted by: bytes, not the collation of this or that server."""
        name = sql.Identifier(self.name)
        if self.note is not None:
            return sql.SQL('{}::text COLLATE "C" NULLS FIRST').format(name)
        collated = ' COLLATE "C"' if self.element in _TEXTS else ""
        return sql.SQL("{}{} NULLS FIRST").format(name, sql.SQL(collated))


@dataclass(frozen=True)
class View:
    """A view of the public schema."""

    name: str
    comment: str | None
    columns: tuple[Column, ...]

    def schema(self, *, flat: bool = False) -> Any:
        """Its Arrow schema, comments and notes as the fields' metadata; `flat`: lists and bytes are text."""
        fields = []
        for column in self.columns:
            kind = pa.string() if flat and (column.is_list or column.database_type == "bytea") else column.arrow_type
            notes = {"comment": column.comment, "note": column.note, "database_type": column.database_type}
            fields.append(pa.field(column.name, kind, metadata={name: one for name, one in notes.items() if one}))
        return pa.schema(fields, metadata={"comment": self.comment or "", "view": f"{SCHEMA}.{self.name}"})


@contextmanager
def snapshot(engine: Engine) -> Iterator[Connection]:
    """A connection on which all views show the same moment, whatever else is written meanwhile."""
    options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


def views(connection: Connection) -> list[View]:
    """All views of the public schema, by name; the database is asked, so that none is forgotten."""
    found: dict[tuple[str, str | None], list[Column]] = {}
    for view, comment, name, kind, said in connection.execute(text(_VIEWS), {"schema": SCHEMA}):
        found.setdefault((view, comment), []).append(Column(name, kind, said))
    return [View(name, comment, tuple(columns)) for (name, comment), columns in found.items()]


def batches(connection: Connection, view: View, *, flat: bool = False, fetched: int = FETCHED) -> Iterator[Any]:
    """The rows of a view as Arrow record batches of at most `fetched` rows, sorted by all columns from the first on.

    A cursor of the server's hands them over: no more than one batch is in memory, however many rows there are.
    """
    schema = view.schema(flat=flat)
    # What is short and most telling first; JSON last, so that it is compared where nothing else differs.
    keys = sorted(view.columns, key=lambda column: column.is_json)
    query = sql.SQL("SELECT {} FROM {} ORDER BY {}").format(
        sql.SQL(", ").join(column.selected(flat=flat) for column in view.columns),
        sql.Identifier(SCHEMA, view.name),
        sql.SQL(", ").join(column.ordered() for column in keys),
    )
    driver: Any = connection.connection.driver_connection
    with driver.cursor(name="hublineage_export") as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(fetched):
            columns = zip(*rows, strict=True)
            arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
