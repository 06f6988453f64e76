"""The queue as its library runs it: the tasks, and how jobs are fetched, tried again and ended."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, LiteralString

import procrastinate
from procrastinate import exceptions
from procrastinate.connector import BaseConnector
from procrastinate.job_context import AbortReason, JobContext
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from db import schema
from db.engine import transaction
from db.errors import HublineageError, UsageError
from hublineage import logs
from hublineage.jobs import crawling, inferring, kinds, measuring, queue
from hublineage.jobs.retries import AgainError, AsDecided, GivenBack, RateLimited, judge, reason
from hublineage.jobs.workplace import Work, Workplace
from hublineage.metrics import Outcome

log = logging.getLogger(__name__)

TASKS: dict[str, Callable[..., None]] = {
    kinds.CRAWL: partial(crawling.crawl, increment=True),
    kinds.SWEEP: partial(crawling.crawl, increment=False),
    kinds.DESCRIBE: crawling.describe,
    kinds.SETTLE: crawling.settle,
    kinds.PLAN: measuring.plan,
    kinds.MEASURE: measuring.measure,
    kinds.INFER: inferring.infer,
    kinds.COMPARE: inferring.compare,
    kinds.INFERENCE: inferring.inference,
    kinds.RETENTION: inferring.retention,
}

_CONNECTIONS = 2  # of the library's own; listening takes one more
_PATIENCE = 5.0  # seconds for a connection; for a database that is gone the worker itself waits


# A tick far ahead was noted by a clock that has been set back since, and says nothing.
_IS_OVER: LiteralString = """
    SELECT EXISTS (
        SELECT FROM procrastinate_periodic_defers
        WHERE task_name = %(task)s AND periodic_id = %(periodic_id)s AND defer_timestamp >= %(tick)s
          AND defer_timestamp <= extract(epoch FROM clock_timestamp()) + 60
    ) OR EXISTS (
        SELECT FROM procrastinate_jobs parked JOIN job_records ON job_records.job_id = parked.id
        WHERE parked.status = 'failed' AND parked.queueing_lock = %(key)s AND job_records.kind = %(lost)s
    ) AS is_over
