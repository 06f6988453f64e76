"""Faults by chance: a share of all requests fails in mixed ways, the same ones for the same seed."""

from __future__ import annotations

from fnmatch import fnmatchcase
from random import Random
from typing import TYPE_CHECKING

from hublineage.hub import fault_pages, fault_ranges, fault_replies, fault_stalls, fault_wraps

if TYPE_CHECKING:
    from collections.abc import Callable

    from hublineage.hub.asked import Asked
    from hublineage.hub.fault_stalls import Gate
    from hublineage.hub.fault_wraps import Wrap

    Make = Callable[[float, Gate], Wrap]

_CUT, _SHORT = 100, 1000  # bytes that come before a cut, bytes of a short range


def _status(code: int, says: str = "") -> Make:
    """A status whose headers ask for the wait in the way of `fault_replies.status` that `says` names."""

    def make(wait: float, _: Gate) -> Wrap:
        return fault_wraps.instead(
            fault_replies.status(
                code,
                {},
                rate_limit=wait if says == "rate_limit" else None,
                retry_after=wait if says == "retry_after" else None,
                retry_at=wait if says == "retry_at" else None,
            )
        )

    return make


def _always(wrap: Wrap) -> Make:
    return lambda _, __: wrap


def _any(request: Asked) -> bool:  # noqa: ARG001  # as all conditions
    return True


def _json(request: Asked) -> bool:
    return request.path.startswith("/api/models")


def _listing(request: Asked) -> bool:
    return request.path == "/api/models"


def _body(request: Asked) -> bool:
    return request.method == "GET"


def _range(request: Asked) -> bool:
    return request.range is not None


def _storage(request: Asked) -> bool:
    return request.path.startswith("/cdn/")


def _changed_page(change: fault_pages.Change) -> Make:
    return _always(fault_pages.changing(lambda request, page: change(request, page) or page))


_MAKES: dict[str, tuple[Callable[[Asked], bool], Make]] = {
    "429": (_any, _status(429)),
    "429 RateLimit": (_any, _status(429, "rate_limit")),
    "429 Retry-After": (_any, _status(429, "retry_after")),
    "429 date": (_any, _status(429, "retry_at")),
    **{str(code): (_any, _status(code)) for code in (408, 500, 502, 503, 504)},
    "reset": (_any, _always(fault_wraps.instead(fault_replies.reset))),
    "late": (_any, lambda wait, _: fault_wraps.latency(wait)),
    "garbage": (
        _json,
        _always(fault_wraps.instead(fault_replies.garbage(fault_replies.PROXY_PAGE, 200, "text/html"))),
    ),
    "cut": (_body, _always(fault_wraps.cut(_CUT))),
    "wrong length": (_body, _always(fault_wraps.content_length(1))),
    "short range": (_range, _always(fault_ranges.another_range(fault_ranges.shortened(_SHORT)))),
    "ignored range": (_range, _always(fault_ranges.another_range(lambda _: None))),
    "shifted range": (_range, _always(fault_ranges.another_range(fault_ranges.shifted(1)))),
    "expired": (_storage, _status(403)),
    "stall": (_body, lambda _, gate: fault_stalls.stall(0, gate)),
    "repeated cursor": (_listing, _changed_page(fault_pages.repeated_cursor)),
    "missing cursor": (_listing, _changed_page(fault_pages.missing_cursor)),
}
ALL = tuple(_MAKES)
KINDS = tuple(name for name in ALL if name not in {"stall", "repeated cursor", "missing cursor"})
"""Those that a client can see at once and get over by asking again."""


class Chance:
    """Decides for each request of a pattern, by its number, whether it fails and how."""

    def __init__(self, share: float, seed: int, kinds: tuple[str, ...], pattern: str, wait: float, gate: Gate) -> None:
        unknown = [name for name in kinds if name not in _MAKES]
        if unknown:
            raise ValueError(f"no such kind of fault: {', '.join(unknown)}; there are {', '.join(ALL)}")
        self._share, self._seed, self._pattern = share, seed, pattern
        self._makes = [(name, *_MAKES[name]) for name in kinds]
        self._wait, self._gate = wait, gate
        self._number = 0

    def strike(self, request: Asked) -> tuple[str, Wrap] | None:
        """(kind, what is done) to the next request; None where it is left alone."""
        if not fnmatchcase(request.path, self._pattern):
            return None
        draw = Random(f"{self._seed}/{self._number}")  # noqa: S311  # no secret
        self._number += 1
        fitting = [(name, make) for name, needs, make in self._makes if needs(request)]
        if draw.random() >= self._share or not fitting:
            return None
        name, make = draw.choice(fitting)
        return name, make(self._wait, self._gate)
