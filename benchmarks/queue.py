"""What the queue costs, and how fast repositories are described through it.

    python -m benchmarks.queue [--workers 4] [--repeat 3] [--repositories 1000] [--write]

First the demo's families (benchmarks/sample_hub, served by a loopback Hub in a process of its own): the main job
directly, then by so many workers through the queue, in turns, each on a new embedded PostgreSQL. Overhead is time in
the queue's machinery by time in the bodies of the tasks (`benchmarks.queue_worker` says what counts as which); waits
that collect more work (queue.settle_after, infer_after, compare_after) are zero, as they are no work. Then so many
repositories of 291 tensors: the time from the first description's beginning to the last one's end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from sqlalchemy import Engine, text

from benchmarks.families import machine, spread
from benchmarks.fleet_measure import own_server, server_seconds, write_repositories
from benchmarks.pages import between_markers
from benchmarks.queue_worker import Spent
from benchmarks.recovery import commit
from benchmarks.streaming import served
from crawler.source import Query
from db.engine import transaction
from hublineage.jobs import kinds, queue

SAMPLE = Path(__file__).with_name("sample_hub")
PAGE, NAME = Path("docs/jobs.md"), "queue"
MOST_OVERHEAD = 0.02  # of the work
LEAST_RATE = 500  # repositories described in a minute
_AT_ONCE = {"SETTLE_AFTER": "0", "INFER_AFTER": "0", "COMPARE_AFTER": "0"}


@dataclass(frozen=True)
class Round:
    """One pass over the demo's families."""

    wall: float  # seconds
    processor: float  # seconds, of all workers
    server: float  # ... of PostgreSQL
    jobs: int = 0
    bodies: float = 0.0  # seconds, of all workers
    machinery: float = 0.0

    @property
    def overhead(self) -> float:
        """Of the work."""
        return self.machinery / self.bodies


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write where that is asked; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=3, help="of the demo's families")
    parser.add_argument("--repositories", type=int, default=1_000, help="that are described")
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE}, between its markers")
    asked = parser.parse_args(arguments)
    if asked.write:
        between_markers(PAGE.read_text(), NAME, "")  # before the work is done
    with served(SAMPLE) as url:
        rounds = [(straight(url), through_queue(url, asked.workers)) for _ in range(asked.repeat)]
    rate = describe(asked.repositories, asked.workers)
    page = document(rounds, rate, asked.repositories, asked.workers)
    print(page)
    if asked.write:
        PAGE.write_text(between_markers(PAGE.read_text(), NAME, page))
    overhead = median(queued.overhead for _, queued in rounds)
    return 0 if overhead <= MOST_OVERHEAD and rate >= LEAST_RATE else 1


def straight(url: str) -> Round:
    """The main job in one process, without a queue."""
    with own_server() as (engine, data), tempfile.TemporaryDirectory() as scratch:
        before = server_seconds(data)
        (spent,) = _run(engine, [["--direct", url]], Path(scratch))
        return Round(spent.wall, spent.processor, server_seconds(data) - before)


def through_queue(url: str, workers: int) -> Round:
    """The main job by workers, from the first job's beginning to the last one's end."""
    with own_server() as (engine, data), tempfile.TemporaryDirectory() as scratch:
        _enqueue(engine, url)
        before = server_seconds(data)
        found = _run(engine, [[] for _ in range(workers)], Path(scratch))
        server = server_seconds(data) - before
        wall, unfinished = _elapsed(engine, list(kinds.PLACES))
        assert not unfinished, f"{unfinished} jobs are left or failed"
    bodies, machinery = sum(one.tasks - one.inside for one in found), sum(one.machinery for one in found)
    processor, jobs = sum(one.processor for one in found), sum(one.jobs for one in found)
    return Round(wall, processor, server, jobs, bodies, machinery)


