"""All public views as files of one folder, with a manifest of what they are."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from db import schema
from db.views import SCHEMA
from hublineage.export import csv, parquet
from hublineage.export.output import MANIFEST, staged_folder
from hublineage.export.views import View, batches, snapshot, views

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sqlalchemy import Connection, Engine

FORMATS = {"parquet": parquet, "csv": csv}


def export(
    engine: Engine, form: str, folder: Path, *, replace: bool = False, tell: Callable[[str, int], None] | None = None
) -> dict[str, Any]:
    """Write every public view, all of one moment, and manifest.json; return the manifest.

    `form` is one of FORMATS; `tell` hears the name and the rows of each view when it is written. The files are equal
    to the byte as long as the catalogue is. Raises UsageError for a folder that is another's, OutputUnwritable where
    it cannot be written.
    """
    writer = FORMATS[form]
    with snapshot(engine) as connection, staged_folder(folder, replace=replace) as stage:
        tables = {}
        for view in views(connection):
            name = f"{view.name}{writer.SUFFIX}"
            rows = writer.write(
                stage / name, view.schema(flat=writer.FLAT), batches(connection, view, flat=writer.FLAT)
            )
            tables[view.name] = _described(view, name, rows)
            if tell is not None:
                tell(view.name, rows)
        manifest = {
            "hublineage": version("hublineage"),
            "schema": _schema(connection),
            "format": form,
            "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "tables": tables,
        }
        written = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
        (stage / MANIFEST).write_text(written, encoding="utf-8")
    return manifest


def _described(view: View, name: str, rows: int) -> dict[str, Any]:
    columns = [
        {
            "name": column.name,
            "type": column.database_type,
            "comment": column.comment,
            **({"note": column.note} if column.note else {}),
        }
        for column in view.columns
    ]
    return {"file": name, "rows": rows, "comment": view.comment, "columns": columns}


def _schema(connection: Connection) -> dict[str, Any]:
    """The version of the tables, and of the public surface where the database tells it."""
    known: dict[str, Any] = {"tables": schema.version(connection)}
    if connection.scalar(text("SELECT to_regclass(:view)"), {"view": f"{SCHEMA}.schema_version"}) is not None:
        row = connection.execute(text(f"SELECT major, minor FROM {SCHEMA}.schema_version")).one()  # noqa: S608  # ours
        known = {"major": row[0], "minor": row[1], **known}
    return known
