"""Faults that answer instead of the Hub, each as an ASGI application."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from hublineage.hub import replies
from hublineage.hub.asked import asked
from hublineage.hub.connection import connection
from hublineage.hub.quotas import bucket
from hublineage.hub.rows import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

PROXY_PAGE = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>Sign in to the network.</body></html>"
SKEW = "hublineage.skew"  # in the scope's extensions: seconds that the server's clock is ahead


class CutOffError(Exception):
    """The reply ends on purpose before it is whole: the server closes the connection."""


def now(scope: Mapping[str, Any]) -> float:
    """The server's clock, seconds since 1970."""
    skew: float = scope.get("extensions", {}).get(SKEW, 0.0)
    return time.time() + skew


def status(
    code: int,
    headers: Mapping[str, str],
    *,
    rate_limit: float | None = None,
    retry_after: float | None = None,
    retry_at: float | None = None,
    error_code: str | None = None,
    message: str | None = None,
) -> ASGIApp:
    """An error as the Hub writes it; the three times are seconds from now."""

    def headers_for(scope: Scope) -> dict[str, str]:
        found = {}
        if rate_limit is not None:
            found["RateLimit"] = f'"{bucket(scope["path"]) or "api"}";r=0;t={rate_limit:g}'
        if retry_after is not None:
            found["Retry-After"] = f"{retry_after:g}"
        if retry_at is not None:
            found["Retry-After"] = formatdate(now(scope) + retry_at, usegmt=True)
        if error_code is not None:
            found["X-Error-Code"] = error_code
        if message is not None:
            found["X-Error-Message"] = replies.header_text(message)
        return {**found, **headers}

    async def reply(scope: Scope, receive: Receive, send: Send) -> None:
        text = message or f"status {code} on purpose"
        is_api = scope["path"].startswith("/api/")
        body = JSONResponse({"error": text}, code) if is_api else PlainTextResponse(text, code)
        body.headers.update(headers_for(scope))
        await body(scope, receive, send)

    return reply


def garbage(content: str, code: int, media_type: str) -> ASGIApp:
    """What a proxy between says in the Hub's place."""
    return Response(content, code, media_type=media_type)


async def reset(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001  # ASGI's signature
    """No reply at all: the connection is reset."""
    found = connection(scope)
    if found is None:
        raise CutOffError
    await found.reset()


async def redirect_loop(scope: Scope, receive: Receive, send: Send) -> None:
    """307 to the address that was asked for."""
    path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
    query = scope["query_string"].decode("latin-1")
    location = f"{path}?{query}" if query else path
    await PlainTextResponse("Temporary Redirect", 307, {"Location": location})(scope, receive, send)


def refused_expand(names: Collection[str], served: Callable[[], Collection[str]]) -> ASGIApp:
    """400 which names the fields that are left when `names` are not served."""

    async def reply(scope: Scope, receive: Receive, send: Send) -> None:
        known = served() if asked(scope).path == "/api/models" else tuple(FIELDS)
        text = replies.invalid_expand(name for name in known if name not in names)
        headers = {"X-Error-Message": replies.header_text(text)}
        await JSONResponse({"error": text}, 400, headers)(scope, receive, send)

    return reply
