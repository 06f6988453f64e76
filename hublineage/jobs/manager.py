"""How jobs are fetched, ended and tried again: by one statement each, and none that is for a newer program."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, LiteralString
from weakref import WeakKeyDictionary

from procrastinate import exceptions
from procrastinate.connector import BaseConnector
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from db import schema
from db.errors import UsageError
from hublineage.jobs import kinds, queue

log = logging.getLogger(__name__)

# What is known of the job comes with it. A snapshot later than the job's last end is not needed: those who watch count.
_FETCH: LiteralString = """
    WITH taken AS MATERIALIZED (
        SELECT version_num, CASE WHEN version_num = %(newest)s THEN
            procrastinate_fetch_job_v2(%(queues)s::varchar[], %(worker)s) END AS job
        FROM alembic_version
    ), first AS (
        SELECT min(at) AS at FROM taken JOIN procrastinate_events ON job_id = (job).id AND type = 'deferred'
    )
    SELECT version_num, (job).id, (job).status, (job).task_name, (job).priority, (job).lock, (job).queueing_lock,
           (job).args, (job).scheduled_at, (job).queue_name, (job).attempts, (job).worker_id,
           coalesce(killed, 0) AS killed, coalesce(failed, 0) AS failed, suspect, families.name AS family,
           coalesce(first.at, clock_timestamp()) AS since,
           coalesce(extract(epoch FROM clock_timestamp() - first.at), 0)::float8 AS age
    FROM taken CROSS JOIN first LEFT JOIN job_records ON job_id = (job).id
    LEFT JOIN families ON families.id = ((job).args ->> 'family')::integer
"""
_END = f"""
    WITH ours AS MATERIALIZED (
        SELECT id FROM procrastinate_jobs
        WHERE id = %(job)s AND status = 'doing' AND worker_id = %(worker)s FOR UPDATE
    ), noted AS (
        INSERT INTO job_records (job_id, what, done, total)
        SELECT id, %(what)s::text, %(done)s::integer, %(total)s::integer FROM ours
        ON CONFLICT (job_id) DO UPDATE SET what = excluded.what, done = excluded.done, total = excluded.total,
            failed = 0, suspect = NULL, kind = NULL, reason = NULL, parked_at = NULL, updated_at = clock_timestamp()
    ), queued AS (
        {queue.inserting("%(rows)s", "%(lost)s", where="EXISTS (SELECT FROM ours)")}
    )
    SELECT procrastinate_finish_job_v1(id, 'succeeded', %(delete)s) FROM ours
"""  # noqa: S608  # our own words
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
_TRUSTED = 5.0  # seconds that a connection which was used is taken to be alive


class OutdatedError(UsageError):
    """The database is newer than this program."""


@dataclass(frozen=True)
class Known:
    """What the queue knows of a job that was fetched."""

    record: queue.Record
    since: datetime  # when it was first queued
    age: float  # seconds since then
    family: str | None = None  # the name
    tries: int = 0  # that are over


@dataclass(frozen=True)
class Ended:
    """What is written down with the end of a job that was done."""

    what: str
    done: int
    total: int | None
    jobs: Sequence[kinds.Deferred]  # that follow


class Manager(JobManager):
    """The library's manager, which knows its worker, and leaves jobs alone that are for a newer program."""

    worker: int | None = None
    is_idle = False  # whether the last look found no job that is due
    _untold = False  # whether the end of a job could not be told: the database was away for a moment

    def __init__(self, connector: BaseConnector) -> None:
        super().__init__(connector)
        self.give_back: Callable[[int], object] = lambda _worker: None  # jobs that a worker has and is not at
        self.known: dict[int, Known] = {}  # of jobs at hand
        self.ended: dict[int, Ended] = {}  # of those that are done and not written down yet

    async def register_worker(self) -> int:
        """As its parent; the id is remembered."""
        self.worker = await super().register_worker()
        return self.worker

    async def unregister_worker(self, worker_id: int) -> None:
        """As its parent."""
        await super().unregister_worker(worker_id)
        self.worker = None

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        """As its parent, with what is `known` of it. Raises OutdatedError where the schema has moved on."""
        if self._untold:  # one job at a time: nothing is being done now
            await asyncio.to_thread(self.give_back, worker_id)
            self._untold = False
        row = await self.connector.execute_query_one_async(
            _FETCH, newest=schema.newest(), queues=None if queues is None else list(queues), worker=worker_id
        )
        if row["version_num"] != schema.newest():
            raise OutdatedError(outdated(row["version_num"]))
        self.is_idle = row["id"] is None
        if self.is_idle:
            return None
        record = queue.Record(row["killed"], row["failed"], row["suspect"])
        self.known = {row["id"]: Known(record, row["since"], row["age"], row["family"], row["attempts"])}
        self.ended.clear()
        return Job.from_row(row)

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
        """As its parent, unless the job is another worker's by now: this one was thought dead, and was not.

        With a job that was done its record is written, and the jobs are queued that follow it: all of it or nothing.
        """
        ended = self.ended.pop(job.id or 0, None)
        with self._telling():
            if ended is not None and status is Status.SUCCEEDED:
                await self._end(job, ended, delete_job=delete_job)
            elif await self._is_ours(job):
                await super().finish_job(job, status, delete_job)

    async def _end(self, job: Job, ended: Ended, *, delete_job: bool) -> None:
        rows = await self.connector.execute_query_all_async(
            _END,
            job=job.id,
            worker=self.worker,
            what=ended.what,
            done=ended.done,
            total=ended.total,
            rows=json.dumps([vars(one) for one in ended.jobs]),
            lost=queue.WORKER_LOST,
            delete=delete_job,
        )
        if not rows:
            _tell_taken(job)

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
            _tell_taken(job)
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


def _tell_taken(job: Job) -> None:
    log.warning("job %s, %s: others have taken it over meanwhile", job.id, job.task_name)


def outdated(version: str | None) -> str:
    """What is wrong with a database of a newer version."""
    return f"the database has version {version}, this program knows {schema.newest()}: update the program"


def pool(*args: Any, **options: Any) -> AsyncConnectionPool[Any]:
    """The library's pool of connections without its round trips.

    Each statement is a transaction of its own, so none is begun and committed around it, and it is planned once. A
    connection that was used a moment ago is not asked before the next use whether it lives.
    """
    used: WeakKeyDictionary[AsyncConnection[Any], float] = WeakKeyDictionary()

    async def check(connection: AsyncConnection[Any]) -> None:
        now = time.monotonic()
        if now - used.get(connection, float("-inf")) > _TRUSTED:
            await AsyncConnectionPool.check_connection(connection)
        used[connection] = now

    async def configure(connection: AsyncConnection[Any]) -> None:
        await connection.set_autocommit(True)
        connection.prepare_threshold = 0
        # All look rows up by keys: to plan the few statements once is to plan them well.
        await connection.execute("SET plan_cache_mode = force_generic_plan")

    return AsyncConnectionPool(*args, **{**options, "check": check, "configure": configure})
