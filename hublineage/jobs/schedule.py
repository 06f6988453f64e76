"""What is queued by the clock: increments and sweeps of what is followed, inference, and what keeps the database tidy.

Each tick is noted in the database, so several schedulers queue it once; a job that still waits is not queued again.
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
from procrastinate.periodic import PeriodicDeferrer

from hublineage.jobs import kinds
from hublineage.jobs.heart import Heart

if TYPE_CHECKING:
    import procrastinate
    from sqlalchemy import Engine

    from hublineage.jobs.queue import Deferred
    from hublineage.settings import Settings

log = logging.getLogger(__name__)

_LONGEST_PAUSE = 30.0  # seconds between tries to reach a database that is gone


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


def add_schedule(app: procrastinate.App, settings: Settings) -> None:
    """Let the app's periodic deferrer queue what the settings ask for."""
    for cron, job in scheduled(settings):
        app.periodic_registry.register_task(
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


class Scheduler:
    """Queues what is due, and watches over workers, until it is stopped."""

    def __init__(self, engine: Engine, url: str, settings: Settings) -> None:
        self._engine = engine
        self._url = url
        self._settings = settings
        self._running: asyncio.Task[None] | None = None
        self._stopping = False

    def run(self) -> None:
        """Work until a signal. A database that goes away is waited for."""
        with Heart(self._engine, self._settings.queue, lambda: None):
            asyncio.run(self._main())

    def stop(self) -> None:
        """End now."""
        self._stopping = True
        if self._running is not None:
            self._running.cancel()

    async def _main(self) -> None:
        from hublineage.jobs.app import make_app  # noqa: PLC0415

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # not in the main thread
                loop.add_signal_handler(number, self.stop)
        pause = 0.5
        while not self._stopping:
            begun = time.monotonic()
            try:
                app = make_app(self._url)
                add_schedule(app, self._settings)
                async with app.open_async():
                    self._running = asyncio.create_task(PeriodicDeferrer(app.periodic_registry).worker())
                    await self._running
                    # Nothing is scheduled: there is still the watch.
                    self._running = asyncio.create_task(asyncio.sleep(3600))
                    await self._running
            except asyncio.CancelledError:
                return
            except (exceptions.ConnectorException, psycopg.Error, OSError) as error:
                pause = 0.5 if time.monotonic() - begun > _LONGEST_PAUSE else min(2 * pause, _LONGEST_PAUSE)
                log.warning("the database is lost, trying again in %.1f s: %s", pause, error)
                await asyncio.sleep(pause)
