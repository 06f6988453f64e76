"""How a try ends that brought no result: given back, put off, tried again later, or for good."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from procrastinate import BaseRetryStrategy, RetryDecision
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError

from db.errors import DatabaseUnreachable, HublineageError, SourceUnreachable, Transient

if TYPE_CHECKING:
    from procrastinate.jobs import Job

    from hublineage.settings import QueueSettings

_PASSING = (SourceUnreachable, DatabaseUnreachable, Transient, OperationalError, InterfaceError, InternalError, OSError)
_OF_THE_MACHINE = (MemoryError,)


class GivenBack(HublineageError):  # noqa: N818  # no fault of anybody
    """The job goes back into the queue."""

    def __init__(self, detail: str, wait: float = 0.0) -> None:
        super().__init__(detail)
        self.wait = wait  # seconds


class RateLimited(HublineageError):  # noqa: N818  # the Hub's word, not a fault
    """The Hub's quota is used up."""

    def __init__(self, source: str, wait: float) -> None:
        super().__init__(f"{source} has more in {wait:.0f} s")
        self.source = source
        self.wait = wait  # seconds


class AgainError(Exception):
    """What the queue's library is told of a try that is followed by another one."""

    def __init__(self, at: datetime, why: str) -> None:
        super().__init__(why)
        self.at = at


class AsDecided(BaseRetryStrategy):
    """Leaves the decision to whoever ran the job."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:  # noqa: ARG002  # its parent's
        """Another try where the exception says so."""
        return RetryDecision(retry_at=exception.at) if isinstance(exception, AgainError) else None


@dataclass(frozen=True)
class Verdict:
    """What becomes of a job after an error: seconds to the next try, None for none, and whether this one counts."""

    wait: float | None
    counts: bool


def judge(error: BaseException, failed: int, settings: QueueSettings) -> Verdict:
    """What an error means for a job of which `failed` tries in a row met passing ones before.

    The network, the Hub, the database and a full disk pass; the Hub says itself when its quota is there again. Wrong
    usage, a bad model and what nobody foresaw do not pass by themselves.
    """
    if isinstance(error, GivenBack | RateLimited):
        return Verdict(error.wait, counts=False)
    if isinstance(error, (*_PASSING, *_OF_THE_MACHINE)):
        if failed + 1 >= settings.tries:
            return Verdict(None, counts=True)
        return Verdict(min(settings.first_wait * 2.0 ** min(failed, 30), settings.longest_wait), counts=True)
    return Verdict(None, counts=True)


def reason(error: BaseException) -> str:
    """An error in a line. What a driver says of a statement stays out: it is long, and may hold what was stored."""
    origin = getattr(error, "orig", None)
    words = " ".join(str(origin or error).split()) or type(error).__name__
    return words[:500]
