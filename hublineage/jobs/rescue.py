"""Jobs whose worker died: given to others, and parked where they do that to every worker.

A worker is dead when its heartbeat has not changed for a while on the clock of whoever watches. No two clocks are
compared, so neither a clock that jumps nor one that is wrong makes a living worker look dead. Every worker and every
scheduler watches.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from db import failures, measurements
from db.engine import transaction
from db.errors import WorkerLost
from db.models import Repository
from hublineage.jobs import kinds, queue
from hublineage.logs import about

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from hublineage.settings import QueueSettings

log = logging.getLogger(__name__)

_DOING = text(
    """
    SELECT job.id, job.worker_id, worker.last_heartbeat
    FROM procrastinate_jobs job LEFT JOIN procrastinate_workers worker ON worker.id = job.worker_id
    WHERE job.status = 'doing'
    """
)
_STILL_SO = text(
    """
    SELECT job.task_name, job.args, job.queueing_lock
    FROM procrastinate_jobs job LEFT JOIN procrastinate_workers worker ON worker.id = job.worker_id
    WHERE job.id = :job AND job.status = 'doing' AND job.worker_id IS NOT DISTINCT FROM :worker
      AND worker.last_heartbeat IS NOT DISTINCT FROM :beat
    FOR UPDATE OF job SKIP LOCKED
    """
)
_TO_DO = text(
    """
    UPDATE procrastinate_jobs SET status = 'todo', worker_id = NULL, abort_requested = false, attempts = attempts + 1,
           scheduled_at = NULL
    WHERE id = :job AND NOT EXISTS (
        SELECT FROM procrastinate_jobs twin WHERE twin.status = 'todo' AND twin.queueing_lock = :key
    ) RETURNING id
    """
)
# A job put off has moments to wait, at most until the Hub's next window: what is due later was put off by a clock that
# has been set back since.
_FAR_AHEAD = text(
    """
    UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE id IN (
        SELECT id FROM procrastinate_jobs
        WHERE status = 'todo' AND scheduled_at > clock_timestamp() + make_interval(secs => :longest)
        FOR UPDATE SKIP LOCKED
    ) RETURNING id
    """
)
_QUOTAS_AHEAD = text(
    """
    UPDATE quotas SET resets_at = clock_timestamp(), blocked_until = NULL
    WHERE greatest(resets_at, blocked_until)
        > clock_timestamp() + make_interval(secs => greatest(:longest, 2 * window_s))
    RETURNING bucket
    """
)
_LONGEST_WAIT = 3600.0  # seconds that any job is put off, where the settings say no longer
_TWIN = text("SELECT id FROM procrastinate_jobs WHERE status = 'todo' AND queueing_lock = :key")
_END = text("SELECT procrastinate_finish_job_v1(:job, CAST(:status AS procrastinate_job_status), false)")


class Watch:
    """Looks at the jobs that are being done, again and again."""

    def __init__(self, engine: Engine, settings: QueueSettings, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._look_ahead = float("-inf")  # when to
        self._seen: dict[int, tuple[object, float]] = {}  # job -> its worker and heartbeat, and since when

    def look(self) -> int:
        """Rescue what has stalled since earlier looks; return how many jobs that were."""
        now = self._clock()
        with transaction(self._engine) as session:
            if now >= self._look_ahead:
                self._look_ahead = now + self._settings.stalled_after
                _hasten(session, self._settings)
            doing = {job: (worker, beat) for job, worker, beat in session.execute(_DOING)}
        seen: dict[int, tuple[object, float]] = {}
        for job, state in doing.items():
            known, since = self._seen.get(job, (None, now))
            seen[job] = state, since if known == state else now
        self._seen = seen
        stalled = [job for job, (_, since) in seen.items() if now - since >= self._settings.stalled_after]
        return sum(self._rescue(job, *doing[job]) for job in stalled)

    def forget(self) -> None:
        """Begin anew: while the database was away nobody could beat, and that speaks against no worker."""
        self._seen = {}

    def _rescue(self, job: int, worker: int | None, beat: Any) -> bool:
        with transaction(self._engine) as session:
            row = session.execute(_STILL_SO, {"job": job, "worker": worker, "beat": beat}).one_or_none()
            if row is None:
                return False
            task, args, key = row
            record = queue.record(session, job)
            killed = record.killed + 1
            with about(job=job, task=task, worker=worker):
                if killed < self._settings.workers_lost:
                    _again(session, job, key, killed=killed)
                    log.warning("rescued: its worker is gone, for the %d. time", killed)
                elif record.suspect is not None and task == kinds.MEASURE:
                    _without(session, record.suspect, int(args["batch"]), killed)
                    _again(session, job, key, killed=0, suspect=None)
                    log.error("left out %s: %d workers died of it", record.suspect, killed)
                else:
                    _park(session, job, task, args, killed)
                    log.error("parked: %d workers died of it", killed)
            return True


def _hasten(session: Session, settings: QueueSettings) -> None:
    """Let jobs be due, and quotas be there again, that lie further ahead than anything is put off."""
    after = settings.settle_after, settings.infer_after, settings.compare_after
    longest = max(_LONGEST_WAIT, settings.longest_wait, settings.patience, *after)
    hastened = session.scalars(_FAR_AHEAD, {"longest": longest}).all()
    if hastened:
        log.warning("the database's clock was set back: %d jobs that lay far ahead are due now", len(hastened))
    for bucket in session.scalars(_QUOTAS_AHEAD, {"longest": longest}):
        log.warning("the database's clock was set back: a new window of the quota of %s requests begins", bucket)


def give_back(session: Session, worker: int) -> int:
    """Put what a worker of this process has, and is not at, back into the queue; return how many jobs that were."""
    statement = text("SELECT id, queueing_lock FROM procrastinate_jobs WHERE status = 'doing' AND worker_id = :worker")
    jobs = session.execute(statement, {"worker": worker}).all()
    for job, key in jobs:
        _again(session, job, key)
    return len(jobs)


def strike_off(session: Session, worker: int) -> None:
    """Forget a worker of this process."""
    session.execute(text("DELETE FROM procrastinate_workers WHERE id = :worker"), {"worker": worker})


def _again(session: Session, job: int, key: str, **columns: Any) -> None:
    """Back into the queue; where the same work is there already, that job takes over what is known of this one."""
    if session.execute(_TO_DO, {"job": job, "key": key}).one_or_none() is None:
        twin = session.scalars(_TWIN, {"key": key}).one()
        session.execute(_END, {"job": job, "status": "aborted"})
        job = twin
    if columns:
        queue.note(session, job, **columns)


def _without(session: Session, suspect: str, batch: int, killed: int) -> None:
    """Leave the member that workers die of out of its batch."""
    revision = int(suspect.partition(" ")[0])
    member = measurements.member(session, revision)
    failure = WorkerLost(f"{killed} workers died while they measured it", model=member.name)
    failures.record(
        session, failure, stage="measure", repository_id=member.repository_id, revision_id=member.revision_id
    )
    measurements.lose_member(session, batch, revision)


def _park(session: Session, job: int, task: str, args: dict[str, Any], killed: int) -> None:
    words = f"{killed} workers died while they were at it"
    session.execute(_END, {"job": job, "status": "failed"})
    queue.note(
        session, job, killed=killed, kind=queue.WORKER_LOST, reason=words, parked_at=queue.now(session), suspect=None
    )
    repositories = args.get("repositories", [])
    if task == kinds.DESCRIBE and len(repositories) == 1:
        found = session.get(Repository, repositories[0])
        if found is not None:
            queue.note(session, job, what=found.name)
            failure = WorkerLost(words.replace("were at it", "described it"), model=found.name)
            failures.record(session, failure, stage="describe", repository_id=found.id)
