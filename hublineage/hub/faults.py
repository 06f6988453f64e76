"""Faults on purpose: what a client must survive, switched on by tests of clients."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class CutOffError(Exception):
    """The body was cut off on purpose: the server closes the connection."""


@dataclass
class _Rule:
    kind: str  # "status", "cut" or "whole"
    pattern: str
    left: int | None  # requests that it still applies to; None: all
    number: int = 0  # status code or bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Faults:
    """Rules by shell patterns over the path ("*" crosses "/"), and a record of what was asked.

    Signed addresses lie under /cdn/, so "/cdn/*" speaks of the bytes of large files. Safe to change while serving.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []  # "METHOD /path", in the order of arrival
        self._rules: list[_Rule] = []
        self._lock = threading.Lock()

    def ignore_range(self, pattern: str = "/cdn/*", times: int | None = None) -> None:
        """Answer 200 with the whole file where a range is asked for."""
        self._add(_Rule("whole", pattern, times))

    def cut_after(self, size: int, pattern: str = "/cdn/*", times: int | None = 1) -> None:
        """Close the connection after `size` bytes of the body."""
        self._add(_Rule("cut", pattern, times, size))

    def status(
        self, code: int, pattern: str = "*", times: int | None = 1, headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer with this status and these headers (Retry-After, RateLimit) instead of serving."""
        self._add(_Rule("status", pattern, times, code, headers or {}))

    def clear(self) -> None:
        """Forget all rules and what was asked."""
        with self._lock:
            self._rules.clear()
            self.asked.clear()

    def _add(self, rule: _Rule) -> None:
        with self._lock:
            self._rules.append(rule)

    def _take(self, kind: str, path: str) -> _Rule | None:
        """The first rule of this kind for this path, used up by one."""
        with self._lock:
            for rule in self._rules:
                if rule.kind == kind and rule.left != 0 and fnmatchcase(path, rule.pattern):
                    rule.left = None if rule.left is None else rule.left - 1
                    return rule
        return None


class FaultMiddleware:
    """The ASGI application `app` with `faults` before it."""

    def __init__(self, app: ASGIApp, faults: Faults) -> None:
        self._app = app
        self._faults = faults

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, with the faults that apply to it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, take = scope["path"], self._faults._take
        self._faults.asked.append(f"{scope['method']} {path}")
        status = take("status", path)
        if status is not None:
            reply = JSONResponse({"error": f"status {status.number} on purpose"}, status.number, dict(status.headers))
            await reply(scope, receive, send)
            return
        if any(name == b"range" for name, _ in scope["headers"]) and take("whole", path):
            scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != b"range"]}
        cut = take("cut", path) if scope["method"] == "GET" else None
        await self._app(scope, receive, send if cut is None else _cut(send, cut.number))


def _cut(send: Send, size: int) -> Send:
    left = size

    async def send_some(message: Message) -> None:
        nonlocal left
        if message["type"] == "http.response.body":
            body = message.get("body", b"")
            if len(body) > left:
                await send({**message, "body": body[:left], "more_body": True})
                raise CutOffError
            left -= len(body)
        await send(message)

    return send_some
