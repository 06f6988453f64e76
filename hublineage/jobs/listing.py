"""What there is in the queue, for people and programs: jobs with their states, and how long the rest will take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from hublineage.jobs import queue
from hublineage.jobs.kinds import STATES, UNFINISHED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.orm import Session

# `parked` is what ended workers; `failed` met an error that does not pass.
_STATE = """
    CASE WHEN job.status = 'todo' THEN 'waiting'
         WHEN job.status = 'failed' AND record.kind = 'WorkerLost' THEN 'parked'
         ELSE job.status::text END
"""
_JOBS = f"""
    SELECT job.id, job.task_name AS task, job.queue_name AS queue, {_STATE} AS state, job.args,
           families.name AS family, coalesce(record.what, '') AS what, coalesce(record.done, 0) AS done, record.total,
           job.attempts,
           coalesce(record.killed, 0) AS killed, coalesce(record.failed, 0) AS failed, record.kind, record.reason,
           CASE WHEN job.status = 'todo' THEN job.scheduled_at END AS due,
           (SELECT min(at) FROM procrastinate_events event WHERE event.job_id = job.id) AS queued,
           (SELECT max(at) FROM procrastinate_events event
            WHERE event.job_id = job.id AND event.type = 'started') AS begun, job.worker_id AS worker
    FROM procrastinate_jobs job LEFT JOIN job_records record ON record.job_id = job.id
    LEFT JOIN families ON families.id = CAST(job.args ->> 'family' AS integer)
"""  # noqa: S608  # our own words
_JOBS_BY_STATE = f"""
    SELECT job.task_name AS task, job.queue_name AS queue, {_STATE} AS state
    FROM procrastinate_jobs job LEFT JOIN job_records record ON record.job_id = job.id
"""  # noqa: S608  # our own constants


def jobs(
    session: Session,
    *,
    states: Sequence[str] = UNFINISHED,
    task: str | None = None,
    ids: Sequence[int] | None = None,
    limit: int | None = None,
) -> list[dict[str, Any]]:
    """Jobs in these states, those that are being done first, then in the order in which they will be."""
    statement = text(
        f"""
        SELECT * FROM ({_JOBS}) AS found
        WHERE (CAST(:ids AS bigint[]) IS NOT NULL OR state = ANY(:states))
          AND (CAST(:task AS text) IS NULL OR task = :task) AND (CAST(:ids AS bigint[]) IS NULL OR id = ANY(:ids))
        ORDER BY array_position(ARRAY['parked', 'failed', 'doing', 'waiting'], state), id LIMIT :limit
        """  # noqa: S608  # our own constants
    )
    values = {"states": list(states), "task": task, "ids": None if ids is None else list(ids), "limit": limit}
    rows = session.execute(statement, values).mappings()
    return [
        {key: value.isoformat() if hasattr(value, "isoformat") else value for key, value in row.items()} for row in rows
    ]


def subject(job: Mapping[str, Any]) -> str:
    """What one of these `jobs` is about, in words: what it is at or was at last, else what it was queued with."""
    if job["what"]:
        return str(job["what"])
    args: Mapping[str, Any] = job["args"]
    said = [str(args[name]) for name in ("source",) if name in args]
    said += [job["family"]] if job["family"] else []
    said += [f"{len(args['repositories'])} repositories"] if "repositories" in args else []
    for name, value in args.get("query", {}).items():
        said += [f"{name} {' '.join(value) if isinstance(value, list) else value}"] if value else []
    return ", ".join(said)


@dataclass(frozen=True)
class Stage:
    """How one task stands."""

    task: str
    counts: dict[str, int]
    seconds: float | None  # of one job, on the average of the last ones; None: none was done yet


@dataclass(frozen=True)
class Overview:
    """How the queue stands."""

    stages: tuple[Stage, ...]
    workers: int  # that beat
    remaining: float | None  # seconds that the waiting jobs will take; None: not known


_COUNTS = f"""
    SELECT task, state, count(*) FROM ({_JOBS_BY_STATE}) AS found GROUP BY task, state
"""  # noqa: S608  # our own constants
_SECONDS = text(
    """
    SELECT task_name, CAST(avg(seconds) AS double precision) FROM (
        SELECT job.task_name, extract(epoch FROM ended.at - begun.at) AS seconds,
               row_number() OVER (PARTITION BY job.task_name ORDER BY ended.id DESC) AS place
        FROM procrastinate_jobs job
        JOIN procrastinate_events ended ON ended.job_id = job.id AND ended.type = 'succeeded'
        JOIN LATERAL (SELECT max(at) AS at FROM procrastinate_events event
                      WHERE event.job_id = job.id AND event.type = 'started') AS begun ON true
        WHERE job.status = 'succeeded'
    ) AS done WHERE place <= 50 GROUP BY task_name
    """
)
_WORKERS = text(
    "SELECT count(*) FROM procrastinate_workers"
    " WHERE last_heartbeat > clock_timestamp() - make_interval(secs => :quiet)"
)


def overview(session: Session, *, stalled_after: float = 60.0) -> Overview:
    """Counts by task and state, and the time that is left by what the last jobs of each task took.

    More jobs may come of those that are left: families become known only on the way.
    """
    counts: dict[str, dict[str, int]] = {}
    for task, state, count in session.execute(text(_COUNTS)):
        counts.setdefault(task, {})[state] = count
    seconds: dict[str, float] = {task: float(mean) for task, mean in session.execute(_SECONDS)}
    living = workers(session, stalled_after=stalled_after)
    left = {task: one.get("waiting", 0) + one.get("doing", 0) for task, one in counts.items()}
    known = all(task in seconds for task, count in left.items() if count)
    total = sum(count * seconds.get(task, 0.0) for task, count in left.items())
    stages = tuple(Stage(task, counts[task], seconds.get(task)) for task in sorted(counts))
    return Overview(stages, living, total / living if known and living else None)


def workers(session: Session, *, stalled_after: float) -> int:
    """How many workers' hearts have beaten in the last seconds."""
    return int(session.scalars(_WORKERS, {"quiet": stalled_after}).one())


