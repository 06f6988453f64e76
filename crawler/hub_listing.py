"""The Hub's listing, page by page from any cursor.

huggingface_hub's list_models follows the pages but hands out no cursor, so a crawl that was cut off could only begin
anew; hence our own requests. Parameters are those of https://huggingface.co/docs/hub/api, "GET /api/models".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2

from crawler.hub_rows import listed_row, named
from crawler.retry import TryAgain
from crawler.selection import follows
from crawler.source import Listed, Page, Query
from db.errors import SourceUnreachable, Transient

PAGE_SIZE = 1000
# siblings tell only names, but names tell the weights' formats
EXPAND = (
    "author", "baseModels", "cardData", "config", "createdAt", "disabled", "downloads", "gated", "lastModified",
    "library_name", "likes", "pipeline_tag", "private", "safetensors", "sha", "siblings", "tags",
)  # fmt: skip
_PLAIN = (("full", "true"), ("config", "true"), ("cardData", "true"))  # what stands for it where it is refused
_OLDEST_FIRST = (("sort", "createdAt"), ("direction", "1"))
_NEWEST_CREATED = (("sort", "createdAt"), ("direction", "-1"))
_NEWEST_FIRST = (("sort", "lastModified"), ("direction", "-1"))

Parameters = Sequence[tuple[str, str]]
Get = Callable[[str, Parameters], httpx2.Response]
"""One request for (path, parameters): its reply, or TryAgain where it is worth another try."""


@dataclass(frozen=True)
class _Rows:
    """One reply: the rows that have a name, and the cursor to the next."""

    rows: tuple[Listed, ...]
    following: str | None


class CursorRefusedError(Exception):
    """The Hub does not know this cursor (any more)."""


class HubListing:
    """Walks the listing at `endpoint`; `again` runs a call until its tries are used up."""

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
        while True:
            if cursor is not None:
                used.add(cursor)
            try:
                found = self._tried(partial(self._checked, query, order, cursor, used))
            except CursorRefusedError:
                if not at_start or cursor is None:
                    raise SourceUnreachable(f"{self._endpoint} refuses the cursor that it gave") from None
                cursor, at_start = None, False
                continue
            at_start = False
            rows = tuple(row for row in found.rows if follows(row, query.architectures))[:left]
            left = None if left is None else left - len(rows)
            cursor = found.following if left != 0 else None
            yield Page(rows, cursor, _oldest(found.rows) if newest_first else None)
            if cursor is None:
                return

    def newest(self, query: Query) -> datetime | None:
        """The last modification that the listing knows of."""
        found: _Rows = self._tried(partial(self._list, query, (*_NEWEST_FIRST, ("limit", "1"))))
        return found.rows[0].last_modified if found.rows else None

    def _tried(self, call: Callable[[], _Rows]) -> _Rows:
        """The result of a call, tried again; nothing of a listing can be done without it."""
        try:
            found: _Rows = self._again(call)
        except Transient as error:
            raise SourceUnreachable(f"{error.detail}; the same command goes on from here") from error
        return found

    def _checked(self, query: Query, order: Parameters, cursor: str | None, used: set[str]) -> _Rows:
        """One page. Raises TryAgain where its cursor leads back, or it is the last and should not be."""
        size = self._page_size if query.limit is None or query.architectures else min(self._page_size, query.limit)
        limit = ("limit", str(max(size, 1)))
        found = self._list(query, (*order, limit, *((("cursor", cursor),) if cursor else ())))
        if found.following is not None and found.following in used:
            raise TryAgain(f"{self._endpoint}: the listing repeats its cursor {found.following[:80]}")
        if found.following is None and query.limit is None and order == _OLDEST_FIRST:
            self._check_end(query, found.rows)
        return found

    def _check_end(self, query: Query, last: tuple[Listed, ...]) -> None:
        """What was created last must be on the last page: else repositories would count as removed."""
        times = [row.created_at for row in last if row.created_at is not None]
        if len(times) != len(last) or not times or times != sorted(times):
            return  # this Hub does not sort
        newest = self._list(query, (*_NEWEST_CREATED, ("limit", "1"))).rows
        if newest and newest[0].created_at is not None and newest[0].created_at > times[-1]:
            raise TryAgain(f"{self._endpoint}: the listing ends at {last[-1].name}, before {newest[0].name}")

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
            self._expand = left if len(left) < len(self._expand) else ()
            return self._list(query, parameters)
        if response.status_code == 400 and any(name == "cursor" for name, _ in parameters):
            raise CursorRefusedError
        if response.status_code != 200:
            raise SourceUnreachable(f"{self._endpoint} answers the listing with {response.status_code} {words[:200]}")
        return _Rows(_rows(response), _next_cursor(response))


def _served(asked: Sequence[str], refusal: str) -> tuple[str, ...]:
    """What a refusal of `expand` names among the valid fields."""
    _, expected, valid = refusal.partition("xpected")
    names = set(re.findall(r"[\"'](\w+)[\"']", re.split(r"received", valid, maxsplit=1)[0])) if expected else set()
    return tuple(field for field in asked if field in names)


def _rows(response: httpx2.Response) -> tuple[Listed, ...]:
    try:
        rows = response.json()
    except (ValueError, RecursionError):
        raise TryAgain(f"{response.url.host}: a page of the listing is not JSON") from None
    if not isinstance(rows, list):
        raise TryAgain(f"{response.url.host}: a page of the listing is not a list")
    return tuple(listed_row(row) for row in rows if named(row))


def _oldest(rows: tuple[Listed, ...]) -> datetime | None:
    """The earliest modification on a page that is sorted by it, backwards; None where that is not so."""
    times = [row.last_modified for row in rows if row.last_modified is not None]
    return times[-1] if times and len(times) == len(rows) and times == sorted(times, reverse=True) else None


def _next_cursor(response: httpx2.Response) -> str | None:
    """The cursor alone, not the link: it outlives a change of the page's size or the endpoint's name."""
    link = response.links.get("next", {}).get("url")
    if link is None:
        return None
    cursors = parse_qs(urlsplit(link).query).get("cursor")
    if not cursors:
        raise TryAgain(f"{response.url.host}: the link to the next page has no cursor")
    return cursors[0]
