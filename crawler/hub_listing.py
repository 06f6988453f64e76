"""The Hub's listing, page by page from any cursor.

huggingface_hub's list_models follows the pages but hands out no cursor, so a crawl that was cut off could only begin
anew; hence our own requests. Parameters are those of https://huggingface.co/docs/hub/api, "GET /api/models".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from crawler.doubt import TIMES
from crawler.hub_rows import listed_row, named
from crawler.retry import TryAgain
from crawler.selection import follows
from crawler.source import Listed, Page, Query
from db.errors import RepositoryUnavailable, SourceUnreachable, Transient

PAGE_SIZE = 1000
# siblings tell only names, but names tell the weights' formats
EXPAND = (
    "author", "baseModels", "cardData", "config", "createdAt", "disabled", "downloads", "gated", "lastModified",
    "library_name", "likes", "pipeline_tag", "private", "safetensors", "sha", "siblings", "tags",
)  # fmt: skip
_PLAIN = (("full", "true"), ("config", "true"), ("cardData", "true"))  # what stands for it where it is refused
_NOT_IN_PLAIN = frozenset(("baseModels", "disabled", "safetensors"))  # what is refused of these is done without
_OLDEST_FIRST = (("sort", "createdAt"), ("direction", "1"))
_NEWEST_CREATED = (("sort", "createdAt"), ("direction", "-1"))
_NEWEST_FIRST = (("sort", "lastModified"), ("direction", "-1"))
_OLDEST_MODIFIED = (("sort", "lastModified"), ("direction", "1"))

Parameters = Sequence[tuple[str, str]]
Get = Callable[[str, Parameters], httpx2.Response]
"""One request for (path, parameters): its reply, or TryAgain where it is worth another try."""


@dataclass(frozen=True)
class _Rows:
    """One reply: the rows that have a name, and the cursor to the next."""

    rows: tuple[Listed, ...]
    following: str | None
    sent_at: datetime  # by the Hub's clock


class CursorRefusedError(RepositoryUnavailable):
    """The Hub does not know this cursor (any more)."""


class ExpandRefusedError(RepositoryUnavailable):
    """The Hub does not know `expand`, or does not say what it knows of it."""


class HubListing:
    """Walks the listing at `endpoint`; `again` runs a call until its tries are used up, or a refusal is believed."""

    def __init__(self, endpoint: str, get: Get, again: Callable[[Callable[[], Any]], Any], page_size: int) -> None:
        self._endpoint = endpoint
        self._get = get
        self._again = again
        self._page_size = page_size
        self._expand: tuple[str, ...] = EXPAND  # what the Hub serves of it

    def pages(self, query: Query, cursor: str | None, *, newest_first: bool) -> Iterator[Page]:
        """Pages from `cursor` on; from the beginning where the Hub does not know it any more.

        By createdAt ascending what is added meanwhile comes last; by lastModified descending what is changed meanwhile
        comes before the first page. Either way a cursor stays good. Raises SourceUnreachable where the listing goes in
        a circle or ends before its end.
        """
        left = query.limit
        order = _NEWEST_FIRST if newest_first else _OLDEST_FIRST
        used: set[str] = set()
        at_start = True
        edge: datetime | None = None
        sorted_so_far = True
        while True:
            if cursor is not None:
                used.add(cursor)
            try:
                found = self._tried(partial(self._checked, query, order, cursor, used, edge, sorted_so_far))
            except CursorRefusedError:
                if not at_start or cursor is None:
                    raise SourceUnreachable(f"{self._endpoint} refuses the cursor that it gave") from None
                cursor, at_start = None, False
                continue
            at_start = False
            last = _last_time(found.rows, order)
            if found.rows and (last is None or (edge is not None and _is_before(last, edge, order))):
                sorted_so_far = False
            edge = last or edge
            rows = tuple(row for row in found.rows if follows(row, query.architectures))[:left]
            left = None if left is None else left - len(rows)
            cursor = found.following if left != 0 else None
            yield Page(rows, cursor, _last_time(found.rows, order) if newest_first else None)
            if cursor is None:
                return

    def newest(self, query: Query) -> datetime | None:
        """The last modification that the listing knows of; not one that lies ahead by the Hub's own clock.

        A repository that claims to be modified in the future would else hide all changes from increments.
        """
        found: _Rows = self._tried(partial(self._list, query, (*_NEWEST_FIRST, ("limit", "1"))))
        moment = found.rows[0].last_modified if found.rows else None
        return None if moment is None else min(moment, found.sent_at)

    def _tried(self, call: Callable[[], _Rows]) -> _Rows:
        """The result of a call, tried again; nothing of a listing can be done without it."""
        try:
            found: _Rows = self._again(call)
        except ExpandRefusedError:
            self._expand = ()
            return self._tried(call)
        except CursorRefusedError:
            raise
        except Transient as error:
            raise SourceUnreachable(f"{error.detail}; the same command goes on from here") from error
        except RepositoryUnavailable as error:
            raise SourceUnreachable(error.detail) from error
        return found

    def _checked(
        self,
        query: Query,
        order: Parameters,
        cursor: str | None,
        used: set[str],
        edge: datetime | None,
        sorted_so_far: bool,
    ) -> _Rows:
        """One page. Raises TryAgain where its cursor leads back, or it is the last and should not be.

        `edge`: up to when the pages before it went, where there were any; `sorted_so_far`: whether they were sorted.
        """
        size = self._page_size if query.limit is None or query.architectures else min(self._page_size, query.limit)
        parameters = (*order, ("limit", str(max(size, 1))), *((("cursor", cursor),) if cursor else ()))
        found = self._list(query, parameters)
        if found.following is not None and found.following in used:
            raise TryAgain(f"{self._endpoint}: the listing repeats its cursor {found.following[:80]}")
        if found.following is None and query.limit is None:
            for _ in range(1, TIMES):
                found = found if found.rows or found.following else self._list(query, parameters)
            if sorted_so_far and not (edge is not None and _goes_back(found.rows, edge, order)):
                self._check_end(query, order, found.rows, edge)
        return found

    def _check_end(self, query: Query, order: Parameters, last: tuple[Listed, ...], edge: datetime | None) -> None:
        """The first row of the listing backwards must be on the last page: else what is between would be lost."""
        ends = _last_time(last, order) if last else edge
        if ends is None:
            return  # this Hub does not sort, or there is nothing to compare with
        backwards = _NEWEST_CREATED if order == _OLDEST_FIRST else _OLDEST_MODIFIED
        beyond = self._list(query, (*backwards, ("limit", "1"))).rows[:1]
        farthest = _last_time(beyond, order)
        if farthest is not None and (farthest > ends if order == _OLDEST_FIRST else farthest < ends):
            raise TryAgain(f"{self._endpoint}: the listing ends at {ends}, before {beyond[0].name}")

    def _list(self, query: Query, parameters: Parameters) -> _Rows:
        """One reply; what is refused of `expand` is not asked for again."""
        asked = [*parameters]
        asked += [("author", query.author)] if query.author else []
        asked += [("search", query.search)] if query.search else []
        asked += [("filter", tag) for tag in query.tags]
        fields = [("expand", field) for field in self._expand] or list(_PLAIN)
        response = self._get("/api/models", [*asked, *fields])
        words = " ".join(response.text.split())[:300]
        if response.status_code == 400 and self._expand and "cursor" not in words.lower():
            left = _served(self._expand, response.text)
            if not 0 < len(left) < len(self._expand):
                raise ExpandRefusedError(words)
            self._expand = left if set(self._expand) - set(left) <= _NOT_IN_PLAIN else ()
            return self._list(query, parameters)
        if response.status_code == 400 and any(name == "cursor" for name, _ in parameters):
            raise CursorRefusedError(words)
        if response.status_code != 200:
            what = f"{self._endpoint} answers the listing with {response.status_code} {words[:200]}"
            raise RepositoryUnavailable(what)
        return _Rows(_rows(response), _next_cursor(response), _sent_at(response))


def _served(asked: Sequence[str], refusal: str) -> tuple[str, ...]:
    """What a refusal of `expand` names among the valid fields."""
    _, expected, valid = refusal.partition("xpected")
    before = re.split(r"received", valid, maxsplit=1)[0]
    # in JSON the quotes around the names are escaped
    names = set(re.findall(r"\\?[\"'](\w+)\\?[\"']", before)) if expected else set()
    return tuple(field for field in asked if field in names)


def _rows(response: httpx2.Response) -> tuple[Listed, ...]:
    try:
        rows = response.json()
    except (ValueError, RecursionError):
        raise TryAgain(f"{response.url.host}: a page of the listing is not JSON") from None
    if not isinstance(rows, list):
        raise TryAgain(f"{response.url.host}: a page of the listing is not a list")
    return tuple(listed_row(row) for row in rows if named(row))


def _last_time(rows: tuple[Listed, ...], order: Parameters) -> datetime | None:
    """The last row's creation or modification, by which a page is sorted; None where it is not."""
    by_creation = order == _OLDEST_FIRST
    times = [row.created_at if by_creation else row.last_modified for row in rows]
    known = [time for time in times if time is not None]
    in_order = len(known) == len(rows) and known == sorted(known, reverse=not by_creation)
    return known[-1] if known and in_order else None


def _is_before(moment: datetime, edge: datetime, order: Parameters) -> bool:
    """Whether a page in this order cannot stand behind one that ended at `edge`."""
    return moment < edge if order == _OLDEST_FIRST else moment > edge


def _goes_back(rows: tuple[Listed, ...], edge: datetime, order: Parameters) -> bool:
    times = [row.created_at if order == _OLDEST_FIRST else row.last_modified for row in rows]
    return any(time is not None and _is_before(time, edge, order) for time in times)


def _sent_at(response: httpx2.Response) -> datetime:
    try:
        moment = parsedate_to_datetime(response.headers.get("date", ""))
    except (ValueError, TypeError, IndexError, OverflowError):
        return datetime.now(UTC)
    return moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _next_cursor(response: httpx2.Response) -> str | None:
    """The cursor alone, not the link: it outlives a change of the page's size or the endpoint's name."""
    link = response.links.get("next", {}).get("url")
    if link is None:
        return None
    cursors = parse_qs(urlsplit(link).query).get("cursor")
    if not cursors:
        raise TryAgain(f"{response.url.host}: the link to the next page has no cursor")
    return cursors[0]
