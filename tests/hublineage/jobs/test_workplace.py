"""A worker does not sit through the Hub's waits: it does other jobs meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import Engine, text

from crawler.retry import Policy
from db.engine import transaction
from hublineage.jobs import kinds, queue, workplace
from hublineage.jobs.app import decide
from hublineage.jobs.manager import Ended, Known
from hublineage.jobs.retries import GivenBack, RateLimited
from hublineage.jobs.workplace import Work, Workplace
from hublineage.settings import QueueSettings, Settings


class Waits:
    """A source as far as its waits go."""

    def __init__(self, on_wait: Callable[[float, str], None], policy: Policy) -> None:
        self.on_wait, self.policy, self.closed = on_wait, policy, False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def opened() -> list[Waits]:
    return []


@pytest.fixture
def place(engine: Engine, opened: list[Waits]) -> Workplace:
    def open_source(_name: str, *_: Any, on_wait: Any, policy: Policy, **_others: Any) -> Any:
        opened.append(Waits(on_wait, policy))
        return opened[-1]

    return Workplace(engine, Settings(), open_source=open_source)


def test_a_source_that_says_wait_is_left_until_then_and_others_are_not(place: Workplace, opened: list[Waits]) -> None:
    place.source("https://hub")
    for wait in (lambda: opened[0].on_wait(250.0, "api"), lambda: opened[0].policy.sleep(330.0)):
        with pytest.raises(RateLimited):
            wait()
    with pytest.raises(RateLimited) as told:
        place.source("https://hub")
    assert 329 < told.value.wait <= 330
    place.source("https://other")
    place.let_go("https://hub")
    assert opened[0].closed
    begun = time.monotonic()
    opened[1].policy.sleep(0.01)  # a moment is waited for here
    assert time.monotonic() - begun < 5


def test_the_hubs_wait_schedules_the_next_try_and_counts_for_nothing(place: Workplace, engine: Engine) -> None:
    with transaction(engine) as session:
        queue.defer(session, [kinds.compare("https://hub")])
    for _ in range(50):  # more often than a job may fail
        again = decide(place, 1, RateLimited("https://hub", 250))
        assert again is not None
    with engine.connect() as connection:
        (wait,) = connection.execute(text("SELECT extract(epoch FROM :at - clock_timestamp())"), {"at": again.at}).one()
        (failed, reason) = connection.execute(text("SELECT failed, reason FROM job_records")).one()
    assert 240 < wait <= 250
    assert (failed, reason) == (0, "The Hub's quota is used up: https://hub has more in 250 s")


def test_a_job_that_fails_again_and_again_ends_and_says_why(place: Workplace, engine: Engine) -> None:
    tries = place.settings.queue.tries
    waits = [decide(place, 1, OSError(28, "No space left on device")) for _ in range(tries)]
    assert [one is None for one in waits] == [False] * (tries - 1) + [True]
    with engine.connect() as connection:
        row = connection.execute(text("SELECT failed, kind, reason, parked_at IS NOT NULL FROM job_records")).one()
    assert tuple(row) == (tries, "OSError", "[Errno 28] No space left on device", True)


def test_a_newer_schema_is_nobodys_failure(place: Workplace, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    again = decide(place, 1, ValueError("a column is missing"))
    assert again is not None
    assert "update the program" in str(again)
    with transaction(engine) as session:
        assert queue.record(session, 1) == queue.Record()


def test_progress_is_noted_now_and_then_and_at_the_end(
    place: Workplace, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transaction(engine) as session:
        queue.defer(session, [kinds.compare("https://hub")])
    work = Work(place, 1, lambda: None)
    query = text("SELECT what, done, total FROM job_records")
    with engine.connect() as connection:
        work.checkpoint("first", 0, 3)
        assert connection.execute(query).all() == []
        connection.rollback()
        monkeypatch.setattr(workplace, "_TOLD_EVERY", 0.0)
        work.checkpoint("second", 1, 3)
        assert tuple(connection.execute(query).one()) == ("second", 1, 3)
    following = kinds.compare("https://other")
    work.then(following)
    assert work.ended == Ended("second", 3, 3, [following])


def test_what_a_worker_died_of_before_says_each_step(place: Workplace, engine: Engine) -> None:
    with transaction(engine) as session:
        queue.defer(session, [kinds.compare("https://hub")])
        queue.note(session, 1, killed=1)
    work = Work(place, 1, lambda: None)
    work.checkpoint("first", 0, 3)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT what FROM job_records")) == "first"


def waits(place: Workplace, age: float, tries: int, seconds: float = 5.0) -> float | None:
    """For how long a job of that age and so many tries is put off; None: not any more."""
    known = Known(queue.Record(), datetime.now(UTC), age, tries=tries)
    try:
        Work(place, 1, lambda: None, known).wait_for("others come", seconds)
    except GivenBack as put_off:
        return put_off.wait
    return None


def test_a_job_waits_for_others_up_to_its_patience_and_not_less_by_a_clock_that_was_set_forward(
    place: Workplace,
) -> None:
    assert place.settings.queue.patience == 600
    assert waits(place, age=0.1, tries=0) == 5
    assert waits(place, age=400, tries=15) == 100
    assert waits(place, age=601, tries=19) is None
    assert waits(place, age=3 * 86_400, tries=1) == 150  # the clock jumped: it has hardly waited
    assert waits(place, age=3 * 86_400, tries=5) is None
    assert waits(place, age=-7_200, tries=3) == 5
    place.settings = place.settings.model_copy(update={"queue": QueueSettings(patience=0)})
    assert waits(place, age=0.1, tries=0) is None
