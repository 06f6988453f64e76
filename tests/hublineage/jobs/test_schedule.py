"""The schedule queues what is followed, once, however many schedulers there are."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import psycopg
import pytest

from hublineage.jobs import kinds
from hublineage.jobs.app import make_app
from hublineage.jobs.schedule import deferrer, scheduled
from hublineage.settings import Settings, read_settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    file = tmp_path / "settings.toml"
    file.write_text(
        """
        endpoint = "http://hub"
        [schedule]
        retention = ""
        [[follow]]
        architectures = ["Bert*"]
        [[follow]]
        endpoint = "http://mirror/"
        ids = ["a/b"]
        [[follow]]
        author = "org"
        limit = 10
        """
    )
    monkeypatch.setenv("HUBLINEAGE_CONFIG", str(file))
    return read_settings()


def test_what_is_followed_gets_increments_and_sweeps(settings: Settings) -> None:
    found = [(cron, job.task, job.args.get("source")) for cron, job in scheduled(settings)]
    times = settings.schedule
    assert found == [
        (times.increments, kinds.CRAWL, "http://hub"),
        (times.sweep, kinds.SWEEP, "http://hub"),
        (times.increments, kinds.SWEEP, "http://mirror"),  # a lookup of names has no increment
        (times.increments, kinds.SWEEP, "http://hub"),  # nor has a limited listing
        (times.inference, kinds.INFERENCE, None),
    ]


def test_two_schedulers_queue_each_tick_once_and_nothing_twice(settings: Settings, database_url: str) -> None:
    hour = 3600 * (int(time.time()) // 3600)

    async def tick(at: float) -> None:
        app = make_app(database_url)
        async with app.open_async():
            queued = deferrer(app, settings)
            await queued.defer_jobs(queued.get_previous_tasks(at=at))

    async def both(at: float) -> None:
        await asyncio.gather(tick(at), tick(at))

    asyncio.run(both(hour + 7 * 60 + 1))
    with psycopg.connect(database_url, autocommit=True) as connection:
        query = "SELECT task_name, args ->> 'source', queue_name FROM procrastinate_jobs ORDER BY id"
        tasks = [tuple(row) for row in connection.execute(query)]
        assert sorted(tasks) == [
            ("crawl", "http://hub", "crawl"), ("sweep", "http://hub", "crawl"), ("sweep", "http://mirror", "crawl"),
        ]  # fmt: skip
        asyncio.run(both(hour + 3600 + 7 * 60 + 1))  # an hour later these still wait
        assert connection.execute("SELECT count(*) FROM procrastinate_jobs").fetchone() == (3,)
        connection.execute("UPDATE procrastinate_jobs SET status = 'succeeded'")
        asyncio.run(both(hour + 2 * 3600 + 7 * 60 + 1))
        assert connection.execute("SELECT count(*) FROM procrastinate_jobs").fetchone() == (6,)


def test_what_was_missed_without_a_scheduler_is_made_up_for_once(settings: Settings, database_url: str) -> None:
    async def begin() -> None:
        app = make_app(database_url)
        async with app.open_async():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(deferrer(app, settings).worker(), 1.5)

    query = "SELECT task_name, count(*) FROM procrastinate_jobs GROUP BY 1 ORDER BY 1"
    with psycopg.connect(database_url, autocommit=True) as connection:
        for _ in range(2):
            asyncio.run(begin())
            assert connection.execute(query).fetchall() == [("crawl", 1), ("inference", 1), ("sweep", 3)]
            connection.execute("UPDATE procrastinate_jobs SET status = 'succeeded'")
