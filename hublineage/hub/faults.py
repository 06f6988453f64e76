"""Faults on purpose: what a client must survive, switched on by tests of clients."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from hublineage.hub import fault_pages, fault_ranges, fault_replies, fault_stalls, fault_wraps
from hublineage.hub.fault_chance import KINDS, Chance
from hublineage.hub.rows import LISTING_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from starlette.types import ASGIApp

    from hublineage.hub.asked import Asked
    from hublineage.hub.fault_wraps import Wrap


class Slot(IntEnum):
    """Where a fault acts, from the outside in. A request meets at most one fault of each slot, of PAGE all."""

    CLOCK = 0
    LATENCY = 1
    REPLY = 2  # instead of the Hub: nothing after it applies
    BODY = 3
    HEAD = 4
    PAGE = 5
    RANGE = 6


@dataclass
class _Rule:
    kind: str
    slot: Slot
    pattern: str
    left: int | None  # requests that it still applies to; None: all
    wrap: Wrap | None = None  # None in the slot PAGE
    change: fault_pages.Change | None = None
    needs: Callable[[Asked], bool] = field(default=lambda _: True)

    def applies(self, request: Asked) -> bool:
        return self.left != 0 and fnmatchcase(request.path, self.pattern) and self.needs(request)


def _has_range(request: Asked) -> bool:
    return request.range is not None


def _has_body(request: Asked) -> bool:
    return request.method == "GET"


class Faults:
    """Rules by shell patterns over the path ("*" crosses "/") and number of times, and a record of what was asked.

    `times` counts the requests that a fault applied to, None for all. Signed addresses lie under /cdn/, so "/cdn/*"
    speaks of the bytes of large files. Safe to change while serving. docs/hub.md has a table of all faults.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []  # "METHOD /path", in the order of arrival
        self.asked_with_token: list[str] = []  # those of them that carried an Authorization
        self.requests: list[Asked] = []  # the same requests as `asked`, with more of each
        self.struck: list[tuple[str, str]] = []  # (kind of fault, "METHOD /path"), as they were applied
        self.listing_fields: Collection[str] = LISTING_FIELDS  # what listings serve: the application sets it
        self._rules: list[_Rule] = []
        self._chances: list[Chance] = []
        self._expired: list[str] = []
        self._gate = fault_stalls.Gate()
        self._lock = threading.Lock()

    def status(
        self,
        code: int,
        pattern: str = "*",
        times: int | None = 1,
        headers: Mapping[str, str] | None = None,
        *,
        rate_limit: float | None = None,
        retry_after: float | None = None,
        retry_at: float | None = None,
        error_code: str | None = None,
        message: str | None = None,
    ) -> None:
        """Answer with this status and these headers instead of serving.

        `rate_limit`, `retry_after` and `retry_at` are seconds from now, said by a RateLimit header with nothing left,
        Retry-After in seconds and Retry-After as an HTTP date; `error_code` and `message` are the X-Error- headers.
        """
        reply = fault_replies.status(
            code, headers or {}, rate_limit=rate_limit, retry_after=retry_after, retry_at=retry_at,
            error_code=error_code, message=message,
        )  # fmt: skip
        self._instead("status", reply, pattern, times)

    def garbage(
        self,
        pattern: str = "*",
        times: int | None = 1,
        *,
        content: str = fault_replies.PROXY_PAGE,
        code: int = 200,
        media_type: str = "text/html",
    ) -> None:
        """Answer 200 with what is none of the Hub's JSON: by default a proxy's page."""
        self._instead("garbage", fault_replies.garbage(content, code, media_type), pattern, times)

    def reset(self, pattern: str = "*", times: int | None = 1) -> None:
        """Reset the connection before any reply."""
        self._instead("reset", fault_replies.reset, pattern, times)

    def redirect_loop(self, pattern: str = "*", times: int | None = None) -> None:
        """Redirect to the same address."""
        self._instead("redirect_loop", fault_replies.redirect_loop, pattern, times)

    def refuse_expand(self, names: Collection[str], pattern: str = "/api/models*", times: int | None = None) -> None:
        """Answer 400, naming the valid ones, where one of these fields is asked for by `expand`."""
        refused = frozenset(names)
        reply = fault_replies.refused_expand(refused, lambda: self.listing_fields)
        self._instead("refuse_expand", reply, pattern, times, lambda request: not refused.isdisjoint(request.expands))

    def clock_skew(self, seconds: float, pattern: str = "*", times: int | None = None) -> None:
        """Let the server's clock be ahead by so much, in the Date header and in `status(retry_at=...)`."""
        self._add(_Rule("clock_skew", Slot.CLOCK, pattern, times, fault_wraps.clock(seconds)))

    def latency(self, seconds: float, pattern: str = "*", times: int | None = None) -> None:
        """Wait before answering."""
        self._add(_Rule("latency", Slot.LATENCY, pattern, times, fault_wraps.latency(seconds)))

    def cut_after(self, size: int, pattern: str = "/cdn/*", times: int | None = 1) -> None:
        """Close the connection after `size` bytes of the body."""
        self._add(_Rule("cut_after", Slot.BODY, pattern, times, fault_wraps.cut(size), needs=_has_body))

    def stall(self, after: int | None = 0, pattern: str = "/cdn/*", times: int | None = 1) -> None:
        """Send nothing more after `after` bytes of the body, None: no head either; the connection stays open.

        Until `release`, `clear`, the client's or the server's end.
        """
        wrap = fault_stalls.stall(after, self._gate)
        self._add(_Rule("stall", Slot.BODY, pattern, times, wrap, needs=_has_body))

    def trickle(self, size: int, interval: float, pattern: str = "/cdn/*", times: int | None = 1) -> None:
        """Send `size` bytes of the body every `interval` seconds."""
        self._add(_Rule("trickle", Slot.BODY, pattern, times, fault_wraps.trickle(size, interval), needs=_has_body))

    def wrong_length(self, by: int, pattern: str = "/cdn/*", times: int | None = 1) -> None:
        """Let Content-Length be larger than the body by so much (which then ends early), or smaller, where negative."""
        self._add(_Rule("wrong_length", Slot.HEAD, pattern, times, fault_wraps.content_length(by)))

    def wrong_content_range(
        self, start: int = 0, last: int = 0, total: int = 0, pattern: str = "/cdn/*", times: int | None = 1
    ) -> None:
        """Add these to the numbers of Content-Range; the body stays what was asked for."""
        wrap = fault_ranges.content_range(start, last, total)
        self._add(_Rule("wrong_content_range", Slot.HEAD, pattern, times, wrap, needs=_has_range))

    def header(self, name: str, value: str | None, pattern: str = "/cdn/*", times: int | None = 1) -> None:
        """Set a header of the reply, or leave it out (None)."""
        self._add(_Rule("header", Slot.HEAD, pattern, times, fault_wraps.header(name, value)))

    def ignore_range(self, pattern: str = "/cdn/*", times: int | None = None) -> None:
        """Answer 200 with the whole file where a range is asked for."""
        self._range("ignore_range", fault_ranges.another_range(lambda _: None), pattern, times)

    def short_range(self, size: int, pattern: str = "/cdn/*", times: int | None = 1) -> None:
        """Answer 206 with no more than the first `size` bytes of a range, under headers that say so."""
        self._range("short_range", fault_ranges.another_range(fault_ranges.shortened(size)), pattern, times)

    def shifted_range(
        self, by: int = 1, pattern: str = "/cdn/*", times: int | None = 1, *, lying: bool = False
    ) -> None:
        """Answer 206 with the bytes `by` before those that were asked for (behind them where there are none).

        Content-Range says so, unless it is `lying`: then only a hash of the content can tell.
        """
        honest = fault_ranges.another_range(fault_ranges.shifted(by))
        self._range("shifted_range", fault_ranges.lying_range(by) if lying else honest, pattern, times)

    def repeat_cursor(self, pattern: str = "/api/models", times: int | None = 1) -> None:
        """Let the link to the next page carry the cursor of this one; the first page has none to repeat."""
        self._page("repeat_cursor", fault_pages.repeated_cursor, pattern, times)

    def missing_cursor(self, pattern: str = "/api/models", times: int | None = 1) -> None:
        """Leave out the link to the next page where there is one."""
        self._page("missing_cursor", fault_pages.missing_cursor, pattern, times)

    def drop_rows(self, count: int = 1, pattern: str = "/api/models", times: int | None = 1) -> None:
        """Leave out the last rows of a page; no other page has them."""
        self._page("drop_rows", fault_pages.DroppedRows(count), pattern, times)

    def repeat_rows(self, count: int = 1, pattern: str = "/api/models", times: int | None = 1) -> None:
        """Begin a page with the last rows of the page before it."""
        self._page("repeat_rows", fault_pages.RepeatedRows(count), pattern, times)

    def expire_addresses(self, pattern: str = "/cdn/*") -> None:
        """All signed addresses made until now answer 403, for good; those made from now on open."""
        with self._lock:
            self._expired.append(pattern)

    def random(
        self, share: float, seed: int, kinds: Sequence[str] = KINDS, pattern: str = "*", *, wait: float = 0.0
    ) -> None:
        """A share of the requests for `pattern` fails, by the names in `kinds` (`fault_chance.ALL` has them all).

        Which and how follows from the seed and the request's number alone. `wait` is what a 429 asks for and what a
        late reply takes, in seconds. Raises ValueError for an unknown kind.
        """
        chance = Chance(share, seed, tuple(kinds), pattern, wait, self._gate)
        with self._lock:
            self._chances.append(chance)

    def release(self) -> None:
        """Let all go on that are stalled now."""
        self._gate.open()

    @property
    def stalled(self) -> int:
        """How many requests are stalled now."""
        return self._gate.waiting

    def clear(self) -> None:
        """Forget all rules and what was asked, and release what is stalled; expired addresses stay so."""
        with self._lock:
            self._rules.clear()
            self._chances.clear()
            for record in (self.asked, self.asked_with_token, self.requests, self.struck):
                record.clear()
        self.release()

    def generation(self, path: str) -> int:
        """How often the signed addresses of a path have been expired; the signer signs it."""
        with self._lock:
            return sum(fnmatchcase(path, pattern) for pattern in self._expired)

    def plan(self, request: Asked) -> list[Wrap]:
        """What is done to a request, the outermost first; records it and uses the rules up by one."""
        with self._lock:
            self._record(request)
            chance = [found for each in self._chances if (found := each.strike(request)) is not None]
            wraps: list[Wrap] = []
            for slot in Slot:
                if slot is Slot.LATENCY:
                    wraps.append(fault_wraps.dated)
                if slot is Slot.PAGE:
                    wraps += self._page_wraps(request)
                    continue
                rule = next((rule for rule in self._rules if rule.slot is slot and rule.applies(request)), None)
                if rule is not None and rule.wrap is not None:
                    self._use(rule, request)
                    wraps.append(rule.wrap)
                    if slot is Slot.REPLY:
                        return wraps
            self.struck += [(kind, request.line) for kind, _ in chance]
            return [*wraps, *(wrap for _, wrap in chance)]

    def _record(self, request: Asked) -> None:
        self.asked.append(request.line)
        self.requests.append(request)
        if request.with_token:
            self.asked_with_token.append(request.line)

    def _page_wraps(self, request: Asked) -> list[Wrap]:
        """One wrap for all rules of pages: whether they apply shows when the page is there."""
        rules = [rule for rule in self._rules if rule.slot is Slot.PAGE and rule.applies(request)]

        def change(request: Asked, page: fault_pages.Page) -> fault_pages.Page:
            with self._lock:
                for rule in rules:
                    changed = rule.change(request, page) if rule.change and rule.left != 0 else None
                    if changed is not None:
                        self._use(rule, request)
                        page = changed
            return page

        return [fault_pages.changing(change)] if rules else []

    def _use(self, rule: _Rule, request: Asked) -> None:
        rule.left = None if rule.left is None else rule.left - 1
        self.struck.append((rule.kind, request.line))

    def _instead(
        self,
        kind: str,
        reply: ASGIApp,
        pattern: str,
        times: int | None,
        needs: Callable[[Asked], bool] = lambda _: True,
    ) -> None:
        self._add(_Rule(kind, Slot.REPLY, pattern, times, fault_wraps.instead(reply), needs=needs))

    def _range(self, kind: str, wrap: Wrap, pattern: str, times: int | None) -> None:
        self._add(_Rule(kind, Slot.RANGE, pattern, times, wrap, needs=_has_range))

    def _page(self, kind: str, change: fault_pages.Change, pattern: str, times: int | None) -> None:
        self._add(_Rule(kind, Slot.PAGE, pattern, times, change=change))

    def _add(self, rule: _Rule) -> None:
        with self._lock:
            self._rules.append(rule)
