"""A worker's heartbeat and its watch over others.

In a thread of their own: neither a long computation nor a stop that waits for one makes it skip a beat.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from db.engine import transaction
from hublineage.jobs.rescue import Watch

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from hublineage.settings import QueueSettings

log = logging.getLogger(__name__)

_BEAT = text("UPDATE procrastinate_workers SET last_heartbeat = clock_timestamp() WHERE id = :worker")


class Heart:
    """Beats for whatever worker `worker` names at that moment; None: only watches. Use it in a `with`."""

    def __init__(self, engine: Engine, settings: QueueSettings, worker: Callable[[], int | None]) -> None:
        self._engine = engine
        self._every = settings.heartbeat
        self._worker = worker
        self._watch = Watch(engine, settings)
        self._ended = threading.Event()
        self._beaten: float | None = None  # of time.monotonic
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)

    def __enter__(self) -> Heart:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(self._every)

    @property
    def silence(self) -> float | None:
        """Seconds since the last beat and look at others that succeeded; None: there was none yet."""
        return None if self._beaten is None else time.monotonic() - self._beaten

    def _run(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            pause = self._every
            try:
                self.beat()
                self._watch.look()
                self._beaten = time.monotonic()
            except SQLAlchemyError as error:
                self._watch.forget()
                log.warning("no heartbeat: %s", " ".join(str(getattr(error, "orig", error)).split())[:200])
            except Exception:
                log.exception("no heartbeat")  # a heart that ended would make a living worker look dead

    def beat(self) -> None:
        """Say that the worker is alive."""
        worker = self._worker()
        if worker is not None:
            with transaction(self._engine) as session:
                session.execute(_BEAT, {"worker": worker})