def describe(repositories: int, workers: int) -> float:
    """Repositories that are described in a minute."""
    with tempfile.TemporaryDirectory() as scratch, own_server() as (engine, _):
        folder = Path(scratch) / "models"
        write_repositories(folder, repositories)
        with served(folder) as url:
            _enqueue(engine, url)
            _run(engine, [[] for _ in range(workers)], Path(scratch), crawl_only=True)
        wall, _ = _elapsed(engine, [kinds.DESCRIBE])
        with engine.connect() as connection:
            done = connection.scalar(text("SELECT count(*) FROM repositories WHERE current_revision_id IS NOT NULL"))
        assert done == repositories, f"{done} of {repositories} were described"
    return 60 * repositories / wall


def document(rounds: Sequence[tuple[Round, Round]], rate: float, repositories: int, workers: int) -> str:
    """Everything between the markers."""
    direct, queued = [one for one, _ in rounds], [two for _, two in rounds]

    def row(name: str, *of: Sequence[float], form: str = ".1f") -> str:
        return f"| {name} | " + " | ".join(spread(list(one), form) if one else "-" for one in of) + " |"

    return "\n".join(
        [
            f"`python -m benchmarks.queue`, {machine()}, commit {commit()}.",
            "",
            f"| the demo's families, {len(rounds)} rounds, seconds | directly | {workers} workers |",
            "|---|---|---|",
            row("wall", [one.wall for one in direct], [one.wall for one in queued]),
            row("processor, ours", [one.processor for one in direct], [one.processor for one in queued]),
            row("processor, PostgreSQL", [one.server for one in direct], [one.server for one in queued]),
            row("in the bodies of tasks", [], [one.bodies for one in queued]),
            row("in the queue's machinery", [], [one.machinery for one in queued], form=".2f"),
            row("jobs", [], [float(one.jobs) for one in queued], form=".0f"),
            "",
            f"Overhead: {median(one.overhead for one in queued):.1%} of the work (target: below {MOST_OVERHEAD:.0%}), "
            f"{1000 * median(one.machinery / one.jobs for one in queued):.0f} ms for a job.",
            f"Described through the queue: {rate:,.0f} repositories a minute, of {repositories:,}, by {workers} workers"
            f" (target: {LEAST_RATE} or more).",
        ]
    )


def _enqueue(engine: Engine, url: str) -> None:
    with transaction(engine) as session:
        queue.defer(session, [kinds.crawl(url, Query(), increment=False)])


def _run(engine: Engine, commands: Sequence[Sequence[str]], scratch: Path, *, crawl_only: bool = False) -> list[Spent]:
    """Run so many processes at once, to their ends; what each spent."""
    limits = {f"HUBLINEAGE_QUEUE__{name}": value for name, value in _AT_ONCE.items()}
    address = engine.url.render_as_string(hide_password=False)
    environment = {**os.environ, **limits, "DATABASE_URL": address}
    program = [sys.executable, "-m", "benchmarks.queue_worker"]
    outs = [scratch / f"{number}.json" for number in range(len(commands))]
    more = ["--queues", "crawl"] if crawl_only else []
    processes = [
        subprocess.Popen([*program, str(out), *command, *more], env=environment)  # noqa: S603  # our own program
        for out, command in zip(outs, commands, strict=True)
    ]
    codes = [process.wait() for process in processes]
    assert not any(codes), f"workers ended with {codes}"
    names = Spent.__dataclass_fields__.keys() - {"begun"}
    return [Spent(**{key: value for key, value in json.loads(out.read_text()).items() if key in names}) for out in outs]


def _elapsed(engine: Engine, tasks: Sequence[str]) -> tuple[float, int]:
    """Seconds from the first job of these tasks to the last one's end, and how many of them did not end well."""
    query = text(
        """
        SELECT extract(epoch FROM max(event.at) FILTER (WHERE event.type = 'succeeded')
                                - min(event.at) FILTER (WHERE event.type = 'started'))::float8,
               count(DISTINCT job.id) FILTER (WHERE job.status IN ('todo', 'doing', 'failed'))
        FROM procrastinate_jobs job JOIN procrastinate_events event ON event.job_id = job.id
        WHERE job.task_name = ANY(:tasks)
        """
    )
    with engine.connect() as connection:
        seconds, unfinished = connection.execute(query, {"tasks": list(tasks)}).one()
    return float(seconds), int(unfinished)


if __name__ == "__main__":
    sys.exit(main())
