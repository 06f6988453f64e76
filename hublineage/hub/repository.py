"""A repository of the served folder and its one revision."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from hublineage.hub.content import StoredFile
from hublineage.hub.sidecar import Sidecar

if TYPE_CHECKING:
    from collections.abc import Mapping

_LATEST = 2**32 - 1  # seconds that fit into an ObjectId


@dataclass(frozen=True)
class Repository:
    """One model folder as it was at one moment."""

    name: str  # org/name
    files: tuple[StoredFile, ...]  # by path
    sidecar: Sidecar
    folder_mtime_ns: int
    is_settled: bool = field(default=True, compare=False)  # False: so young that a change might leave no trace

    @cached_property
    def by_path(self) -> Mapping[str, StoredFile]:
        """The files by path."""
        return {file.path: file for file in self.files}

    @property
    def author(self) -> str:
        """The organisation."""
        return self.name.partition("/")[0]

    @property
    def first_name(self) -> str:
        """The oldest of its former names, else its name: what a renamed repository keeps its ids by."""
        return self.sidecar.former_names[0] if self.sidecar.former_names else self.name

    @cached_property
    def created_at(self) -> datetime:
        """The sidecar's time, else the oldest file's."""
        return self.sidecar.created_at or _time(min(self._times()))

    @cached_property
    def last_modified(self) -> datetime:
        """The sidecar's time, else the newest file's."""
        return self.sidecar.last_modified or _time(max(self._times()))

    def _times(self) -> list[int]:
        return [file.mtime_ns for file in self.files] or [self.folder_mtime_ns]

    @cached_property
    def hub_id(self) -> str:
        """24 hexadecimal digits: the sidecar's, else those of the creation's second and of a digest of the name."""
        if self.sidecar.hub_id is not None:
            return self.sidecar.hub_id
        seconds = min(max(int(self.created_at.timestamp()), 0), _LATEST)
        return f"{seconds:08x}{hashlib.sha256(self.first_name.encode()).hexdigest()[:16]}"


def _time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


@dataclass(frozen=True)
class Revision:
    """The content of a repository, named."""

    sha: str  # 40 hexadecimal digits, from the first name and every path and byte
    trees: Mapping[str, str]  # git's tree id of every folder, "" is the root
