"""What the queue costs, and how fast repositories are described through it.

    python -m benchmarks.queue [--workers 4] [--repeat 3] [--repositories 1000] [--write]

First the demo's families (benchmarks/sample_hub, served by a loopback Hub in a process of its own): the main job
directly, then through the queue by so many workers that stand ready, in turns, each on a new embedded PostgreSQL.
Overhead is time in the queue's machinery by time in the bodies of the tasks (`benchmarks.queue_worker` says what counts
as which), by the clock and by the processor; waits that collect more work (queue.settle_after, infer_after,
compare_after) are zero, as they are no work. The processor's figure is less disturbed by what else the machine does: it
holds whatever the workers do outside of bodies, idle ones too, and what PostgreSQL does more than for the same job done
directly. Then so many repositories of 291 tensors: the time from the first description's beginning to the last's end.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
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
_LOOK_EVERY = 0.5  # seconds
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
    busy: float = 0.0  # processor seconds in the bodies of tasks, of all workers

    @property
    def overhead(self) -> float:
        """Of the work, by the clock."""
        return self.machinery / self.bodies

    def overhead_by_processor(self, direct: Round) -> float:
        """Of the work done directly: what is not in bodies, and what PostgreSQL does more than for that."""
        return (self.processor - self.busy + self.server - direct.server) / (direct.processor + direct.server)


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
    """The main job by workers that stand ready, from its being queued to its last job's end."""
    with own_server() as (engine, data), tempfile.TemporaryDirectory() as scratch:
        outs, processes = _started(engine, [["--stand"] for _ in range(workers)], Path(scratch))
        _wait(engine, "SELECT count(*) FROM procrastinate_workers", workers)
        before, spent = server_seconds(data), _processor(processes)
        _enqueue(engine, url)
        _wait(engine, "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')", 0)
        server, processor = server_seconds(data) - before, _processor(processes) - spent
        for process in processes:
            process.terminate()
        found = _ended(outs, processes)
        wall, unfinished = _elapsed(engine, list(kinds.PLACES))
        assert not unfinished, f"{unfinished} jobs failed"
    bodies, machinery = sum(one.tasks - one.inside for one in found), sum(one.machinery for one in found)
    jobs = sum(one.jobs for one in found)
    return Round(wall, processor, server, jobs, bodies, machinery, sum(one.busy for one in found))


def describe(repositories: int, workers: int) -> float:
    """Repositories that are described in a minute."""
    with tempfile.TemporaryDirectory() as scratch, own_server() as (engine, _):
        folder = Path(scratch) / "models"
        write_repositories(folder, repositories)
        with served(folder) as url:
            _enqueue(engine, url)
            _run(engine, [["--queues", "crawl"] for _ in range(workers)], Path(scratch))
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
            row("processor, in the bodies of tasks", [], [one.busy for one in queued]),
            row("processor, in all else", [], [one.processor - one.busy for one in queued], form=".2f"),
            row("jobs", [], [float(one.jobs) for one in queued], form=".0f"),
            "",
            f"Overhead: {median(one.overhead for one in queued):.1%} of the work by the clock, "
            f"{median(two.overhead_by_processor(one) for one, two in rounds):.1%} by the processor "
            f"(target: below {MOST_OVERHEAD:.0%}); {1000 * median(one.machinery / one.jobs for one in queued):.0f} ms"
            " for a job.",
            f"Described through the queue: {rate:,.0f} repositories a minute, of {repositories:,}, by {workers} workers"
            f" (target: {LEAST_RATE} or more).",
        ]
    )


def _enqueue(engine: Engine, url: str) -> None:
    with transaction(engine) as session:
        queue.defer(session, [kinds.crawl(url, Query(), increment=False)])


def _run(engine: Engine, commands: Sequence[Sequence[str]], scratch: Path) -> list[Spent]:
    """Run so many processes at once, to their ends; what each spent."""
    return _ended(*_started(engine, commands, scratch))


def _started(
    engine: Engine, commands: Sequence[Sequence[str]], scratch: Path
) -> tuple[list[Path], list[subprocess.Popen[bytes]]]:
    """So many processes, and the files into which they write what they spent."""
    limits = {f"HUBLINEAGE_QUEUE__{name}": value for name, value in _AT_ONCE.items()}
    address = engine.url.render_as_string(hide_password=False)
    environment = {**os.environ, **limits, "DATABASE_URL": address}
    program = [sys.executable, "-m", "benchmarks.queue_worker"]
    outs = [scratch / f"{number}.json" for number in range(len(commands))]
    return outs, [
        subprocess.Popen([*program, str(out), *command], env=environment)  # noqa: S603  # our own program
        for out, command in zip(outs, commands, strict=True)
    ]


def _ended(outs: Sequence[Path], processes: Sequence[subprocess.Popen[bytes]]) -> list[Spent]:
    codes = [process.wait() for process in processes]
    assert not any(codes), f"workers ended with {codes}"
    names = Spent.__dataclass_fields__.keys() - {"begun"}
    return [Spent(**{key: value for key, value in json.loads(out.read_text()).items() if key in names}) for out in outs]


def _wait(engine: Engine, query: str, wanted: int) -> None:
    """Until a query counts so many."""
    while True:
        with engine.connect() as connection:
            if connection.scalar(text(query)) == wanted:
                return
        time.sleep(_LOOK_EVERY)


def _processor(processes: Sequence[subprocess.Popen[bytes]]) -> float:
    """Processor seconds of processes."""
    times = [psutil.Process(process.pid).cpu_times() for process in processes]
    return sum(float(one.user + one.system) for one in times)


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
