"""What is worth another try, how long to wait for it, and when to give up.

Transient: timeouts, refused or lost connections, cut bodies, 408, 429 and 5xx. A server that says when to come back
(`RateLimit: "api";r=0;t=55`, or Retry-After in seconds or as an HTTP date) is believed, up to a limit; otherwise waits
double. All else is permanent.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TypeVar

import httpx2
from tenacity import RetryCallState, Retrying, retry_if_exception_type

from db.errors import Transient

Result = TypeVar("Result")

TRANSIENT_STATUS = frozenset((408, 429, 500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 529))
_SECONDS = re.compile(r"[0-9]{1,9}")


class TryAgain(Transient):
    """The Hub or the network failed for the moment."""

    def __init__(
        self,
        detail: str,
        *,
        model: str = "",
        file: str | None = None,
        wait: float | None = None,
        unreachable: str | None = None,
    ) -> None:
        super().__init__(detail, model=model, file=file)
        self.wait = wait  # seconds, where the server said so
        self.unreachable = unreachable  # the host where nobody answered at all


@dataclass(frozen=True)
class Policy:
    """How often and how patiently; the defaults suit a crawl in the background."""

    tries: int = 6
    tries_unreachable: int = 3  # while nobody answers: a wrong address should not take minutes to tell
    first_wait: float = 0.5  # seconds, doubled from try to try
    longest_wait: float = 8.0
    longest_asked_wait: float = 330.0  # the Hub counts its quotas over five minutes
    sleep: Callable[[float], None] = time.sleep

    def run(self, call: Callable[[], Result]) -> Result:
        """The result of `call`, tried again while it raises TryAgain; at last that TryAgain, or any other error."""
        return Retrying(
            retry=retry_if_exception_type(TryAgain),
            stop=self._is_enough,
            wait=self._wait,
            sleep=self.sleep,
            reraise=True,
        )(call)

    def _is_enough(self, state: RetryCallState) -> bool:
        error = _error(state)
        unreachable = error is not None and error.unreachable is not None
        return state.attempt_number >= (self.tries_unreachable if unreachable else self.tries)

    def _wait(self, state: RetryCallState) -> float:
        error = _error(state)
        if error is not None and error.wait is not None:
            return min(max(error.wait, 0.0), self.longest_asked_wait)
        return float(min(self.first_wait * 2 ** (state.attempt_number - 1), self.longest_wait))


def _error(state: RetryCallState) -> TryAgain | None:
    error = state.outcome.exception() if state.outcome is not None else None
    return error if isinstance(error, TryAgain) else None


def asked_wait(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a reply asks to wait, None where it does not say.

    The names in `headers` are in lower case, or its look-ups ignore case. A date is compared with the reply's own Date,
    since the server's clock may differ from ours; without one with `now`. A second is added since servers round down.
    """
    waits = [float(policy["t"]) for policy in _policies(headers.get("ratelimit", "")) if policy["r"] == "0"]
    if waits:
        return max(waits) + 1
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text) + 1
    moment = _moment(text)
    if moment is None:
        return None
    begun = _moment(headers.get("date", "")) or now or datetime.now(UTC)
    return max((moment - begun).total_seconds(), 0.0) + 1


def _policies(text: str) -> Iterator[dict[str, str]]:
    """The numbers r (requests left) and t (seconds until there are more) of each policy in a RateLimit header."""
    for policy in text.split(","):
        pairs = (one.partition("=") for one in policy.split(";"))
        numbers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        if all(_SECONDS.fullmatch(numbers.get(name, "")) for name in "rt"):
            yield numbers


def _moment(text: str) -> datetime | None:
    """An HTTP date, in UTC where it names no zone; None for anything else."""
    try:
        moment = parsedate_to_datetime(text)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def check_transient_status(response: httpx2.Response, *, model: str = "", file: str | None = None) -> None:
    """Raises TryAgain for a status that is worth another try."""
    if response.status_code in TRANSIENT_STATUS:
        wait = asked_wait(response.headers) if response.status_code in (429, 503) else None
        raise TryAgain(f"{response.url.host} answers {response.status_code}", model=model, file=file, wait=wait)


def transport_error(error: httpx2.TransportError, host: str, *, model: str = "", file: str | None = None) -> TryAgain:
    """A failure below HTTP as TryAgain. The address itself stays out of the words, since it may carry a signature."""
    unreachable = host if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout) else None
    words = " ".join(str(error).split())[:200] or "no reply in time"
    return TryAgain(f"{host}: {type(error).__name__}, {words}", model=model, file=file, unreachable=unreachable)
