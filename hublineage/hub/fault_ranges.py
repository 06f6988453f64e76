"""Faults of byte ranges: fewer bytes than were asked for, others, or under a Content-Range that lies."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

from hublineage.hub.fault_wraps import heading

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

    from hublineage.hub.fault_wraps import Wrap

_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


def another_range(change: Callable[[str], str | None]) -> Wrap:
    """The Hub serves another Range than was asked for; None: none."""

    def wrap(app: ASGIApp) -> ASGIApp:
        async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
            headers = MutableHeaders(raw=list(scope["headers"]))
            changed = change(headers.get("range", ""))
            if changed is None:
                del headers["range"]
            else:
                headers["range"] = changed
            await app({**scope, "headers": headers.raw}, receive, send)

        return faulty

    return wrap


def shortened(size: int) -> Callable[[str], str | None]:
    """The first `size` bytes of a range (the last ones of a range that is counted from the end)."""

    def change(header: str) -> str:
        found = _RANGE.fullmatch(header)
        if found is None:
            return header
        last = int(found[1]) + size - 1
        return f"bytes={found[1]}-{min(last, int(found[2])) if found[2] else last}"

    return change


def shifted(by: int) -> Callable[[str], str | None]:
    """The range `by` bytes before the one asked for, or behind it where there are none before."""

    def change(header: str) -> str:
        found = _RANGE.fullmatch(header)
        if found is None:
            return header
        shift = -by if int(found[1]) >= by else by
        return f"bytes={int(found[1]) + shift}-{int(found[2]) + shift if found[2] else ''}"

    return change


def lying_range(by: int) -> Wrap:
    """Other bytes under the Content-Range that was asked for: nothing but a hash of the content shows it."""

    def wrap(app: ASGIApp) -> ASGIApp:
        async def faulty(scope: Scope, receive: Receive, send: Send) -> None:
            asked = _RANGE.fullmatch(MutableHeaders(raw=list(scope["headers"])).get("range", ""))

            def lie(_: Scope, headers: MutableHeaders) -> None:
                found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
                if asked and found:
                    last = int(asked[1]) + int(found[2]) - int(found[1])
                    headers["content-range"] = f"bytes {asked[1]}-{last}/{found[3]}"

            await heading(lie)(another_range(shifted(by))(app))(scope, receive, send)

        return faulty

    return wrap


def content_range(start: int, last: int, total: int) -> Wrap:
    """Content-Range with these added to its three numbers."""

    def change(_: Scope, headers: MutableHeaders) -> None:
        found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
        if found:
            headers["content-range"] = f"bytes {int(found[1]) + start}-{int(found[2]) + last}/{int(found[3]) + total}"

    return heading(change)
