"""Clocks that jump, schedulers that are late, and workers that were thought dead: what the queue does with each."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from procrastinate import exceptions
from procrastinate.jobs import Status
from procrastinate.manager import JobManager
from sqlalchemy import Engine, text

from db.engine import transaction
from hublineage.jobs import kinds, queue
from hublineage.jobs.app import make_app
from hublineage.jobs.manager import Manager
from hublineage.jobs.rescue import Watch, give_back
from hublineage.jobs.schedule import Deferrer, deferrer
from hublineage.settings import QueueSettings, Settings

SOURCE = "file:///models"


def ask(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


@pytest.mark.parametrize(("ahead", "is_due"), [("8 hours", True), ("14 minutes", False)])
def test_what_a_clock_put_off_that_was_set_back_is_due(engine: Engine, ahead: str, is_due: bool) -> None:
    with transaction(engine) as session:
        queue.defer(session, [kinds.infer(SOURCE, 1, wait=1)])
    execute(engine, f"UPDATE procrastinate_jobs SET scheduled_at = clock_timestamp() + interval '{ahead}'")
    Watch(engine, QueueSettings()).look()
    assert ask(engine, "SELECT coalesce(scheduled_at <= clock_timestamp(), true) FROM procrastinate_jobs") == [
        (is_due,)
    ]


@pytest.mark.parametrize(("ahead", "left"), [("8 hours", 0), ("4 minutes", 1)])
def test_a_quota_used_up_by_a_clock_that_was_set_back_is_there_again(engine: Engine, ahead: str, left: int) -> None:
    execute(
        engine,
        "INSERT INTO quotas (endpoint, account, bucket, quota, window_s, share, used, resets_at)"
        f" VALUES ('http://hub', 'anonymous', 'api', 500, 300, 1, 500, clock_timestamp() + interval '{ahead}')",
    )
    Watch(engine, QueueSettings()).look()
    assert ask(engine, "SELECT count(*) FROM quotas WHERE resets_at > clock_timestamp()") == [(left,)]


def ticks(url: str, *moments: float) -> None:
    """What a scheduler does at these moments of its clock."""

    async def all_of_them() -> None:
        app = make_app(url)
        async with app.open_async():
            for moment in moments:
                queued = deferrer(app, Settings())
                await queued.defer_jobs(queued.get_previous_tasks(at=moment))

    asyncio.run(all_of_them())


@pytest.fixture
def hourly(monkeypatch: pytest.MonkeyPatch) -> int:
    """Inference at the beginning of each hour; that of the last one, in seconds since 1970."""
    monkeypatch.setenv("HUBLINEAGE_SCHEDULE__INFERENCE", "0 * * * *")
    monkeypatch.setenv("HUBLINEAGE_SCHEDULE__RETENTION", "")
    return 3600 * (int(time.time()) // 3600)


def test_a_scheduler_that_is_behind_queues_nothing_a_second_time(
    engine: Engine, database_url: str, hourly: int
) -> None:
    for moment in (hourly - 3600 + 1, hourly + 1):
        ticks(database_url, moment)
        execute(engine, "UPDATE procrastinate_jobs SET status = 'succeeded'")
    ticks(database_url, hourly - 3600 + 1, hourly + 1)
    assert ask(engine, "SELECT status FROM procrastinate_jobs") == [("succeeded",)] * 2


def test_a_tick_that_lies_far_ahead_holds_nothing_up(engine: Engine, database_url: str, hourly: int) -> None:
    ticks(database_url, hourly + 5 * 3600 + 1)
    execute(engine, "UPDATE procrastinate_jobs SET status = 'succeeded'")
    ticks(database_url, hourly + 1)
    assert ask(engine, "SELECT status FROM procrastinate_jobs ORDER BY id") == [("succeeded",), ("todo",)]


def test_what_is_parked_is_not_queued_by_the_schedule(engine: Engine, database_url: str, hourly: int) -> None:
    ticks(database_url, hourly - 3600 + 1)
    execute(engine, "UPDATE procrastinate_jobs SET status = 'failed'")
    execute(engine, f"INSERT INTO job_records (job_id, kind) SELECT id, '{queue.WORKER_LOST}' FROM procrastinate_jobs")
    ticks(database_url, hourly + 1)
    assert ask(engine, "SELECT status FROM procrastinate_jobs") == [("failed",)]


def test_the_schedule_goes_by_the_databases_clock(
    engine: Engine, database_url: str, hourly: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scheduler whose own clock is a day ahead queues what is due now."""
    ours = time.time
    monkeypatch.setattr("procrastinate.periodic.time.time", lambda: ours() + 86_400)
    monkeypatch.setenv("HUBLINEAGE_SCHEDULE__INFERENCE", "* * * * *")

    async def once() -> None:
        app = make_app(database_url)
        async with app.open_async():
            queued: Deferrer = deferrer(app, Settings())
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(queued.worker(), 2)

    asyncio.run(once())
    ((apart,),) = ask(
        engine, "SELECT max(abs(defer_timestamp - extract(epoch FROM now())))::int FROM procrastinate_periodic_defers"
    )
    assert apart <= 65


def test_a_worker_that_was_thought_dead_neither_ends_nor_retries_what_others_do_now(
    engine: Engine, database_url: str
) -> None:
    with transaction(engine) as session:
        queue.defer(session, [kinds.infer(SOURCE, 1)])

    async def thaw() -> None:
        app = make_app(database_url)
        async with app.open_async():
            manager = app.job_manager
            worker = await manager.register_worker()
            job = await manager.fetch_job(None, worker)
            assert job is not None
            execute(engine, "INSERT INTO procrastinate_workers DEFAULT VALUES")
            execute(engine, "UPDATE procrastinate_jobs SET worker_id = (SELECT max(id) FROM procrastinate_workers)")
            await manager.finish_job(job, Status.SUCCEEDED, delete_job=False)
            await manager.retry_job(job)
            assert ask(engine, f"SELECT status, worker_id > {worker} FROM procrastinate_jobs") == [("doing", True)]
            execute(engine, f"UPDATE procrastinate_jobs SET worker_id = {worker}")
            await manager.finish_job(job, Status.SUCCEEDED, delete_job=False)

    asyncio.run(thaw())
    assert ask(engine, "SELECT status FROM procrastinate_jobs") == [("succeeded",)]


def test_a_job_whose_end_could_not_be_told_is_given_back(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database was away for the moment in which the job ended, and its worker lives on and beats."""
    with transaction(engine) as session:
        queue.defer(session, [kinds.infer(SOURCE, 1)])

    async def away(*_: object) -> None:
        raise exceptions.ConnectorException

    def return_jobs(worker: int) -> None:
        with transaction(engine) as session:
            assert give_back(session, worker) == 1

    async def work() -> None:
        app = make_app(database_url)
        async with app.open_async():
            manager = app.job_manager
            assert isinstance(manager, Manager)
            manager.give_back = return_jobs
            worker = await manager.register_worker()
            job = await manager.fetch_job(None, worker)
            assert job is not None
            with monkeypatch.context() as patch:
                patch.setattr(JobManager, "finish_job", away)
                with pytest.raises(exceptions.ConnectorException):
                    await manager.finish_job(job, Status.SUCCEEDED, delete_job=False)
            again = await manager.fetch_job(None, worker)
            assert again is not None
            assert again.id == job.id
            await manager.finish_job(again, Status.SUCCEEDED, delete_job=False)
            assert await manager.fetch_job(None, worker) is None

    asyncio.run(work())
    assert ask(engine, "SELECT status FROM procrastinate_jobs") == [("succeeded",)]
