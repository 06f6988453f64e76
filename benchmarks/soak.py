"""A soak of the crawler: many workers, a Hub that fails all the time, and kills: `python -m benchmarks.soak`.

Writes thousands of small repositories (benchmarks.soak_models), serves them by the local Hub in a process of its own,
and lets several processes of `hublineage crawl` share the work while a tenth of all requests fails: every kind of fault
that the local Hub knows, and refusals and answers that are plain wrong (benchmarks.soak_hub). Some workers are killed
by SIGKILL, one of them while it lists, and started again; crawls are repeated until nothing is pending. Then the same
Hub, undisturbed, is crawled into another database.

The two catalogues must be the same, row by row, but for what benchmarks.soak_catalogue leaves out: ids, times, numbers
of attempts, the families' names and the case of names that were looked up. Nothing else may differ: that something
looks permanent, such as a 404 that is a mistake, is no excuse. Exits with 1 and the differences where there are any.

Only the waiting is shortened: benchmarks.soak_worker has timeouts of a second, and milliseconds between tries.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import psycopg
from sqlalchemy import make_url, text

from benchmarks.soak_catalogue import catalogue, differences, pending
from benchmarks.soak_hub import SoakHub
from benchmarks.soak_models import write_hub
from benchmarks.soak_worker import Worker
from db import embedded, schema
from db.engine import connect

if TYPE_CHECKING:
    from sqlalchemy import Engine

MOST_PASSES = 10
MOST_LINES = 100  # of differences that are printed
_LOOK_EVERY = 0.05  # seconds


@dataclass(frozen=True)
class Soak:
    """What is done to the crawler."""

    repositories: int = 2000
    share: float = 0.1  # of the requests that fail
    workers: int = 3
    kills: int = 2
    seed: int = 0

    @property
    def page(self) -> int:
        """Repositories that are listed at a time: few, so that there are many pages."""
        return max(self.repositories // 40, 2)


@dataclass(frozen=True)
class Result:
    """What came of it."""

    differences: list[str]
    passes: int  # times that all workers crawled, until nothing was pending
    exits: Counter[int]  # exit codes of the disturbed workers; killed ones have -9
    seconds: float  # of the disturbed crawl
    undisturbed_seconds: float
    requests: int
    undisturbed_requests: int
    struck: Counter[str]  # faults by kind
    peak: int  # bytes of resident memory of the largest worker
    rows: dict[str, int]  # of the undisturbed catalogue


def soak(plan: Soak, folder: Path, databases: tuple[str, str]) -> Result:
    """Run it on two empty databases, the second for the undisturbed crawl; models and words stay in the folder."""
    kinds = write_hub(folder / "models", plan.repositories, plan.seed)
    print(f"{plan.repositories} repositories: {', '.join(f'{count} {kind}' for kind, count in kinds.items())}")
    with SoakHub(folder / "models") as hub, _open(databases[0]) as engine, _open(databases[1]) as other:
        schema.upgrade(engine)
        hub.disturb(plan.share, plan.seed)
        begun = time.perf_counter()
        passes, exits, peak = _disturbed(plan, hub.url, databases[0], engine, folder)
        seconds = time.perf_counter() - begun
        requests, struck = hub.calm()
        begun = time.perf_counter()
        worker = Worker(hub.url, databases[1], folder / "undisturbed", plan.page)
        if worker.wait() != 0:
            raise RuntimeError(f"the undisturbed crawl failed: {worker.words()}")
        undisturbed_seconds = time.perf_counter() - begun
        undisturbed_requests, _ = hub.calm()
        found, expected = catalogue(engine), catalogue(other)
    return Result(
        differences(expected, found), passes, exits, seconds, undisturbed_seconds, requests, undisturbed_requests,
        struck, peak, {name: rows.total() for name, rows in expected.items()},
    )  # fmt: skip


@contextmanager
def _open(address: str) -> Iterator[Engine]:
    engine = connect(address)
    try:
        yield engine
    finally:
        engine.dispose()


def _disturbed(plan: Soak, url: str, address: str, engine: Engine, folder: Path) -> tuple[int, Counter[int], int]:
    """Crawl until nothing is pending: passes, exit codes, and the most memory of a worker."""
    draw = Random(f"kills/{plan.seed}")  # noqa: S311  # no secret
    page = draw.randrange(2, 10)
    moments = [draw.uniform(0.1, 0.9) * plan.repositories for _ in range(plan.kills - 1)]
    exits: Counter[int] = Counter()
    peak = 0
    for number in range(1, MOST_PASSES + 1):
        workers = [Worker(url, address, folder / f"pass-{number}-{one}", plan.page) for one in range(plan.workers)]
        kills_listing, waiting = (plan.kills > 0, sorted(moments)) if number == 1 else (False, [])
        while any(worker.is_alive() for worker in workers):
            time.sleep(_LOOK_EVERY)
            peak = max(peak, *(worker.memory() for worker in workers))
            victim = None
            if kills_listing and _count(engine, _PAGES) >= page:
                victim = next((worker for worker in workers if worker.is_alive() and worker.is_listing()), None)
                kills_listing = victim is None
            elif waiting and _count(engine, _DESCRIBED) >= waiting[0]:
                victim = draw.choice([worker for worker in workers if worker.is_alive()] or [None])
                waiting = waiting[1:] if victim else waiting
            if victim is not None:
                victim.kill()
                name = f"pass-{number}-{len(workers)}"
                print(f"killed a worker at {_count(engine, _PAGES)} pages, {_count(engine, _DESCRIBED)} described")
                workers.append(Worker(url, address, folder / name, plan.page))
        exits.update(worker.wait() for worker in workers)
        left = pending(engine)
        ends = dict(Counter(worker.wait() for worker in workers))
        print(f"pass {number}: exit codes {ends}, pending {left or 'nothing'}", flush=True)
        for worker in workers:
            if worker.wait() not in {0, -signal.SIGKILL}:
                print(f"  {worker.words().splitlines()[-1:]}")
        if not left and all(code in {0, -signal.SIGKILL} for code in ends):
            return number, exits, peak
    return MOST_PASSES, exits, peak


_PAGES = "SELECT coalesce(max(pages), 0) FROM crawls"
_DESCRIBED = "SELECT count(*) FROM revisions WHERE described_at IS NOT NULL"


def _count(engine: Engine, query: str) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(text(query)) or 0)


def another_database(address: str, name: str) -> str:
    """The address of a new, empty database on the server of an address."""
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return make_url(address).set(database=name).render_as_string(hide_password=False)


def report(result: Result) -> None:
    """Print what came of it."""
    share = result.struck.total() / result.requests
    print(
        f"{result.requests} requests in {result.seconds:.0f} s and {result.passes} passes, {share:.1%} of them spoilt:"
    )
    print(", ".join(f"{kind} {result.struck[kind]}" for kind in sorted(result.struck)))
    print(f"undisturbed: {result.undisturbed_requests} requests in {result.undisturbed_seconds:.0f} s")
    print(f"exit codes {dict(result.exits)}, largest worker {result.peak / 2**20:.0f} MiB")
    print(f"rows compared: {', '.join(f'{count} {name}' for name, count in result.rows.items())}")
    for line in result.differences[:MOST_LINES]:
        print(line)
    print(f"{len(result.differences)} differences" if result.differences else "the catalogues are equal")


def main() -> int:
    """Run the soak; the exit code is 1 where the catalogues differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repositories", type=int, default=Soak.repositories)
    parser.add_argument("--share", type=float, default=Soak.share, help="of the requests that fail")
    parser.add_argument("--workers", type=int, default=Soak.workers)
    parser.add_argument("--kills", type=int, default=Soak.kills)
    parser.add_argument("--seed", type=int, default=Soak.seed)
    parser.add_argument("--keep", type=Path, help="a new folder for models, databases and the workers' words")
    options = vars(parser.parse_args())
    kept = options.pop("keep")
    plan = Soak(**options)
    with tempfile.TemporaryDirectory(prefix="hublineage-soak-", ignore_cleanup_errors=True) as own:
        folder = kept or Path(own)
        address = embedded.start(folder / "data")
        try:
            result = soak(plan, folder, (address, another_database(address, f"{embedded.DATABASE}_undisturbed")))
        finally:
            embedded.stop(folder / "data")
    report(result)
    return 1 if result.differences else 0


if __name__ == "__main__":
    sys.exit(main())
