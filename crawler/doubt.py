"""What one reply alone cannot tell: it is believed when it has come several times in a row.

A gateway that is being restarted, a replica that lags and a proxy that wants a password answer 401, 403, 404, an empty
object or a page of their own in place of what is there. What a crawl would keep because of such a reply, it would keep
for long: so the same is asked again. What a reply gives a reason for (gated, disabled) is believed at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from crawler.hub_errors import REASONS
from db.errors import Failure, Transient

TIMES = 4  # in a row: of mistakes in one call of a hundred, by chance, one in a hundred million is believed

Result = TypeVar("Result")


def is_doubtful(failure: Failure) -> bool:
    """Whether a failure may be a mistake of the reply that it was read from; what is transient has had its tries."""
    return not isinstance(failure, Transient) and failure.detail not in REASONS


def confirmed(call: Callable[[], Result], pause: Callable[[int], None]) -> Result:
    """The result of `call`, or a failure of it that can be believed. `pause` takes how often it failed so far."""
    for failed in range(1, TIMES):
        try:
            return call()
        except Failure as failure:
            if not is_doubtful(failure):
                raise
        pause(failed)
    return call()
