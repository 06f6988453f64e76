"""How fast a listing comes into the catalogue: through HTTP and the client, and straight into the database.

    python -m benchmarks.catalogue [--rows 100000] [--seed 0]

Rows are synthetic, of the size and the mix that the Hub's have (benchmarks.listing_rows); the server runs in a process
of its own. The quota that the first is held against is 3 requests in a second, 1,000 rows each: that of a PRO account,
used whole.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import Engine, text

from benchmarks.listing import ListingServer
from benchmarks.listing_rows import synthetic_rows
from crawler.hub import HubSource
from crawler.hub_rows import listed_row
from crawler.listing import ahead, ready_page, store_page
from crawler.pipeline import Options, Progress, crawl
from crawler.source import Page, Query
from db import crawls
from db.engine import transaction
from db.listing import refresh_statistics
from db.models import Crawl
from hublineage.database import database
from hublineage.settings import Settings

PAGE = 1_000
QUOTA = 2_500 / 300 * PAGE  # rows per second of a PRO account's listing


def pages(count: int, seed: int) -> Iterator[Page]:
    """The synthetic rows as the source gives them."""
    rows = synthetic_rows(count, seed)
    while some := list(itertools.islice(rows, PAGE)):
        fields = ({name: json.loads(value) for name, value in row.fields.items()} for row in some)
        yield Page(tuple(listed_row(row) for row in fields), "more")


def straight(engine: Engine, name: str, count: int, seed: int) -> float:
    """Seconds to store all rows, page by page with their parents and the cursor, from records of the source."""
    with transaction(engine) as session:
        source_id = crawls.source_id(session, name)
        crawl_row = crawls.begin(session, Crawl(source_id=source_id, kind="full", query={"rows": count}))
    spent = 0.0
    everything = pages(count, seed)
    while some := list(itertools.islice(everything, 10)):  # so that memory holds few of them
        begun = time.perf_counter()
        for number, ready in enumerate(ahead(ready_page, iter(some)), crawl_row.pages):
            if number in (1, 10, 100):  # as a crawl does
                with transaction(engine) as session:
                    refresh_statistics(session)
            with transaction(engine) as session:
                crawl_row = session.merge(crawl_row)
                crawls.add_page(session, crawl_row, store_page(session, source_id, ready), "more")
        spent += time.perf_counter() - begun
    with transaction(engine) as session:
        crawls.finish(session, session.merge(crawl_row), moves_watermark=False)
    return spent


def through_http(engine: Engine, url: str) -> tuple[float, int, list[float]]:
    """Seconds of a whole list-only crawl, its rows, and this process's MiB in memory along the way."""
    memory: list[float] = []

    def progress(now: Progress) -> None:
        if now.stage == "list":
            memory.append(psutil.Process().memory_info().rss / 2**20)

    begun = time.perf_counter()
    with HubSource(url, page_size=PAGE) as source:
        done = crawl(engine, source, Query(), Options(describe=False), progress=progress)
    return time.perf_counter() - begun, done.listed, memory


def now(engine: Engine) -> int:
    """The number of a transaction: what is written later has a larger one."""
    with transaction(engine) as session:
        return int(session.scalar(text("SELECT pg_current_xact_id()::text::bigint")) or 0)


def written_since(engine: Engine, number: int) -> int:
    """How many rows of the catalogue were written after that transaction."""
    tables = ("repositories", "revisions", "declared_parents", "aliases", "repository_changes")
    changed = "(SELECT count(*) FROM {} WHERE xmin::text::bigint > :number)"
    counts = " + ".join(changed.format(one) for one in tables)
    with engine.connect() as connection:
        return int(connection.scalar(text(f"SELECT {counts}"), {"number": number}) or 0)


def main() -> int:
    """Run all of it on a database of its own and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    count, seed = arguments.rows, arguments.seed
    machine = f"load {psutil.getloadavg()[0]:.1f} on {psutil.cpu_count()} cores"
    print(f"{count} rows, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {machine}")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        settings: dict[str, Any] = {"data_dir": Path(folder), "database_url": None}
        with database(Settings(**settings)) as engine:
            _tell("straight into the database", count, straight(engine, "http://straight", count, seed))
            before = now(engine)
            _tell("the same again, unchanged", count, straight(engine, "http://straight", count, seed))
            print(f"rows written by the second: {written_since(engine, before)}")
            with ListingServer(count, seed) as server:
                seconds, listed, memory = through_http(engine, server.url)
                _tell("through HTTP and the client", listed, seconds)
                again, _, _ = through_http(engine, server.url)
                _tell("the same again, unchanged", listed, again)
            print(f"rows per second against the PRO quota's {QUOTA:.0f}: {listed / seconds / QUOTA:.2f}")
            tenth = memory[len(memory) // 10]
            print(
                f"memory: {tenth:.0f} MiB after a tenth of the pages, {max(memory):.0f} at most, {memory[-1]:.0f} last"
            )
    return 0


def _tell(what: str, rows: int, seconds: float) -> None:
    print(f"{what}: {rows / seconds:,.0f} rows/s ({seconds:.1f} s)", flush=True)


if __name__ == "__main__":
    sys.exit(main())
