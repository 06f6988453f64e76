"""All repositories of the served folder at one moment, findable by any name and in any order."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hublineage.hub.repository import Repository

    Keyed = tuple[Any, str, Repository]  # the key that it is sorted by, _id, repository


class Snapshot:
    """Repositories by name; what is derived from all of them is derived once."""

    def __init__(self, repositories: Sequence[Repository]) -> None:
        self.repositories = tuple(repositories)
        self._orders: dict[tuple[str, bool], Sequence[Keyed]] = {}
        self._lock = threading.Lock()

    @cached_property
    def by_name(self) -> Mapping[str, Repository]:
        """The repositories by name."""
        return {repository.name: repository for repository in self.repositories}

    @cached_property
    def _other_names(self) -> Mapping[str, str]:
        """Right names by other ones: former names before the same name in another case."""
        found: dict[str, str] = {}
        for repository in self.repositories:
            for former in repository.sidecar.former_names:
                found.setdefault(former, repository.name)
        for repository in self.repositories:
            found.setdefault(repository.name.lower(), repository.name)
        for repository in self.repositories:
            for former in repository.sidecar.former_names:
                found.setdefault(former.lower(), repository.name)
        return found

    def find(self, name: str) -> Repository | None:
        """The repository that has this name or had it, or has it in another case."""
        return self.by_name.get(name) or self.by_name.get(self.right_name(name) or "")

    def right_name(self, name: str) -> str | None:
        """The name of the repository that had `name` (which may be bare) or differs from it in nothing but case."""
        return self._other_names.get(name) or self._other_names.get(name.lower())

    def ordered(self, sort: str, key: Callable[[Repository], Any], *, ascending: bool) -> Sequence[Keyed]:
        """The repositories by (key, _id); descending, the ids of equal keys still ascend. `sort` names the key."""
        with self._lock:
            known = self._orders.get((sort, ascending))
            if known is None:
                keyed = [(key(repository), repository.hub_id, repository) for repository in self.repositories]
                keyed.sort(key=lambda item: item[1])
                keyed.sort(key=lambda item: item[0], reverse=not ascending)  # stable
                known = self._orders[sort, ascending] = keyed
        return known
