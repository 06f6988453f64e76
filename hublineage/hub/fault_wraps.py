"""Faults that let the Hub answer and spoil the request on its way in or the reply on its way out."""

from __future__ import annotations

import asyncio
from email.utils import formatdate
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

from hublineage.hub.connection import connection
from hublineage.hub.fault_replies import SKEW, CutOffError, now

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    Wrap = Callable[[ASGIApp], ASGIApp]
    # what is done with each message of a reply: (scope, message, the next send)
    Step = Callable[[Scope, Message, Send], Awaitable[None]]


def _sending(make: Callable[[], Step]) -> Wrap:
    """A wrap that passes every message of a reply through a step, made anew for each reply."""

    def wrap(app: ASGIApp) -> ASGIApp:
        async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
            step = make()

            async def through(message: Message) -> None:
                await step(scope, message, send)

            await app(scope, receive, through)

        return faulty

    return wrap


def heading(change: Callable[[Scope, MutableHeaders], None]) -> Wrap:
    """A wrap that changes the head of a reply."""

    async def step(scope: Scope, message: Message, send: Send) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message.get("headers", [])))
            change(scope, headers)
            message = {**message, "headers": headers.raw}
        await send(message)

    return _sending(lambda: step)


def clock(skew: float) -> Wrap:
    """The server's clock is `skew` seconds ahead."""

    def wrap(app: ASGIApp) -> ASGIApp:
        async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
            await app({**scope, "extensions": {**scope.get("extensions", {}), SKEW: skew}}, receive, send)

        return faulty

    return wrap


def _date(scope: Scope, headers: MutableHeaders) -> None:
    headers["Date"] = formatdate(now(scope), usegmt=True)


dated: Wrap = heading(_date)
"""Every reply says what the server's clock says; uvicorn's own Date knows of no skew."""


def latency(seconds: float) -> Wrap:
    """The Hub takes longer."""

    def wrap(app: ASGIApp) -> ASGIApp:
        async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
            await asyncio.sleep(seconds)
            await app(scope, receive, send)

        return faulty

    return wrap


def instead(reply: ASGIApp) -> Wrap:
    """`reply` in the Hub's place."""
    return lambda _: reply


def header(name: str, value: str | None) -> Wrap:
    """A header of the reply set, or left out (None)."""

    def change(_: Scope, headers: MutableHeaders) -> None:
        if value is None:
            del headers[name]
        else:
            headers[name] = value

    return heading(change)


def cut(size: int) -> Wrap:
    """The connection is closed after `size` bytes of the body."""

    def make() -> Step:
        left = size

        async def step(_: Scope, message: Message, send: Send) -> None:
            nonlocal left
            body = message.get("body", b"")
            if len(body) > left:
                await send({**message, "body": body[:left], "more_body": True})
                raise CutOffError
            left -= len(body)
            await send(message)

        return step

    return _sending(make)


def trickle(size: int, interval: float) -> Wrap:
    """`size` bytes of the body every `interval` seconds."""

    async def step(_: Scope, message: Message, send: Send) -> None:
        body = message.get("body", b"")
        while len(body) > size:
            await send({**message, "body": body[:size], "more_body": True})
            body = body[size:]
            await asyncio.sleep(interval)
        await send({**message, "body": body} if "body" in message else message)

    return _sending(lambda: step)


def content_length(by: int) -> Wrap:
    """A Content-Length that is `by` bytes too large (the body then ends early) or too small (more follows it)."""

    def make() -> Step:
        left: int | None = None

        async def step(scope: Scope, message: Message, send: Send) -> None:
            nonlocal left
            if message["type"] == "http.response.start":
                headers = MutableHeaders(raw=list(message.get("headers", [])))
                if "content-length" in headers:
                    promised = max(int(headers["content-length"]) + by, 0)
                    headers["content-length"] = str(promised)
                    headers["connection"] = "close"
                    left = promised if scope["method"] != "HEAD" else None
                await send({**message, "headers": headers.raw})
            elif left is None:
                await send(message)
            else:
                left = await _send_part(scope, message, send, left, by)

        return step

    return _sending(make)


async def _send_part(scope: Scope, message: Message, send: Send, left: int, by: int) -> int:
    """Sends what fits into the promised length by HTTP's rules and the rest past them; what is left of it then."""
    body = message.get("body", b"")
    await send({**message, "body": body[:left], "more_body": True})
    past, under = body[left:], connection(scope)
    if past and under is not None:
        under.write(past)
    left = max(left - len(body), 0)
    if not message.get("more_body"):
        if by > 0:
            raise CutOffError
        await send({**message, "body": b""})
    return left
