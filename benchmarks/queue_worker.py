"""A worker that times itself, and the main job done directly: the two sides of `benchmarks.queue`.

    python -m benchmarks.queue_worker OUT.json              a worker that drains the queues of DATABASE_URL
    python -m benchmarks.queue_worker OUT.json --stand      one that works until SIGTERM
    python -m benchmarks.queue_worker OUT.json --direct URL the main job on a source, without a queue

A job's cycle is from the question that fetched it to the answer that it was written down as ended; its body is the
task's own time in it, without what the task spends on the queue (progress notes, jobs that it queues, questions to it).
All else of the cycle is machinery, and so are heartbeats: the library's own bookkeeping and the hand-over between
threads are in it. The same by the processor, where machinery is all that the process does outside of bodies: looks at
an empty queue, listening and heartbeats too.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

from procrastinate.jobs import Job

from hublineage import job as main_job
from hublineage.database import database
from hublineage.jobs import app, kinds
from hublineage.jobs.heart import Heart
from hublineage.jobs.manager import Manager
from hublineage.jobs.worker import Assignment, Until, Worker
from hublineage.jobs.workplace import Work, Workplace
from hublineage.parameters import measuring
from hublineage.progress import Reporter
from hublineage.settings import read_settings
from hublineage.sources import open_source

Result = TypeVar("Result")


@dataclass
class Spent:
    """Seconds of one process; of its jobs where it is a worker."""

    jobs: int = 0
    wall: float = 0.0  # of all that was done, imports and connecting apart
    processor: float = 0.0
    cycles: float = 0.0
    tasks: float = 0.0
    inside: float = 0.0  # of the tasks: spent on the queue
    hearts: float = 0.0
    busy: float = 0.0  # processor seconds of the process while a body ran: of all its threads
    begun: dict[int, float] = field(default_factory=dict, repr=False)  # jobs at hand, since when

    @property
    def bodies(self) -> float:
        """Seconds of work."""
        return self.tasks - self.inside

    @property
    def machinery(self) -> float:
        """Seconds of everything else that a job costs its worker."""
        return self.cycles - self.bodies + self.hearts


def watch(spent: Spent) -> None:
    """Let this process's jobs be timed, from outside."""
    lock = threading.Lock()

    def timed(name: str, call: Callable[..., Result], counts: int = 0) -> Callable[..., Result]:
        @wraps(call)
        def measured(*args: Any, **kwargs: Any) -> Result:
            begun, busy = time.perf_counter(), time.process_time()
            try:
                return call(*args, **kwargs)
            finally:
                with lock:
                    setattr(spent, name, getattr(spent, name) + time.perf_counter() - begun)
                    spent.busy += counts * (time.process_time() - busy)

        return measured

    app.TASKS.update({name: timed("tasks", task, 1) for name, task in app.TASKS.items()})
    for method in ("defer", "checkpoint", "suspect", "at_hand"):
        setattr(Work, method, timed("inside", getattr(Work, method), -1))
    Heart.beat = timed("hearts", Heart.beat)  # type: ignore[method-assign]  # timed from outside
    fetch, finish, retry = Manager.fetch_job, Manager.finish_job, Manager.retry_job

    async def fetched(self: Manager, *args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        found = await fetch(self, *args, **kwargs)
        if found is not None and found.id is not None:
            spent.begun[found.id] = begun
        return found

    def ended(usual: Any) -> Any:
        async def call(self: Manager, job: Job, *args: Any, **kwargs: Any) -> None:
            await usual(self, job, *args, **kwargs)
            begun = spent.begun.pop(job.id or 0, None)
            if begun is not None:  # a retry that ends the job instead comes here twice
                spent.jobs += 1
                spent.cycles += time.perf_counter() - begun

        return call

    Manager.fetch_job = fetched  # type: ignore[method-assign]  # timed from outside
    Manager.finish_job = ended(finish)  # type: ignore[method-assign]  # timed from outside
    Manager.retry_job = ended(retry)  # type: ignore[method-assign]  # timed from outside


def work(queues: Sequence[str], until: Until) -> Spent:
    """Work on these queues."""
    spent, settings = Spent(), read_settings()
    watch(spent)
    with database(settings) as engine:
        place = Workplace(engine, settings)
        url = engine.url.render_as_string(hide_password=False)
        begun, busy = time.perf_counter(), time.process_time()
        Worker(place, url, Assignment(queues, until)).run()
        spent.wall, spent.processor = time.perf_counter() - begun, time.process_time() - busy
    return spent


def direct(name: str) -> Spent:
    """The main job on a source, in this process."""
    spent, settings, report = Spent(), read_settings(), Reporter(None)
    with database(settings) as engine:
        begun, busy = time.perf_counter(), time.process_time()
        with closing(open_source(name, engine, settings, report)) as source:
            main_job.run(engine, source, main_job.Job(options=measuring(settings)), report)
        spent.wall, spent.processor = time.perf_counter() - begun, time.process_time() - busy
    return spent


def main() -> int:
    """Do one of the two, and write down what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--direct", metavar="URL", help="the source of the main job, done without a queue")
    parser.add_argument("--stand", action="store_true", help="work until SIGTERM, not until the queues are empty")
    parser.add_argument("--queues", default=",".join(kinds.QUEUES))
    asked = parser.parse_args()
    spent = (
        direct(asked.direct) if asked.direct else work(asked.queues.split(","), "stopped" if asked.stand else "empty")
    )
    words = {**asdict(spent), "bodies": spent.bodies, "machinery": spent.machinery}
    asked.out.write_text(json.dumps(words))
    return 0


if __name__ == "__main__":
    sys.exit(main())
