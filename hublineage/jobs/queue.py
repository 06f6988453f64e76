"""The queue's tables, as far as its own library does not ask what we need: procrastinate_* and job_records.

Everything here goes by the database's clock, which all workers share.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from hublineage.jobs.kinds import Deferred

WORKER_LOST = "WorkerLost"  # the kind of a job that ended its workers
SOON = 30.0  # seconds: a job that waits for longer does not count as being at hand


def defer(session: Session, jobs: Iterable[Deferred], *, hasten: bool = False) -> int:
    """Queue these jobs; return how many are new.

    What is queued already comes when it would have come, or when the new job would where that is earlier; at once with
    `hasten`. What was put off because it failed, or by the Hub, stays put off. What ended several workers and was
    parked is not queued again by itself.
    """
    rows = [vars(job) for job in jobs]
    if not rows:
        return 0
    statement = text(inserting(":rows", ":lost", hasten=hasten))
    return sum(session.scalars(statement, {"rows": json.dumps(rows), "lost": WORKER_LOST}))


def inserting(rows: str, lost: str, *, where: str = "true", hasten: bool = False) -> str:
    """The statement of `defer`, whose rows tell which jobs are new.

    `rows` and `lost` are the names of its parameters, in the form of whoever executes it: jobs as JSON, WORKER_LOST.
    """
    then = _HASTEN if hasten else _SOONER
    return f"""
        INSERT INTO procrastinate_jobs AS known
            (queue_name, task_name, priority, lock, queueing_lock, args, scheduled_at)
        SELECT queue, task, priority, key, key, args,
               CASE WHEN wait > 0 THEN clock_timestamp() + make_interval(secs => wait) END
        FROM jsonb_to_recordset(CAST({rows} AS jsonb))
             AS job(task text, queue text, priority integer, key text, args jsonb, wait double precision)
        WHERE {where} AND NOT EXISTS (
            SELECT FROM procrastinate_jobs parked JOIN job_records ON job_records.job_id = parked.id
            WHERE parked.status = 'failed' AND parked.queueing_lock = job.key
              AND job_records.kind = CAST({lost} AS text)
        )
        ORDER BY key  -- two that queue the same jobs wait for one another, and never in a circle
        ON CONFLICT (queueing_lock) WHERE status = 'todo' {then}
        RETURNING xmax = 0
    """  # noqa: S608  # our own words


_HASTEN = "DO UPDATE SET scheduled_at = NULL"
# A job without a moment is due at once. One that has put itself off for others' sake comes when these say so.
_SOONER = """DO UPDATE SET scheduled_at = excluded.scheduled_at
        WHERE known.scheduled_at > coalesce(excluded.scheduled_at, clock_timestamp()) AND NOT EXISTS (
            SELECT FROM job_records WHERE job_id = known.id AND kind <> 'GivenBack'
        )"""


def now(session: Session) -> datetime:
    """The database's clock."""
    moment: datetime = session.scalars(text("SELECT clock_timestamp()")).one()
    return moment


def moment_in(session: Session, seconds: float) -> datetime:
    """When that many seconds have passed on the database's clock."""
    statement = text("SELECT clock_timestamp() + make_interval(secs => :seconds)")
    moment: datetime = session.scalars(statement, {"seconds": max(seconds, 0.0)}).one()
    return moment


def deferred_at(session: Session, job: int) -> tuple[datetime, float]:
    """When a job was first queued, and how many seconds ago that was."""
    statement = text(
        """
        SELECT coalesce(min(at), clock_timestamp()),
               CAST(coalesce(extract(epoch FROM clock_timestamp() - min(at)), 0) AS double precision)
        FROM procrastinate_events WHERE job_id = :job AND type = 'deferred'
        """
    )
    moment, seconds = session.execute(statement, {"job": job}).one()
    return moment, float(seconds)


def at_hand(session: Session, tasks: Sequence[str], source: str, *, but: int) -> int:
    """How many jobs of these tasks and a source are done now or soon, without the one of number `but`."""
    statement = text(
        """
        SELECT count(*) FROM procrastinate_jobs
        WHERE status IN ('todo', 'doing') AND task_name = ANY(:tasks) AND args ->> 'source' = :source AND id <> :but
          AND (status = 'doing' OR coalesce(scheduled_at <= clock_timestamp() + make_interval(secs => :soon), true))
        """
    )
    values = {"tasks": list(tasks), "source": source, "but": but, "soon": SOON}
    return int(session.scalars(statement, values).one())


def left(session: Session, queues: Collection[str] | None) -> int:
    """How many jobs of these queues (None: of all) are waiting or being done."""
    statement = text(
        """
        SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')
        AND (CAST(:queues AS text[]) IS NULL OR queue_name = ANY(:queues))
        """
    )
    return int(session.scalars(statement, {"queues": None if queues is None else list(queues)}).one())


@dataclass(frozen=True)
class Record:
    """What is known of a job's tries."""

    killed: int = 0
    failed: int = 0
    suspect: str | None = None


def record(session: Session, job: int) -> Record:
    """The record of a job, of nothing where there is none."""
    statement = text("SELECT killed, failed, suspect FROM job_records WHERE job_id = :job")
    row = session.execute(statement, {"job": job}).one_or_none()
    return Record() if row is None else Record(*row)


def note(session: Session, job: int, **columns: Any) -> None:
    """Write columns of a job's record."""
    names = ", ".join(columns)
    values = ", ".join(f":{name}" for name in columns)
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns)
    statement = text(
        f"INSERT INTO job_records (job_id, {names}) VALUES (:job, {values})"  # noqa: S608  # names of columns
        f" ON CONFLICT (job_id) DO UPDATE SET {changes}, updated_at = clock_timestamp()"
    )
    session.execute(statement, {"job": job, **columns})


def forget_old(session: Session, days: float) -> int:
    """Delete jobs that ended well or were cancelled that long ago, with their records; return how many."""
    statement = text(
        """
        WITH old AS (
            SELECT job.id FROM procrastinate_jobs job
            WHERE job.status IN ('succeeded', 'cancelled', 'aborted') AND NOT EXISTS (
                SELECT FROM procrastinate_events event WHERE event.job_id = job.id
                AND event.at > clock_timestamp() - make_interval(secs => :seconds)
            )
        ), records AS (DELETE FROM job_records USING old WHERE job_records.job_id = old.id)
        DELETE FROM procrastinate_jobs USING old WHERE procrastinate_jobs.id = old.id RETURNING 1
        """
    )
    return len(session.scalars(statement, {"seconds": days * 86_400}).all())
