"""A view as CSV (RFC 4180): UTF-8, a header, texts quoted, nulls empty without quotes, lists as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyarrow.csv import CSVWriter

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SUFFIX = ".csv"
FLAT = True  # lists are JSON: CSV has none


def write(path: Path, schema: Any, batches: Iterable[Any]) -> int:
    """Write batches; return how many rows. Raises OSError."""
    rows = 0
    with path.open("wb") as file, CSVWriter(file, schema) as writer:
        for batch in batches:
            rows += batch.num_rows
            writer.write_batch(batch)
    return rows
