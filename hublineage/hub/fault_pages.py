"""Faults of a listing's pages: cursors that lead nowhere, rows that are lost or come twice."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import MutableHeaders

from hublineage.hub.asked import Asked, asked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NEXT = re.compile(r'<([^>]*)>; rel="next"')
_REMEMBERED = 100  # pages whose last rows are kept


@dataclass(frozen=True)
class Page:
    """The rows of one page and the cursor of the next, None at the end."""

    rows: list[Any]
    following: str | None


class Change(Protocol):
    """What is done to a page; None where it has nothing to do here."""

    def __call__(self, request: Asked, page: Page) -> Page | None:
        """The page that is served instead."""


def repeated_cursor(request: Asked, page: Page) -> Page | None:
    """The link to the next page leads to this one again; the first page has none to repeat."""
    return Page(page.rows, request.cursor) if request.cursor and page.following else None


def missing_cursor(request: Asked, page: Page) -> Page | None:  # noqa: ARG001  # as all changes
    """A full page without a link to the next."""
    return Page(page.rows, None) if page.following else None


@dataclass(frozen=True)
class DroppedRows:
    """The last `count` rows of a page are missing, and are on no other page."""

    count: int

    def __call__(self, request: Asked, page: Page) -> Page | None:  # noqa: ARG002
        """The page without them."""
        return Page(page.rows[: max(len(page.rows) - self.count, 0)], page.following) if page.rows else None


@dataclass(frozen=True)
class RepeatedRows:
    """The last `count` rows of a page come again as the first ones of the next."""

    count: int
    _tails: dict[str, list[Any]] = field(default_factory=dict)

    def __call__(self, request: Asked, page: Page) -> Page | None:
        """The page with the last rows of the one before it, where that was seen."""
        if page.following and self.count:
            self._tails[page.following] = page.rows[-self.count :]
            if len(self._tails) > _REMEMBERED:
                del self._tails[next(iter(self._tails))]
        before = self._tails.get(request.cursor or "")
        return Page([*before, *page.rows], page.following) if before else None


def changing(change: Callable[[Asked, Page], Page]) -> Callable[[ASGIApp], ASGIApp]:
    """A wrap that gives every page of a listing, and no other reply, to `change`."""

    def wrap(app: ASGIApp) -> ASGIApp:
        async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
            head: Message | None = None
            body = bytearray()

            async def collect(message: Message) -> None:
                nonlocal head
                if message["type"] == "http.response.start" and _is_page(message):
                    head = message
                elif head is None:
                    await send(message)
                else:
                    body.extend(message.get("body", b""))
                    if not message.get("more_body"):
                        for part in _changed(head, bytes(body), asked(scope), change):
                            await send(part)

            await app(scope, receive, collect)

        return faulty

    return wrap


def _is_page(head: Message) -> bool:
    kind = MutableHeaders(raw=list(head["headers"])).get("content-type", "")
    return head["status"] == 200 and kind.startswith("application/json")


def _changed(head: Message, body: bytes, request: Asked, change: Callable[[Asked, Page], Page]) -> Sequence[Message]:
    headers = MutableHeaders(raw=list(head["headers"]))
    rows = json.loads(body) if request.method == "GET" else None
    link = _NEXT.search(headers.get("link", ""))
    if isinstance(rows, list):
        cursor = dict(parse_qsl(urlsplit(link[1]).query)).get("cursor") if link else None
        before = Page(rows, cursor)
        page = change(request, before)
        body = body if page.rows is rows else json.dumps(page.rows).encode()
        headers["content-length"] = str(len(body))
        if link and page.following is None:
            del headers["link"]
        elif link and page.following != cursor:
            headers["link"] = f'<{_with_cursor(link[1], page.following or "")}>; rel="next"'
    return {**head, "headers": headers.raw}, {"type": "http.response.body", "body": body}


def _with_cursor(url: str, cursor: str) -> str:
    parts = urlsplit(url)
    query = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] != "cursor"]
    return parts._replace(query=urlencode([*query, ("cursor", cursor)])).geturl()
