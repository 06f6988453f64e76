"""A view as a Parquet file (https://parquet.apache.org/docs/file-format/)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyarrow.parquet import ParquetWriter

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SUFFIX = ".parquet"
FLAT = False  # lists stay lists
_GROUP_ROWS = 65_536
_GROUP_BYTES = 64 * 2**20


def write(path: Path, schema: Any, batches: Iterable[Any]) -> int:
    """Write batches in row groups of at most 65,536 rows or about 64 MiB; return how many rows. Raises OSError."""
    rows = 0
    waiting: list[Any] = []
    # Through Python's file: its errors say why (EFBIG, ENOSPC), Arrow's do not always.
    with path.open("wb") as file, ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            waiting.append(batch)
            rows += batch.num_rows
            many = sum(one.num_rows for one in waiting) + batch.num_rows > _GROUP_ROWS
            if many or sum(one.nbytes for one in waiting) > _GROUP_BYTES:
                writer.write_table(pa.Table.from_batches(waiting, schema))
                waiting = []
        if waiting:
            writer.write_table(pa.Table.from_batches(waiting, schema))
    return rows
