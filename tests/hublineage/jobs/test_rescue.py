"""A worker whose heart stands still has died; a clock that jumps kills nobody."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, text

from db.engine import transaction
from hublineage.jobs import kinds, queue
from hublineage.jobs.rescue import Watch, give_back, strike_off
from hublineage.settings import QueueSettings

SETTINGS = QueueSettings(heartbeat=10, stalled_after=60, workers_lost=2)
SOURCE = "file:///models"


class Clock:
    """A clock that stands still."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(engine: Engine, clock: Clock) -> Watch:
    return Watch(engine, SETTINGS, clock=clock)


def ask(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def take(engine: Engine, job: kinds.Deferred | None = None) -> None:
    """A worker that takes a job up."""
    with transaction(engine) as session:
        if job is not None:
            queue.defer(session, [job])
        session.execute(text("INSERT INTO procrastinate_workers DEFAULT VALUES"))
        session.execute(
            text(
                "UPDATE procrastinate_jobs SET status = 'doing',"
                " worker_id = (SELECT max(id) FROM procrastinate_workers) WHERE status = 'todo'"
            )
        )


def status(engine: Engine) -> list[Any]:
    return ask(engine, "SELECT status, worker_id FROM procrastinate_jobs ORDER BY id")


def later(watch: Watch, clock: Clock, seconds: float) -> int:
    watch.look()
    clock.now += seconds
    return watch.look()


def test_a_job_goes_back_when_its_workers_heart_stands_still(engine: Engine, watch: Watch, clock: Clock) -> None:
    take(engine, kinds.infer(SOURCE, 1))
    assert later(watch, clock, 59) == 0
    assert later(watch, clock, 1) == 1
    assert status(engine) == [("todo", None)]
    assert ask(engine, "SELECT killed FROM job_records") == [(1,)]


def test_a_heart_that_beats_is_alive_whatever_the_clock_says(engine: Engine, watch: Watch, clock: Clock) -> None:
    take(engine, kinds.infer(SOURCE, 1))
    for jump in ("- interval '1 day'", "+ interval '1 day'", "- interval '1 year'"):
        assert later(watch, clock, 50) == 0
        execute(engine, f"UPDATE procrastinate_workers SET last_heartbeat = now() {jump}")
    assert later(watch, clock, 50) == 0
    assert status(engine) == [("doing", 1)]


def test_while_the_database_is_away_nobody_is_missed(engine: Engine, watch: Watch, clock: Clock) -> None:
    take(engine, kinds.infer(SOURCE, 1))
    watch.look()
    watch.forget()
    clock.now += 100
    assert later(watch, clock, 59) == 0
    assert later(watch, clock, 1) == 1


def test_a_job_without_a_worker_goes_back(engine: Engine, watch: Watch, clock: Clock) -> None:
    take(engine, kinds.infer(SOURCE, 1))
    execute(engine, "DELETE FROM procrastinate_workers")
    assert later(watch, clock, 60) == 1
    assert status(engine) == [("todo", None)]


def test_two_who_watch_rescue_once(engine: Engine, watch: Watch, clock: Clock) -> None:
    other = Watch(engine, SETTINGS, clock=clock)
    take(engine, kinds.infer(SOURCE, 1))
    watch.look()
    other.look()
    clock.now += 60
    assert (watch.look(), other.look()) == (1, 0)
    assert ask(engine, "SELECT killed FROM job_records") == [(1,)]


def test_what_kills_worker_after_worker_is_parked_and_says_where(engine: Engine, watch: Watch, clock: Clock) -> None:
    take(engine, kinds.infer(SOURCE, 1))
    assert later(watch, clock, 60) == 1
    take(engine)
    assert later(watch, clock, 60) == 1
    assert ask(engine, "SELECT status FROM procrastinate_jobs") == [("failed",)]
    assert ask(engine, "SELECT kind, killed, parked_at IS NOT NULL FROM job_records") == [("WorkerLost", 2, True)]
    assert later(watch, clock, 60) == 0


def test_the_same_work_that_was_queued_meanwhile_takes_over_what_is_known(
    engine: Engine, watch: Watch, clock: Clock
) -> None:
    take(engine, kinds.infer(SOURCE, 1))
    with transaction(engine) as session:
        queue.defer(session, [kinds.infer(SOURCE, 1)])
    assert later(watch, clock, 60) == 1
    assert [one for one, _ in status(engine)] == ["aborted", "todo"]
    assert ask(engine, "SELECT job_id, killed FROM job_records") == [(2, 1)]


def test_a_worker_that_lost_the_database_gives_back_without_blame(engine: Engine) -> None:
    take(engine, kinds.infer(SOURCE, 1))
    with transaction(engine) as session:
        assert give_back(session, 1) == 1
        strike_off(session, 1)
    assert status(engine) == [("todo", None)]
    assert ask(engine, "SELECT count(*) FROM procrastinate_workers") == [(0,)]
    assert ask(engine, "SELECT count(*) FROM job_records") == [(0,)]