@dataclass(frozen=True)
class Depth:
    """How full a queue is."""

    queue: str
    counts: dict[str, int]  # by state, of what is not over well
    overdue: float  # seconds that the longest has waited which is due


_DEPTHS = text(
    f"""
    SELECT queue, state, count(*) FROM ({_JOBS_BY_STATE}) AS found WHERE state = ANY(:states) GROUP BY queue, state
    """  # noqa: S608  # our own constants
)
# The oldest job that nothing put off waits since its last event; of the others those are due whose time has come.
_OVERDUE = text(
    """
    SELECT job.queue_name, greatest(
        extract(epoch FROM clock_timestamp() - min(job.scheduled_at)
                FILTER (WHERE job.scheduled_at <= clock_timestamp())),
        extract(epoch FROM clock_timestamp() - (
            SELECT max(at) FROM procrastinate_events event
            WHERE event.job_id = min(job.id) FILTER (WHERE job.scheduled_at IS NULL)
        )), 0)
    FROM procrastinate_jobs job WHERE job.status = 'todo' GROUP BY job.queue_name
    """
)


def depths(session: Session, queues: Sequence[str]) -> list[Depth]:
    """How full these queues are."""
    found: dict[str, dict[str, int]] = {name: dict.fromkeys(UNFINISHED, 0) for name in queues}
    for name, state, count in session.execute(_DEPTHS, {"states": list(UNFINISHED)}):
        found.setdefault(name, dict.fromkeys(UNFINISHED, 0))[state] = count
    overdue = {name: float(seconds) for name, seconds in session.execute(_OVERDUE)}
    return [Depth(name, counts, overdue.get(name, 0.0)) for name, counts in found.items()]


def summary(session: Session) -> dict[str, Any]:
    """How many jobs are in which state, and which were given up, at what and why."""
    counts: dict[str, int] = {}
    for _, state, count in session.execute(text(_COUNTS)):
        counts[state] = counts.get(state, 0) + count
    keys = ("id", "task", "state", "kind", "reason")
    given_up = [
        {**{key: one[key] for key in keys}, "what": subject(one)} for one in jobs(session, states=("parked", "failed"))
    ]
    return {"jobs": {state: counts[state] for state in STATES if state in counts}, "given_up": given_up}


def retry(session: Session, ids: Sequence[int]) -> list[int]:
    """Queue failed and parked jobs again, as if they had never been tried; return which could be."""
    statement = text(
        """
        UPDATE procrastinate_jobs job SET status = 'todo', scheduled_at = NULL, attempts = 0,
               worker_id = NULL, abort_requested = false
        WHERE id = ANY(:ids) AND status IN ('failed', 'aborted', 'cancelled') AND NOT EXISTS (
            SELECT FROM procrastinate_jobs twin WHERE twin.status = 'todo' AND twin.queueing_lock = job.queueing_lock
        ) AND NOT EXISTS (
            SELECT FROM procrastinate_jobs twin
            WHERE twin.id = ANY(:ids) AND twin.id > job.id AND twin.queueing_lock = job.queueing_lock
        )
        RETURNING id
        """
    )
    done = list(session.scalars(statement, {"ids": list(ids)}))
    for job in done:
        queue.note(session, job, killed=0, failed=0, kind=None, reason=None, parked_at=None, suspect=None)
    return sorted(done)


def hasten(session: Session, ids: Sequence[int]) -> list[int]:
    """Let waiting jobs be due now; return which are."""
    statement = text(
        "UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE id = ANY(:ids) AND status = 'todo' RETURNING id"
    )
    return sorted(session.scalars(statement, {"ids": list(ids)}))


def cancel(session: Session, ids: Sequence[int]) -> list[int]:
    """Cancel waiting, failed and parked jobs, and ask those that are being done to end; return which could be."""
    statement = text("SELECT procrastinate_cancel_job_v1(:job, true, false)")
    done = [session.scalars(statement, {"job": job}).one_or_none() for job in ids]
    given_up = text(
        "UPDATE procrastinate_jobs SET status = 'cancelled' WHERE id = ANY(:ids) AND status = 'failed' RETURNING id"
    )
    return sorted([*(one for one in done if one is not None), *session.scalars(given_up, {"ids": list(ids)})])
