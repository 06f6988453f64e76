"""The results in docs/sql.md: each query of its cookbook, answered on the sample Hub.

    python -m benchmarks.cookbook

A query stands in a block of SQL, its result in the block of text that follows; the results are written anew, and the
tests hold them against what the queries answer.
"""

from __future__ import annotations

import re
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.demo import SAMPLE
from crawler.hub import HubSource
from db import embedded, schema
from db.engine import connect
from hublineage import job
from hublineage.hub.server import HubServer
from hublineage.progress import Reporter

PAGE = Path(__file__).parent.parent / "docs" / "sql.md"
_ANSWERED = re.compile(r"(```sql\n(?P<query>[^`]*)```\n)```text\n[^`]*```\n", re.DOTALL)


def queries(page: str) -> list[str]:
    """The queries of a page that have a result."""
    return [found["query"] for found in _ANSWERED.finditer(page)]


def answered(connection: psycopg.Connection, page: str) -> str:
    """The page with every result as this database gives it."""
    return _ANSWERED.sub(lambda found: f"{found[1]}```text\n{table(connection, found['query'])}```\n", page)


def table(connection: psycopg.Connection, query: str) -> str:
    """What a query answers, as lines of columns."""
    cursor = connection.execute(query.encode())
    rows = [[column.name for column in cursor.description or ()], *([_shown(one) for one in row] for row in cursor)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join(one.ljust(width) for one, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "".join(f"{line}\n" for line in (lines[0], "  ".join("-" * width for width in widths), *lines[1:]))


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, datetime):
        raise TypeError("a result with a time is another one each day")
    return str(value)


def fill(url: str) -> None:
    """Run the main job on the sample Hub, into a database."""
    engine = connect(url)
    schema.upgrade(engine)
    with HubServer(SAMPLE) as hub, HubSource(hub.url) as source:
        job.run(engine, source, job.Job(weights_only=True), Reporter(None))
    engine.dispose()


def main() -> int:
    """Write the results into the page."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, embedded.serving(Path(folder)) as url:
        fill(url)
        with psycopg.connect(url, autocommit=True) as connection:
            PAGE.write_text(answered(connection, PAGE.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
