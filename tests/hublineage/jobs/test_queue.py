"""Jobs are queued once, told apart by their states, tried again and cancelled."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, text

from crawler.source import Query
from db.engine import transaction
from hublineage.jobs import kinds, listing, queue

SOURCE = "file:///models"


def rows(engine: Engine, query: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def defer(engine: Engine, *jobs: kinds.Deferred, hasten: bool = False) -> int:
    with transaction(engine) as session:
        return queue.defer(session, jobs, hasten=hasten)


def test_the_same_work_is_queued_once_and_again_while_it_is_being_done(engine: Engine) -> None:
    assert defer(engine, kinds.plan(SOURCE, 1), kinds.plan(SOURCE, 2)) == 2
    assert defer(engine, kinds.plan(SOURCE, 1), kinds.infer(SOURCE, 1)) == 1
    execute(engine, "UPDATE procrastinate_jobs SET status = 'doing' WHERE id = 1")
    assert defer(engine, kinds.plan(SOURCE, 1)) == 1


def test_equal_queries_have_equal_keys_and_kinds_of_crawls_have_not() -> None:
    query = Query(author="org", tags=("a", "b"))
    whole = kinds.crawl(SOURCE, query, increment=False)
    assert kinds.query_of(whole.args["query"]) == query
    assert kinds.crawl(SOURCE, Query(author="org", tags=("a", "b")), increment=False).key == whole.key
    assert (
        len({whole.key, kinds.crawl(SOURCE, query, increment=True).key, kinds.crawl("x", query, increment=False).key})
        == 3
    )


def test_work_that_does_more_is_not_taken_for_work_that_does_less(engine: Engine) -> None:
    query = Query(author="org")
    listing_only = kinds.crawl(SOURCE, query, increment=False, list_only=True)
    again = kinds.crawl(SOURCE, query, increment=False, retry_failed=True)
    assert defer(engine, listing_only, kinds.crawl(SOURCE, query, increment=False), again) == 3
    assert defer(engine, kinds.settle(SOURCE, look=False), kinds.settle(SOURCE)) == 2
    assert defer(engine, kinds.plan(SOURCE, 1), kinds.plan(SOURCE, 1, retry_failed=True)) == 2


@pytest.mark.parametrize(
    "job",
    [
        kinds.crawl(SOURCE, Query(), increment=True),
        kinds.crawl(SOURCE, Query(), increment=False),
        kinds.describe(SOURCE, Query(), [1, 2]),
        kinds.settle(SOURCE),
        kinds.plan(SOURCE, 1),
        kinds.measure(SOURCE, 1, 2, 3, [4]),
        kinds.infer(SOURCE, 1),
        kinds.compare(SOURCE),
        kinds.upkeep(kinds.INFERENCE),
        kinds.upkeep(kinds.RETENTION),
    ],
    ids=lambda job: str(job.task),
)
def test_every_kind_of_job_is_queued_once_and_done_by_one_at_a_time(engine: Engine, job: kinds.Deferred) -> None:
    assert (defer(engine, job), defer(engine, job)) == (1, 0)
    execute(engine, "INSERT INTO procrastinate_workers DEFAULT VALUES")
    fetch = text("SELECT id FROM procrastinate_fetch_job_v2(NULL, 1)")
    with engine.begin() as connection:
        assert connection.execute(fetch).one() == (1,)
    assert defer(engine, job) == 1  # what has changed since it began is done by another, after it
    with engine.begin() as connection:
        assert connection.execute(fetch).one() == (None,)


def test_what_waits_for_its_time_comes_at_once_where_somebody_asks(engine: Engine) -> None:
    defer(engine, kinds.infer(SOURCE, 1, wait=100))
    defer(engine, kinds.infer(SOURCE, 1, wait=200))
    assert rows(engine, "SELECT scheduled_at > now() FROM procrastinate_jobs") == [(True,)]
    assert defer(engine, kinds.infer(SOURCE, 1), hasten=True) == 0
    assert rows(engine, "SELECT scheduled_at FROM procrastinate_jobs") == [(None,)]


def test_what_put_itself_off_comes_with_the_same_work_that_is_due_earlier(engine: Engine) -> None:
    due = "SELECT scheduled_at IS NULL, scheduled_at < now() + interval '20 s' FROM procrastinate_jobs ORDER BY id"
    defer(engine, *(kinds.infer(SOURCE, family) for family in range(1, 5)))
    execute(engine, "UPDATE procrastinate_jobs SET scheduled_at = now() + interval '100 s'")
    with transaction(engine) as session:
        for job, kind in ((2, "GivenBack"), (3, "RateLimited"), (4, "SourceUnreachable")):
            queue.note(session, job, kind=kind)
    assert defer(engine, *(kinds.infer(SOURCE, family, wait=200) for family in range(1, 5))) == 0
    assert rows(engine, due) == [(False, False)] * 4
    assert defer(engine, *(kinds.infer(SOURCE, family, wait=10) for family in range(1, 5))) == 0
    assert rows(engine, due) == [(False, True)] * 2 + [(False, False)] * 2  # what the Hub puts off stays so
    assert defer(engine, kinds.infer(SOURCE, 1)) == 0
    assert rows(engine, due)[0] == (True, None)


def test_what_was_parked_is_not_queued_by_itself(engine: Engine) -> None:
    defer(engine, kinds.measure(SOURCE, 1, 1, 0, [1]))
    execute(engine, "UPDATE procrastinate_jobs SET status = 'failed'")
    with transaction(engine) as session:
        queue.note(session, 1, kind=queue.WORKER_LOST, killed=3)
    assert defer(engine, kinds.measure(SOURCE, 1, 1, 0, [1])) == 0
    with transaction(engine) as session:
        assert listing.retry(session, [1]) == [1]
        assert queue.record(session, 1) == queue.Record()
    assert rows(engine, "SELECT status FROM procrastinate_jobs") == [("todo",)]


def test_jobs_are_listed_by_state_with_what_they_are_at(engine: Engine) -> None:
    defer(engine, *(kinds.infer(SOURCE, family) for family in range(1, 6)))
    execute(engine, "UPDATE procrastinate_jobs SET status = 'doing' WHERE id = 2")
    execute(engine, "UPDATE procrastinate_jobs SET status = 'failed' WHERE id IN (3, 4)")
    execute(engine, "UPDATE procrastinate_jobs SET status = 'succeeded' WHERE id = 5")
    with transaction(engine) as session:
        queue.note(session, 2, what="llama", done=3, total=12)
        queue.note(session, 3, kind=queue.WORKER_LOST)
        found = listing.jobs(session)
        assert [(one["id"], one["state"]) for one in found] == [
            (3, "parked"), (4, "failed"), (2, "doing"), (1, "waiting"),
        ]  # fmt: skip
        assert (found[2]["what"], found[2]["done"], found[2]["total"]) == ("llama", 3, 12)
        assert [one["id"] for one in listing.jobs(session, states=("succeeded",))] == [5]
        assert [one["id"] for one in listing.summary(session)["given_up"]] == [3, 4]


def test_the_time_that_is_left_follows_what_was_done(engine: Engine) -> None:
    defer(engine, *(kinds.infer(SOURCE, family) for family in range(4)))
    with transaction(engine) as session:
        assert listing.overview(session).remaining is None
    execute(engine, "INSERT INTO procrastinate_workers DEFAULT VALUES")
    for status in ("doing", "succeeded"):
        execute(engine, f"UPDATE procrastinate_jobs SET status = '{status}' WHERE id <= 2")
    execute(engine, "UPDATE procrastinate_events SET at = at - interval '10 s' WHERE type = 'started'")
    with transaction(engine) as session:
        view = listing.overview(session)
    (stage,) = view.stages
    assert (view.workers, stage.counts) == (1, {"succeeded": 2, "waiting": 2})
    assert view.remaining == pytest.approx(20, abs=2)


def test_waiting_and_failed_jobs_are_cancelled_and_running_ones_asked_to_end(engine: Engine) -> None:
    defer(engine, *(kinds.infer(SOURCE, family) for family in range(1, 5)))
    execute(engine, "UPDATE procrastinate_jobs SET status = 'succeeded' WHERE id = 4")
    execute(engine, "UPDATE procrastinate_jobs SET status = 'doing' WHERE id = 2")
    execute(engine, "UPDATE procrastinate_jobs SET status = 'failed' WHERE id = 3")
    with transaction(engine) as session:
        assert listing.cancel(session, [1, 2, 3, 4]) == [1, 2, 3]
    assert rows(engine, "SELECT status, abort_requested FROM procrastinate_jobs ORDER BY id") == [
        ("cancelled", True), ("doing", True), ("cancelled", False), ("succeeded", False),
    ]  # fmt: skip


def test_old_jobs_are_forgotten_with_their_records_but_not_what_failed(engine: Engine) -> None:
    defer(engine, *(kinds.infer(SOURCE, family) for family in range(4)))
    execute(engine, "UPDATE procrastinate_jobs SET status = 'succeeded' WHERE id <= 2")
    execute(engine, "UPDATE procrastinate_jobs SET status = 'failed' WHERE id = 3")
    execute(engine, "UPDATE procrastinate_events SET at = at - interval '8 days' WHERE job_id <> 2")
    with transaction(engine) as session:
        for job in range(1, 4):
            queue.note(session, job, what="it")
        assert queue.forget_old(session, 7) == 1
    assert rows(engine, "SELECT id FROM procrastinate_jobs ORDER BY id") == [(2,), (3,), (4,)]
    assert rows(engine, "SELECT job_id FROM job_records ORDER BY 1") == [(2,), (3,)]
