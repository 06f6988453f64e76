"""What a worker has at hand for its jobs: database, settings, open sources; and how a job tells how far it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from crawler.retry import Policy
from db.engine import transaction
from hublineage.jobs import kinds, queue
from hublineage.jobs.manager import Ended, Known
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
_TOLD_EVERY = 2.0  # seconds between notes of a job's progress
_SHORTEST_WAIT = 0.2  # seconds that a job is put off
_TRIES_BEFORE_OLD = 5  # of a job that waits for others


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
        self.single = engine.execution_options(isolation_level="AUTOCOMMIT")  # for what is one statement
        self.settings = settings
        self.metrics = metrics or Metrics()
        self.options: Options = measuring(settings)
        self.inference: Parameters = inferring(settings)
        self._open = open_source
        self._sources: dict[str, Source] = {}
        self._measures = False  # whether the job at hand reads what others read too
        self._limited: dict[str, float] = {}  # until when, of time.monotonic

    def source(self, name: str, *, measures: bool = False) -> Source:
        """The source of a name, kept open, for one job. Raises RateLimited while it has told us to wait.

        One that `measures` uses addresses of files that other workers were told; others ask the Hub, which may say no.
        """
        self._measures = measures
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
                shares=lambda: self._measures,
            )
        return self._sources[name]

    def _wait(self, name: str, seconds: float, sleep: Callable[[float], None]) -> None:
        if seconds > WORTH_WAITING:
            self._limited[name] = time.monotonic() + seconds
            raise RateLimited(name, seconds)
        sleep(seconds)

    def defer(self, jobs: Iterable[kinds.Deferred]) -> int:
        """Queue jobs; see `queue.defer`."""
        with transaction(self.single) as session:
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

    def __init__(self, place: Workplace, job: int, check: Callable[[], None], known: Known | None = None) -> None:
        self.place = place
        self.engine = place.engine
        self.settings = place.settings
        self.job = job
        self._check = check
        self._begun = self._told = time.monotonic()
        self._at: tuple[str, int, int | None] = "", 0, None
        self._next: list[kinds.Deferred] = []
        if known is None:
            with transaction(self.engine) as session:
                known = Known(queue.record(session, job), *queue.deferred_at(session, job))
        self.record, self.since, self.age = known.record, known.since, known.age  # the age in seconds
        self.tries = known.tries

    @property
    def seconds(self) -> float:
        """How long this try has taken."""
        return time.monotonic() - self._begun

    @property
    def is_last(self) -> bool:
        """Whether this try, after others that ended with their workers, is the last one if it ends so too."""
        return 0 < self.record.killed >= self.settings.queue.workers_lost - 1

    def source(self, name: str, *, measures: bool = False) -> Source:
        """See `Workplace.source`."""
        return self.place.source(name, measures=measures)

    def defer(self, *jobs: kinds.Deferred) -> int:
        """See `Workplace.defer`."""
        return self.place.defer(jobs)

    def then(self, *jobs: kinds.Deferred) -> None:
        """Queue jobs at this one's end, with the note that it is done; see `queue.defer`."""
        self._next += jobs

    def options(self, *, retry_failed: bool = False) -> Options:
        """How to measure."""
        return replace(self.place.options, retry_failed=retry_failed)

    def checkpoint(self, what: str, done: int, total: int | None) -> None:
        """Say how far the job is; between two units of work, which it may end at. Raises GivenBack and JobAborted.

        It is noted every other second, and of a job that a worker died of each time.
        """
        self._check()
        self._at = what or self._at[0], done, total
        now = time.monotonic()
        if self.record.killed or now - self._told >= _TOLD_EVERY:
            self._told = now
            with transaction(self.place.single) as session:
                queue.note(session, self.job, what=self._at[0], done=done, total=total)

    @property
    def ended(self) -> Ended:
        """What is noted of the job, and what follows it, now that it is done."""
        what, done, total = self._at
        return Ended(what, total or done, total, self._next)

    def suspect(self, what: str | None) -> None:
        """Say what is alone at hand, in case that the worker does not survive it."""
        self._check()
        with transaction(self.place.single) as session:
            queue.note(session, self.job, suspect=what)

    def at_hand(self, tasks: Sequence[str], source: str) -> int:
        """How many other jobs of these tasks and a source are done now or soon."""
        with transaction(self.place.single) as session:
            return queue.at_hand(session, tasks, source, but=self.job)

    def wait_for(self, why: str, seconds: float) -> None:
        """Put the job off, unless it has been put off for longer than the settings' patience.

        And a few times: a job that looks old to a clock that was set forward has not waited yet.
        """
        patience = self.settings.queue.patience
        few = min(_TRIES_BEFORE_OLD, patience / max(seconds, _SHORTEST_WAIT))
        if self.age < patience or self.tries < few:
            raise GivenBack(why, max(seconds, min(self.age, patience) / 4, _SHORTEST_WAIT))
