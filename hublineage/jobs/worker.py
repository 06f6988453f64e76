"""A worker: one process that does one job at a time, until it is told to stop or nothing is left."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import psycopg
from procrastinate import exceptions
from sqlalchemy.exc import SQLAlchemyError

from db import embedded
from db.engine import transaction
from db.errors import DatabaseUnreachable
from hublineage.jobs import queue
from hublineage.jobs.app import make_app
from hublineage.jobs.heart import Heart
from hublineage.jobs.manager import Manager
from hublineage.jobs.rescue import give_back, strike_off
from hublineage.jobs.schedule import deferrer
from hublineage.jobs.workplace import Workplace

if TYPE_CHECKING:
    import procrastinate


log = logging.getLogger(__name__)

Until = Literal["stopped", "idle", "empty"]
"""When a worker ends: once it is told to, when nothing can be done at the moment, or when nothing is left to do."""

_LOST = (exceptions.ConnectorException, psycopg.Error, SQLAlchemyError, DatabaseUnreachable, OSError)
_LOOK_EVERY = 0.5  # seconds between looks whether the queues are empty
_LONGEST_PAUSE = 30.0  # seconds between tries to reach a database that is gone


@dataclass(frozen=True)
class Assignment:
    """What a worker is to do."""

    queues: Sequence[str]
    until: Until = "stopped"
    with_schedule: bool = False


class Worker:
    """Runs one assignment on a database."""

    def __init__(self, place: Workplace, url: str, assignment: Assignment) -> None:
        self.place = place
        self._url = url
        self._assignment = assignment
        self._app: procrastinate.App | None = None
        self._stopping = False
        self._ended = True  # the run of the library's worker
        self._running: asyncio.Task[None] | None = None

    @property
    def number(self) -> int | None:
        """The worker's number in the queue, None while it has none."""
        if self._app is None or not isinstance(self._app.job_manager, Manager):
            return None
        return self._app.job_manager.worker

    @property
    def _is_idle(self) -> bool:
        return self._app is not None and isinstance(self._app.job_manager, Manager) and self._app.job_manager.is_idle

    @property
    def is_alive(self) -> bool:
        """Whether it fetches jobs."""
        return not self._ended

    def run(self) -> None:
        """Work until the end. A database that goes away is waited for.

        Raises jobs.app.OutdatedError where the database's schema has moved on.
        """
        with Heart(self.place.engine, self.place.settings.queue, lambda: self.number):
            try:
                asyncio.run(self._main())
            finally:
                self.place.close()

    def stop(self) -> None:
        """End after the unit of work that is at hand; what is left of the job goes back into the queue."""
        self._stopping = True
        if self._running is not None:
            self._running.cancel()

    async def _main(self) -> None:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_unheard)
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ValueError, RuntimeError, NotImplementedError):  # not in the main thread
                loop.add_signal_handler(number, self._signalled, number)
        pause = 0.5
        while not self._stopping:
            begun = time.monotonic()
            try:
                self._running = asyncio.create_task(self._session())
                await self._running
            except asyncio.CancelledError:
                return
            except _LOST as error:
                pause = 0.5 if time.monotonic() - begun > _LONGEST_PAUSE else min(2 * pause, _LONGEST_PAUSE)
                log.warning("the database is lost, trying again in %.1f s: %s", pause, _line(error))
                await self._pause(pause)
            else:
                if self._assignment.until != "stopped":
                    return
                await self._pause(pause)  # its listener lost the connection

    def _signalled(self, number: int) -> None:
        if self._stopping:
            log.warning("a second signal: ended at once; the job goes to others when the heartbeat is missed")
            logging.shutdown()
            os._exit(128 + number)
        log.info("stopping; what is at hand is finished or given back; a second signal ends at once")
        self.stop()

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._running = asyncio.create_task(asyncio.sleep(seconds))
            await self._running

    async def _session(self) -> None:
        """From one connection to the database to its end."""
        self._bring_back()
        self._app = app = make_app(self._url)
        if isinstance(app.job_manager, Manager):
            app.job_manager.give_back = self._give_back
        assignment, limits = self._assignment, self.place.settings.queue
        async with app.open_async():
            schedule = asyncio.create_task(self._schedule(app)) if assignment.with_schedule else None
            worker = asyncio.create_task(
                app.run_worker_async(
                    queues=list(assignment.queues),
                    wait=assignment.until != "idle",
                    concurrency=1,
                    fetch_job_polling_interval=_LOOK_EVERY if assignment.until == "empty" else limits.poll,
                    abort_job_polling_interval=limits.poll,
                    shutdown_graceful_timeout=0.0,
                    install_signal_handlers=False,
                    update_heartbeat_interval=limits.heartbeat,
                    stalled_worker_timeout=86_400,  # none by a clock: jobs.rescue sees who is gone
                    additional_context={"place": self.place},
                )
            )
            self._ended = False
            try:
                if assignment.until == "empty":
                    await self._until_empty(worker)
                await worker
            except asyncio.CancelledError:
                worker.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await worker
                raise
            finally:
                self._ended = True
                if schedule is not None:
                    schedule.cancel()

    async def _schedule(self, app: procrastinate.App) -> None:
        """Be the scheduler as well."""
        while True:
            try:
                await deferrer(app, self.place.settings).worker()
            except _LOST as error:
                log.warning("nothing is queued by the schedule: %s", _line(error))
            await asyncio.sleep(_LONGEST_PAUSE)

    async def _until_empty(self, worker: asyncio.Task[None]) -> None:
        """Stop the worker when its queues hold nothing that waits or is being done, by whomever."""

        def left() -> int:
            with transaction(self.place.engine) as session:
                return queue.left(session, self._assignment.queues)

        while not worker.done():
            # While this one has a job there is something left.
            if self._is_idle and not await asyncio.to_thread(left):
                worker.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await worker
                raise asyncio.CancelledError
            await asyncio.wait([worker], timeout=_LOOK_EVERY)

    def _bring_back(self) -> None:
        """Start an embedded server that was killed, and give back what this process was at when it lost the database.

        Whatever ran is over by now: the library's worker ends after its jobs.
        """
        settings = self.place.settings
        if not settings.database_url and not embedded.is_running(settings.data_dir):
            embedded.start(settings.data_dir)
        before = self.number
        if before is not None:
            given = self._give_back(before)
            with transaction(self.place.engine) as session:
                strike_off(session, before)
            log.info("the database is there again, %d jobs were given back", given)

    def _give_back(self, worker: int) -> int:
        with transaction(self.place.engine) as session:
            return give_back(session, worker)


def _unheard(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What the library's tasks met when the database was lost is told once, by the worker."""
    if not isinstance(context.get("exception"), _LOST):
        loop.default_exception_handler(context)


def _line(error: BaseException) -> str:
    cause = error.__cause__ or error
    return " ".join(str(cause).split())[:200] or type(cause).__name__