"""


class OutdatedError(UsageError):
    """The database is newer than this program."""


class Manager(JobManager):
    """The library's manager, which knows its worker, and leaves jobs alone that are for a newer program."""

    worker: int | None = None
    _untold = False  # whether the end of a job could not be told: the database was away for a moment

    def __init__(self, connector: BaseConnector) -> None:
        super().__init__(connector)
        self.give_back: Callable[[int], object] = lambda _worker: None  # jobs that a worker has and is not at

    async def register_worker(self) -> int:
        """As its parent; the id is remembered."""
        self.worker = await super().register_worker()
        return self.worker

    async def unregister_worker(self, worker_id: int) -> None:
        """As its parent."""
        await super().unregister_worker(worker_id)
        self.worker = None

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        """As its parent. Raises OutdatedError where the schema has moved on."""
        row = await self.connector.execute_query_one_async("SELECT version_num FROM alembic_version")
        if row["version_num"] != schema.newest():
            raise OutdatedError(_outdated(row["version_num"]))
        if self._untold:  # one job at a time: nothing is being done now
            await asyncio.to_thread(self.give_back, worker_id)
            self._untold = False
        return await super().fetch_job(queues, worker_id)

    async def defer_periodic_job(self, job: Job, periodic_id: str, defer_timestamp: int) -> int | None:
        """As its parent; not what a quicker scheduler has gone past, nor what is parked."""
        row = await self.connector.execute_query_one_async(
            _IS_OVER,
            task=job.task_name,
            periodic_id=periodic_id,
            tick=defer_timestamp,
            key=job.queueing_lock,
            lost=queue.WORKER_LOST,
        )
        return None if row["is_over"] else await super().defer_periodic_job(job, periodic_id, defer_timestamp)

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        """As its parent, unless the job is another worker's by now: this one was thought dead, and was not."""
        with self._telling():
            if await self._is_ours(job):
                await super().finish_job(job, status, delete_job)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except exceptions.ConnectorException:
            self._untold = True
            raise

    async def _is_ours(self, job: Job) -> bool:
        rows = await self.connector.execute_query_all_async(
            "SELECT 1 FROM procrastinate_jobs WHERE id = %(job)s AND status = 'doing' AND worker_id = %(worker)s",
            job=job.id,
            worker=self.worker,
        )
        if not rows:
            log.warning("job %s, %s: others have taken it over meanwhile", job.id, job.task_name)
        return bool(rows)

    async def retry_job(
        self,
        job: Job,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        """As `finish_job`; where the same work was queued meanwhile, that job does it."""
        with self._telling():
            if not await self._is_ours(job):
                return
            try:
                await super().retry_job(job, retry_at, priority, queue, lock)
            except exceptions.UniqueViolation:
                await super().finish_job(job, Status.ABORTED, delete_job=False)


def make_app(url: str) -> procrastinate.App:
    """The queue of a database, with all tasks. Its workers hand their Workplace to the tasks as `place`."""
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connector = procrastinate.PsycopgConnector(
        conninfo=address, min_size=1, max_size=_CONNECTIONS, timeout=_PATIENCE, reconnect_timeout=_PATIENCE
    )
    app = procrastinate.App(connector=connector)
    app.job_manager = Manager(connector)
    for name, (where, priority) in kinds.PLACES.items():
        app.task(name=name, queue=where, priority=priority, pass_context=True, retry=AsDecided())(
            partial(run_task, TASKS[name])
        )
    return app


def run_task(task: Callable[..., None], context: JobContext, **args: Any) -> None:
    """One try of a job, in a thread of the worker: whatever happens is written down, and what comes next decided.

    Raises AgainError for another try; JobAborted where it was cancelled; else the error, and the job has failed.
    """
    place: Workplace = context.additional_context["place"]
    number = context.job.id
    assert number is not None  # noqa: S101  # only jobs of the queue are run
    args.pop("timestamp", None)  # of a job that the schedule queued: its clock is not the database's
    stage, metrics = context.job.task_name, place.metrics

    def check() -> None:
        why = context.abort_reason()
        if why is AbortReason.USER_REQUEST:
            raise exceptions.JobAborted
        if why is AbortReason.SHUTDOWN:
            raise GivenBack("the worker stops")

    with logs.about(job=number, task=stage, **_subject(place, args)):
        begun = time.monotonic()
        log.debug("begins")
        try:
            with metrics.stage(stage):
                work = Work(place, number, check)
                task(work, **args)
                work.finish()
            metrics.ended(stage, "succeeded")
            seconds = time.monotonic() - begun
            log.info("done in %.1f s", seconds, extra={"seconds": round(seconds, 3)})
        except exceptions.JobAborted:
            metrics.ended(stage, "cancelled")
            log.info("cancelled")
            raise
        except Exception as error:
            again = _decided(place, number, error)
            metrics.ended(stage, _outcome(error, again), error)
            if again is None:
                foreseen = isinstance(error, HublineageError)
                log.log(logging.ERROR, "failed: %s: %s", type(error).__name__, reason(error), exc_info=not foreseen)
                raise
            if isinstance(error, RateLimited):
                place.let_go(error.source)
            level = logging.DEBUG if isinstance(error, GivenBack) else logging.INFO
            log.log(level, "again at %s: %s", again.at.isoformat(timespec="seconds"), again)
            raise again from error


def _subject(place: Workplace, args: Mapping[str, Any]) -> dict[str, Any]:
    """What a job is about, in words for the log."""
    about = {name: args[name] for name in ("source", "batch", "block") if name in args}
    if "family" in args:
        with suppress(SQLAlchemyError):  # the task will meet it as well
            about["family"] = place.family(args["family"])
    return about


def _outcome(error: Exception, again: AgainError | None) -> Outcome:
    if isinstance(error, GivenBack):
        return "given back"
    if isinstance(error, RateLimited):
        return "rate limited"
    return "failed" if again is None else "again"


def _decided(place: Workplace, job: int, error: Exception) -> AgainError | None:
    """`decide`; while the database does not answer, another try."""
    try:
        return decide(place, job, error)
    except SQLAlchemyError as lost:
        return AgainError(datetime.now(UTC) + timedelta(seconds=place.settings.queue.first_wait), reason(lost))


def decide(place: Workplace, job: int, error: Exception) -> AgainError | None:
    """Write down how a try ended; what follows it, None for nothing. Raises where the database does not answer."""
    with transaction(place.engine) as session:
        with place.engine.connect() as connection:
            version = schema.version(connection)
        if version != schema.newest() and not isinstance(error, GivenBack):
            # A migration under way, or done: what it met of that is not the job's fault.
            return AgainError(queue.now(session), _outdated(version))
        failed = queue.record(session, job).failed
        verdict = judge(error, failed, place.settings.queue)
        words: dict[str, Any] = {"kind": type(error).__name__, "reason": reason(error), "suspect": None}
        if verdict.counts:
            words["failed"] = failed + 1
        if verdict.wait is None:
            words["parked_at"] = queue.now(session)
            queue.note(session, job, **words)
            return None
        if isinstance(error, RateLimited) or verdict.counts or verdict.wait:
            queue.note(session, job, **words)
        return AgainError(queue.moment_in(session, verdict.wait), words["reason"])


def _outdated(version: str | None) -> str:
    return f"the database has version {version}, this program knows {schema.newest()}: update the program"
