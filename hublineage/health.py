"""Whether a process that runs unattended is well, as a balancer or an orchestrator asks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from hublineage.metrics import impatient

if TYPE_CHECKING:
    from hublineage.settings import QueueSettings

Sign = Callable[[Connection], float | None]
"""Seconds since the last sign of life, None where there is none."""

_SILENCE = text(
    "SELECT extract(epoch FROM clock_timestamp() - last_heartbeat) FROM procrastinate_workers WHERE id = :id"
)


@dataclass(frozen=True)
class Health:
    """`silence_s`: seconds since the process last did what tells others that it lives; None: it never did."""

    database: bool  # answers
    running: bool  # the loop that fetches or queues jobs
    silence_s: float | None
    allowed_s: float

    @property
    def well(self) -> bool:
        """Whether all is as it must be."""
        return self.database and self.running and self.silence_s is not None and self.silence_s <= self.allowed_s

    def words(self) -> dict[str, Any]:
        """As /healthz answers it."""
        return {"well": self.well, **asdict(self)}


class HealthCheck:
    """Asks how the process is that gives this sign of life."""

    def __init__(self, engine: Engine, settings: QueueSettings, running: Callable[[], bool], sign: Sign) -> None:
        self._engine = impatient(engine)
        self._allowed = settings.stalled_after
        self._running = running
        self._sign = sign

    def __call__(self) -> Health:
        """How it is now, within seconds, whatever the database does."""
        try:
            with self._engine.connect() as connection:
                silence = self._sign(connection)
        except DBAPIError:
            return Health(False, self._running(), None, self._allowed)
        return Health(True, self._running(), silence, self._allowed)


def heartbeat(worker: Callable[[], int | None]) -> Sign:
    """That of whatever worker has this number at the moment, by the database's clock alone."""

    def silence(connection: Connection) -> float | None:
        number = worker()
        found = None if number is None else connection.scalar(_SILENCE, {"id": number})
        return None if found is None else float(found)

    return silence


def watch(silence: Callable[[], float | None]) -> Sign:
    """That of a process which is no worker: how long ago it last looked after the others."""

    def told(connection: Connection) -> float | None:
        connection.scalar(text("SELECT 1"))
        return silence()

    return told
