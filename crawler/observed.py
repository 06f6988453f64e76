"""What each request came to, told to whoever counts requests: status, seconds, bytes.

The crawler counts nothing itself. An observer is called once per request that left, in the thread that sent it, when
the reply's body was closed or none came.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx2

from crawler.rate_limit import Bucket


@dataclass(frozen=True)
class Exchange:
    """One request and its reply. `received`: bytes of the body as they came over the network, decoded or not."""

    bucket: Bucket | None  # None: it counts in no quota of the Hub, such as signed addresses
    status: int | None  # None: no reply came
    seconds: float  # until the body was closed
    received: int
    error: str | None = None  # the class of the error that ended it, whether before or within the body


Observe = Callable[[Exchange], None]
"""Must not raise, and must not take long."""


def unobserved(_: Exchange) -> None:
    """The observer where nobody looks."""


class ObservedBody(httpx2.SyncByteStream):
    """A reply's body that tells, once it is closed, what came of it."""

    def __init__(
        self, stream: httpx2.SyncByteStream, bucket: Bucket | None, status: int, begun: float, observe: Observe
    ) -> None:
        self._stream = stream
        self._bucket: Bucket | None = bucket
        self._status = status
        self._begun = begun  # of time.monotonic
        self._observe = observe
        self._received = 0
        self._error: str | None = None
        self._told = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            for chunk in self._stream:
                self._received += len(chunk)
                yield chunk
        except Exception as error:
            self._error = type(error).__name__
            raise

    def close(self) -> None:
        """Closes the reply; the first time, the observer hears of it."""
        try:
            self._stream.close()
        finally:
            if not self._told:
                self._told = True
                seconds = time.monotonic() - self._begun
                self._observe(Exchange(self._bucket, self._status, seconds, self._received, self._error))
