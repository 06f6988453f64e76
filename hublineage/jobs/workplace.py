"""What a worker has at hand for its jobs: database, settings, open sources; and how a job tells how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from crawler.retry import Policy
from db.engine import transaction
from db.models import Family
from hublineage.jobs import queue
from hublineage.jobs.retries import GivenBack, RateLimited
from hublineage.metrics import Metrics
from hublineage.parameters import inferring, measuring
from hublineage.progress import Reporter
from hublineage.sources import open_source

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from crawler.source import Source
    from hublineage.settings import Settings
    from lineage.measure_options import Options
    from lineage.parameters import Parameters

WORTH_WAITING = 5.0  # seconds that a worker waits for a quota itself; for longer it does other work
_TOLD_EVERY = 1.0  # seconds between notes of a job's progress


class Workplace:
    """What the jobs of one process share; they run one after the other."""

    def __init__(
        self,
        engine: Engine,
        settings: Settings,
        *,
        metrics: Metrics | None = None,
        open_source: Callable[..., Source] = open_source,
    ) -> None:
        self.engine = engine
        self.settings = settings
        self.metrics = metrics or Metrics()
        self.options: Options = measuring(settings)
        self.inference: Parameters = inferring(settings)
        self._open = open_source
        self._sources: dict[str, Source] = {}
        self._limited: dict[str, float] = {}  # until when, of time.monotonic
        self._families: dict[int, str] = {}

    def source(self, name: str) -> Source:
        """The source of a name, kept open. Raises RateLimited while it has told us to wait."""
        left = self._limited.get(name, 0.0) - time.monotonic()
        if left > 0:
            raise RateLimited(name, left)
        if name not in self._sources:

            def asked(seconds: float, _bucket: str) -> None:
                self._wait(name, seconds, lambda _: None)

            def pause(seconds: float) -> None:
                self._wait(name, seconds, time.sleep)

            self._sources[name] = self._open(
                name,
                self.engine,
                self.settings,
                Reporter(None),
                on_wait=asked,
                policy=Policy(sleep=pause),
                observe=self.metrics.request,
            )
        return self._sources[name]

    def family(self, number: int) -> str:
        """A family's name, asked for once."""
        if number not in self._families:
            with transaction(self.engine) as session:
                found = session.get(Family, number)
            self._families[number] = str(number) if found is None else found.name
        return self._families[number]

    def _wait(self, name: str, seconds: float, sleep: Callable[[float], None]) -> None:
        if seconds > WORTH_WAITING:
            self._limited[name] = time.monotonic() + seconds
            raise RateLimited(name, seconds)
        sleep(seconds)

    def defer(self, jobs: Iterable[queue.Deferred]) -> int:
        """Queue jobs; see `queue.defer`."""
        with transaction(self.engine) as session:
            return queue.defer(session, jobs)

    def let_go(self, name: str) -> None:
        """Close a source: threads that still wait for its quota end, and use up none of it for nothing."""
        source = self._sources.pop(name, None)
        if source is not None:
            source.close()

    def close(self) -> None:
        """Close what was opened."""
        for source in self._sources.values():
            source.close()
        self._sources.clear()


class Work:
    """One try of one job."""

    def __init__(self, place: Workplace, job: int, check: Callable[[], None]) -> None:
        self.place = place
        self.engine = place.engine
        self.settings = place.settings
        self.job = job
        self._check = check
        self._begun = time.monotonic()
        self._told: float | None = None
        self._at: tuple[str, int, int | None] = "", 0, None
        with transaction(self.engine) as session:
            self.record = queue.record(session, job)
            self.since: datetime
            self.since, self.age = queue.deferred_at(session, job)  # the age in seconds

    @property
    def seconds(self) -> float:
        """How long this try has taken."""
        return time.monotonic() - self._begun

    @property
    def is_last(self) -> bool:
        """Whether this try, after others that ended with their workers, is the last one if it ends so too."""
        return 0 < self.record.killed >= self.settings.queue.workers_lost - 1

    def source(self, name: str) -> Source:
        """See `Workplace.source`."""
        return self.place.source(name)

    def defer(self, *jobs: queue.Deferred) -> int:
        """See `Workplace.defer`."""
        return self.place.defer(jobs)

    def options(self, *, retry_failed: bool = False) -> Options:
        """How to measure."""
        return replace(self.place.options, retry_failed=retry_failed)

    def checkpoint(self, what: str, done: int, total: int | None) -> None:
        """Say how far the job is; between two units of work, which it may end at. Raises GivenBack and JobAborted."""
        self._check()
        self._at = what or self._at[0], done, total
        now = time.monotonic()
        if self._told is None or self.record.killed or now - self._told >= _TOLD_EVERY:
            self._told = now
            with transaction(self.engine) as session:
                queue.note(session, self.job, what=self._at[0], done=done, total=total)

    def finish(self) -> None:
        """Note that the job is done."""
        what, done, total = self._at
        ended = {"failed": 0, "suspect": None, "kind": None, "reason": None, "parked_at": None}
        with transaction(self.engine) as session:
            queue.note(session, self.job, what=what, done=total or done, total=total, **ended)

    def suspect(self, what: str | None) -> None:
        """Say what is alone at hand, in case that the worker does not survive it."""
        self._check()
        with transaction(self.engine) as session:
            queue.note(session, self.job, suspect=what)

    def wait_for(self, why: str, seconds: float) -> None:
        """Put the job off, unless it has been put off for longer than the settings' patience."""
        if self.age < self.settings.queue.patience:
            raise GivenBack(why, max(seconds, self.age / 4, 0.2))
