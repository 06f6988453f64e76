"""Quotas as the Hub's: so many requests in five minutes for each token (all without one together) and bucket.

Source: the Hub's documentation of rate limits, and the IETF draft of the RateLimit headers that it follows.
"""

from __future__ import annotations

import math
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

ANONYMOUS = "anonymous"


def bucket(path: str) -> str | None:
    """The bucket that a path belongs to; None for the storage, which has none."""
    if path.startswith("/cdn/"):
        return None
    return "resolvers" if "/resolve/" in path or path.startswith("/api/resolve-cache/") else "api"


@dataclass
class _Window:
    ends: float  # by the clock
    used: int = 0


class Quotas:
    """How many requests are left to whom; the defaults are those of the anonymous.

    `api` and `resolvers` are requests, `window` seconds; a window begins with its first request. Safe to ask while
    serving.
    """

    def __init__(
        self, api: int = 500, resolvers: int = 3000, window: float = 300.0, clock: Callable[[], float] = time.time
    ) -> None:
        self.limits = {"api": api, "resolvers": resolvers}
        self.window = window
        self.refused = 0  # requests that were answered with 429
        self._clock = clock
        self._windows: dict[tuple[str, str], _Window] = {}
        self._lock = threading.Lock()

    def left(self, name: str, who: str = ANONYMOUS) -> int:
        """The requests left in a bucket, `api` or `resolvers`, to a token."""
        with self._lock:
            return max(self.limits[name] - self._window(name, who).used, 0)

    def used(self, name: str, who: str = ANONYMOUS) -> int:
        """The requests counted in a bucket's present window."""
        with self._lock:
            return self._window(name, who).used

    def take(self, name: str, who: str, count: int = 1) -> bool:
        """Count a request, or give one back (-1); False, and nothing is counted, where none is left."""
        with self._lock:
            window = self._window(name, who)
            if count > 0 and window.used >= self.limits[name]:
                return False
            window.used = max(window.used + count, 0)
            return True

    def headers(self, name: str, who: str) -> dict[str, str]:
        """RateLimit and RateLimit-Policy of a bucket."""
        left = self.left(name, who)
        with self._lock:
            seconds = max(math.ceil(self._window(name, who).ends - self._clock()), 0)
        return {
            "RateLimit": f'"{name}";r={left};t={seconds}',
            "RateLimit-Policy": f'"fixed window";"{name}";q={self.limits[name]};w={self.window:g}',
        }

    def _window(self, name: str, who: str) -> _Window:
        now = self._clock()
        known = self._windows.get((name, who))
        if known is None or now >= known.ends:
            known = self._windows[name, who] = _Window(now + self.window)
        return known


class QuotaMiddleware:
    """The ASGI application `app` within `quotas`."""

    def __init__(self, app: ASGIApp, quotas: Quotas) -> None:
        self._app = app
        self._quotas = quotas

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request: 429 where its bucket is used up, else a reply that says what is left.

        Redirects that are no file, and errors, count on the API's bucket whatever was asked for.
        """
        name = bucket(scope["path"]) if scope["type"] == "http" else None
        if name is None:
            await self._app(scope, receive, send)
            return
        quotas, who = self._quotas, _who(scope)
        if not quotas.take(name, who):
            quotas.refused += 1
            headers = quotas.headers(name, who)
            if name != "api":
                quotas.take("api", who)
            text = "We had to rate limit you: too many requests, try again later."
            await JSONResponse({"error": text}, 429, headers)(scope, receive, send)
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message.get("headers", [])))
                found = name
                if name != "api" and not _serves_file(message["status"], headers.get("location", "")):
                    quotas.take(name, who, -1)
                    quotas.take("api", who)
                    found = "api"
                headers.update(quotas.headers(found, who))
                message = {**message, "headers": headers.raw}
            await send(message)

        await self._app(scope, receive, told)


def _serves_file(status: int, location: str) -> bool:
    """Whether a resolver's reply gives the file or says where it is; another redirect says what its name is now."""
    return status < 300 or status == 302 or (status == 307 and location.startswith("/api/resolve-cache/"))


def _who(scope: Scope) -> str:
    header = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    token: str = header.decode("latin-1").partition(" ")[2].strip()
    return token or ANONYMOUS
