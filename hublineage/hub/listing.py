"""The listing: which repositories, in which order, and the cursor from page to page."""

from __future__ import annotations

import base64
import binascii
import json
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hublineage.hub.rows import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from hublineage.hub.folder import Folder
    from hublineage.hub.repository import Repository
    from hublineage.hub.rows import View

SORTS = ("createdAt", "downloads", "lastModified", "likes", "trendingScore")
PAGE_LIMIT = 1000

Key = int | str  # of one sort always the same type: times are ISO text


@dataclass(frozen=True)
class Filters:
    """What a repository must satisfy to be listed; empty fields ask for nothing."""

    author: str | None = None
    search: str | None = None
    tags: tuple[str, ...] = ()  # all must match
    gated: bool | None = None
    pipeline_tag: str | None = None

    def accept(self, folder: Folder, repository: Repository) -> bool:
        """Whether the repository is listed."""
        name, gated = repository.name.lower(), repository.sidecar.gated is not None
        if (self.author is not None and repository.author != self.author) or self.gated not in (None, gated):
            return False
        if self.search is not None and not all(word in name for word in self.search.lower().split()):
            return False
        if not self.tags and self.pipeline_tag is None:
            return True
        metadata = folder.metadata(repository)
        known = set(metadata.tags)
        return all(tag in known or known.issuperset(tag.split(",")) for tag in self.tags) and (
            self.pipeline_tag in (None, metadata.pipeline_tag)
        )


@dataclass(frozen=True)
class Cursor:
    """The last row of the page before: a keyset on (sort key, _id), so that pages neither skip nor repeat."""

    key: Key
    hub_id: str

    def encode(self, sort: str, *, ascending: bool) -> str:
        """Base64 of the query that the Hub would put to its database for the next page."""
        beyond = "$gt" if ascending else "$lt"
        query = {"$or": [{sort: self.key, "_id": {"$gt": self.hub_id}}, {sort: {beyond: self.key}}, {sort: None}]}
        return base64.b64encode(json.dumps(query, separators=(",", ":")).encode()).decode()

    @staticmethod
    def decode(text: str, sort: str) -> Cursor:
        """Reads what `encode` wrote. Raises ValueError where it is no cursor or one of another sort."""
        try:
            first = json.loads(base64.b64decode(text, validate=True))["$or"][0]
            key, hub_id = first[sort], first["_id"]["$gt"]
        except (binascii.Error, ValueError, RecursionError, KeyError, IndexError, TypeError) as error:
            raise ValueError("not a cursor of this listing") from error
        if not isinstance(hub_id, str) or type(key) is not (str if sort in {"createdAt", "lastModified"} else int):
            raise ValueError("not a cursor of this listing")
        return Cursor(key, hub_id)


@dataclass(frozen=True)
class Page:
    """Some rows of a listing and the cursor to the next page, None at the end."""

    repositories: tuple[Repository, ...]
    following: str | None


def page(
    view: View,
    filters: Filters,
    is_visible: Callable[[Repository], bool],
    *,
    sort: str = "trendingScore",
    ascending: bool = False,
    limit: int = PAGE_LIMIT,
    cursor: str | None = None,
) -> Page:
    """One page of the visible repositories that `filters` accept, by (sort key, _id).

    Costs a search for its first row and a walk over its own. Raises ValueError for a bad cursor.
    """
    after = Cursor.decode(cursor, sort) if cursor is not None else None
    keyed = view.snapshot.ordered(sort, lambda repository: FIELDS[sort](view, repository), ascending=ascending)
    start = 0
    if after is not None:
        start = bisect_left(keyed, True, key=lambda item: _is_beyond(item[0], item[1], after, ascending=ascending))
    shown: list[tuple[Any, str, Repository]] = []
    for position in range(start, len(keyed)):
        item = keyed[position]
        if is_visible(item[2]) and filters.accept(view.folder, item[2]):
            if len(shown) >= limit:
                following = Cursor(*shown[-1][:2]).encode(sort, ascending=ascending) if shown else None
                return Page(tuple(repository for _, _, repository in shown), following)
            shown.append(item)
    return Page(tuple(repository for _, _, repository in shown), None)


def _is_beyond(key: Any, hub_id: str, after: Cursor, *, ascending: bool) -> bool:
    if key == after.key:
        return hub_id > after.hub_id
    return bool(key > after.key) is ascending


def tree_page(
    entries: Sequence[tuple[bool, str]], limit: int, cursor: str | None
) -> tuple[Sequence[tuple[bool, str]], str | None]:
    """One page of a tree's (is a file, path) entries and the cursor to the next. Raises ValueError for a bad cursor."""
    if cursor is not None:
        try:
            kind, path = json.loads(base64.urlsafe_b64decode(cursor))
            after = (bool(kind), str(path))
        except (binascii.Error, ValueError, RecursionError, TypeError) as error:
            raise ValueError("not a cursor of this tree") from error
        entries = [entry for entry in entries if entry > after]
    shown = entries[:limit]
    more = len(entries) > limit > 0
    return shown, base64.urlsafe_b64encode(json.dumps(shown[-1]).encode()).decode() if more else None


def gated_filter(text: str | None) -> bool | None:
    """The `gated` parameter. Raises ValueError for anything but true, false or nothing."""
    choices: dict[str | None, Literal[True, False] | None] = {None: None, "true": True, "false": False}
    lowered = text.lower() if text is not None else None
    if lowered not in choices:
        raise ValueError("gated: expected true or false")
    return choices[lowered]
