"""The queue as its library runs it: the tasks, and how one try of a job is made."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import procrastinate
from procrastinate import exceptions
from procrastinate.job_context import AbortReason, JobContext
from sqlalchemy import make_url
from sqlalchemy.exc import SQLAlchemyError

from db import schema
from db.engine import transaction
from db.errors import HublineageError
from hublineage import logs
from hublineage.jobs import crawling, inferring, kinds, measuring, queue
from hublineage.jobs.manager import Known, Manager, outdated, pool
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


def make_app(url: str) -> procrastinate.App:
    """The queue of a database, with all tasks. Its workers hand their Workplace to the tasks as `place`."""
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connector = procrastinate.PsycopgConnector(
        pool_factory=pool,
        conninfo=address,
        min_size=1,
        max_size=_CONNECTIONS,
        timeout=_PATIENCE,
        reconnect_timeout=_PATIENCE,
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

    manager = context.app.job_manager
    known = manager.known.get(number) if isinstance(manager, Manager) else None
    with logs.about(job=number, task=stage, **_subject(args, known)):
        begun = time.monotonic()
        log.debug("begins")
        try:
            with metrics.stage(stage):
                work = Work(place, number, check, known)
                task(work, **args)
            if isinstance(manager, Manager):
                manager.ended[number] = work.ended
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


def _subject(args: Mapping[str, Any], known: Known | None) -> dict[str, Any]:
    """What a job is about, in words for the log."""
    about = {name: args[name] for name in ("source", "batch", "block") if name in args}
    if "family" in args:
        about["family"] = str(args["family"]) if known is None or known.family is None else known.family
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
            return AgainError(queue.now(session), outdated(version))
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
