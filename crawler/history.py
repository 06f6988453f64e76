"""A repository's history, as far as it may tell of a duplication on the server: its first and its newest title.

Our own requests, two for a long history: the client's list_repo_commits reads all of it, and without a timeout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import httpx2

from crawler.plain import plain_text
from crawler.retry import TryAgain
from db.errors import RepositoryUnavailable


@dataclass(frozen=True)
class Commits:
    """A page of a history: titles, the newest first, and how many commits there are in all."""

    titles: tuple[str, ...]
    total: int


def first_and_newest(page: Callable[[int], Commits]) -> tuple[str, ...]:
    """The titles of the first commit and of the newest, the first one first; none where the Hub does not say."""
    newest = page(0)
    if not newest.titles or newest.total <= len(newest.titles):
        return tuple(dict.fromkeys((*newest.titles[-1:], *newest.titles[:1])))
    first = page((newest.total - 1) // len(newest.titles))
    return tuple(dict.fromkeys((*first.titles[-1:], newest.titles[0])))


def read_commits(response: httpx2.Response, name: str) -> Commits:
    """The commits in a reply. Raises RepositoryUnavailable where they are refused, TryAgain where it is none at all."""
    if response.status_code != 200:
        raise RepositoryUnavailable(f"its history is refused with {response.status_code}", model=name)
    try:
        rows = response.json()
    except (ValueError, RecursionError):
        rows = None
    if not isinstance(rows, list):
        raise TryAgain("the Hub's answer is no history", model=name)
    if not rows:  # each commit has a history, if only itself
        raise RepositoryUnavailable("its history is empty", model=name)
    titles = (row.get("title") for row in rows if isinstance(row, dict))
    found = tuple(plain_text(title) for title in titles if isinstance(title, str))
    total = response.headers.get("x-total-count", "")
    return Commits(found, int(total) if total.isascii() and total.isdigit() and len(total) < 9 else len(found))
