"""Faults of time without end: replies that stop in the middle while the connection stays open."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from hublineage.hub.fault_wraps import Wrap


class Gate:
    """Where stalled replies wait. Safe to open from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    @property
    def waiting(self) -> int:
        """How many replies wait at this moment."""
        with self._lock:
            return len(self._waiting)

    def open(self) -> None:
        """Lets all go on that wait now."""
        with self._lock:
            for event, loop in self._waiting.items():
                with suppress(RuntimeError):  # its server has stopped
                    loop.call_soon_threadsafe(event.set)

    async def wait(self, receive: Receive) -> None:
        """Returns when the gate is opened or the client goes away."""
        event = asyncio.Event()
        with self._lock:
            self._waiting[event] = asyncio.get_running_loop()
        tasks = {asyncio.ensure_future(event.wait()), asyncio.ensure_future(_gone(receive))}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            with self._lock:
                del self._waiting[event]


async def _gone(receive: Receive) -> bool:
    while (await receive())["type"] != "http.disconnect":
        pass
    return True


def stall(after: int | None, gate: Gate) -> Wrap:
    """Nothing more comes after `after` bytes of the body (None: not even the head) until the gate opens."""

    def wrap(app: ASGIApp) -> ASGIApp:
        async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
            left, stalled = after or 0, False

            async def step(message: Message) -> None:
                nonlocal left, stalled
                body = message.get("body", b"")
                is_head = message["type"] == "http.response.start"
                if not stalled and ((is_head and after is None) or (not is_head and len(body) >= left)):
                    if not is_head:
                        await send({**message, "body": body[:left], "more_body": True})
                        message = {**message, "body": body[left:]}
                    stalled = True
                    await gate.wait(receive)
                left -= len(body)
                await send(message)

            await app(scope, receive, step)

        return faulty

    return wrap
