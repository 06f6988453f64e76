"""What is queued by the clock: increments and sweeps of what is followed, inference, and what keeps the database tidy.

The clock is the database's, which all schedulers share. Each tick is noted there, so several schedulers queue it once;
a job that still waits is not queued again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from typing import TYPE_CHECKING

import psycopg
from procrastinate import exceptions
from procrastinate.periodic import MARGIN, MAX_DELAY, PeriodicDeferrer, PeriodicRegistry

from hublineage.jobs import kinds
from hublineage.jobs.heart import Heart

if TYPE_CHECKING:
    import procrastinate
    from sqlalchemy import Engine

    from hublineage.jobs.kinds import Deferred
    from hublineage.settings import Settings

log = logging.getLogger(__name__)

_LONGEST_PAUSE = 30.0  # seconds between tries to reach a database that is gone
_MISSED = 8 * 86_400.0  # seconds: what fell into a time without any scheduler is made up for by the next one, once
_LONGEST_SLEEP = 60.0  # seconds between looks at the clock: it may be set


def scheduled(settings: Settings) -> list[tuple[str, Deferred]]:
    """(cron expression, job) of all that the settings ask for.

    What is looked up by name or limited has no increments: it is gone through whole as often.
    """
    times = settings.schedule
    found: list[tuple[str, Deferred]] = []
    for follow in settings.follow:
        source, query = follow.source(settings.endpoint), follow.query()
        whole = not query.ids and query.limit is None
        if whole:
            found.append((times.increments, kinds.crawl(source, query, increment=True)))
        found.append((times.sweep if whole else times.increments, kinds.crawl(source, query, increment=False)))
    found.append((times.inference, kinds.upkeep(kinds.INFERENCE)))
    found.append((times.retention, kinds.upkeep(kinds.RETENTION)))
    return [(cron, job) for cron, job in found if cron]


class Deferrer(PeriodicDeferrer):
    """The library's deferrer, by the database's clock in place of this machine's."""

    def __init__(self, app: procrastinate.App, registry: PeriodicRegistry) -> None:
        super().__init__(registry)
        self._app = app

    async def worker(self) -> None:
        """Queue what is due, until cancelled; return where nothing ever will be."""
        self.max_delay = _MISSED
        while self.registry.periodic_tasks:
            row = await self._app.connector.execute_query_one_async(
                "SELECT extract(epoch FROM clock_timestamp())::float8 AS now"
            )
            now: float = row["now"]
            # Of a clock that was set forward only the last tick is made up for, and none that lies ahead holds it up.
            self.last_defers = {key: at for key, at in self.last_defers.items() if 0 <= now - at <= self.max_delay}
            await self.defer_jobs(self.get_previous_tasks(at=now))
            self.max_delay = MAX_DELAY
            await asyncio.sleep(min(self.get_next_tick(at=now) + MARGIN, _LONGEST_SLEEP))


def deferrer(app: procrastinate.App, settings: Settings) -> Deferrer:
    """What queues, by an open app, what the settings ask for."""
    registry = PeriodicRegistry()  # type: ignore[no-untyped-call]  # the library leaves it untyped
    for cron, job in scheduled(settings):
        registry.register_task(
            app.tasks[job.task],
            cron=cron,
            periodic_id=job.key[-128:],
            configure_kwargs={
                "task_kwargs": dict(job.args),
                "queue": job.queue,
                "priority": job.priority,
                "lock": job.key,
                "queueing_lock": job.key,
            },
        )
    return Deferrer(app, registry)


class Scheduler:
    """Queues what is due, and watches over workers, until it is stopped."""

    def __init__(self, engine: Engine, url: str, settings: Settings) -> None:
        self._engine = engine
        self._url = url
        self._settings = settings
        self._running: asyncio.Task[None] | None = None
        self._open = False  # whether it has its connection
        self._stopping = False
        self.heart = Heart(engine, settings.queue, lambda: None)

    @property
    def is_alive(self) -> bool:
        """Whether it queues what is due."""
        return self._open and not self._stopping

    def run(self) -> None:
        """Work until a signal. A database that goes away is waited for."""
        with self.heart:
            asyncio.run(self._main())

    def stop(self) -> None:
        """End now."""
        self._stopping = True
        if self._running is not None:
            self._running.cancel()

    async def _main(self) -> None:
        from hublineage.jobs.app import make_app  # noqa: PLC0415  # with all tasks: only who serves needs torch

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # not in the main thread
                loop.add_signal_handler(number, self.stop)
        pause = 0.5
        while not self._stopping:
            begun = time.monotonic()
            try:
                app = make_app(self._url)
                async with app.open_async():
                    self._open = True
                    self._running = asyncio.create_task(deferrer(app, self._settings).worker())
                    await self._running
                    # Nothing is scheduled: there is still the watch.
                    self._running = asyncio.create_task(asyncio.sleep(3600))
                    await self._running
            except asyncio.CancelledError:
                return
            except (exceptions.ConnectorException, psycopg.Error, OSError) as error:
                pause = 0.5 if time.monotonic() - begun > _LONGEST_PAUSE else min(2 * pause, _LONGEST_PAUSE)
                log.warning("the database is lost, trying again in %.1f s: %s", pause, error)
                self._open = False
                await asyncio.sleep(pause)
