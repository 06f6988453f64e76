"""The served folder as repositories `org/name` and their one revision each."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from db.errors import UsageError
from hublineage.hub.content import Ids, StoredFile, scan, tree_ids
from hublineage.hub.metadata import Metadata, describe
from hublineage.hub.sidecar import SIDECAR_NAME, Sidecar, read_sidecar

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NAME_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")  # what the client accepts, less what is hidden
_LATEST = 2**32 - 1  # seconds that fit into an ObjectId


@dataclass(frozen=True)
class Repository:
    """One model folder as it was at one moment."""

    name: str  # org/name
    files: tuple[StoredFile, ...]  # by path
    sidecar: Sidecar
    folder_mtime_ns: int

    @cached_property
    def by_path(self) -> Mapping[str, StoredFile]:
        """The files by path."""
        return {file.path: file for file in self.files}

    @property
    def author(self) -> str:
        """The organisation."""
        return self.name.partition("/")[0]

    @property
    def created_at(self) -> datetime:
        """The sidecar's time, else the oldest file's."""
        return self.sidecar.created_at or _time(min(self._times()))

    @property
    def last_modified(self) -> datetime:
        """The sidecar's time, else the newest file's."""
        return self.sidecar.last_modified or _time(max(self._times()))

    def _times(self) -> list[int]:
        return [file.mtime_ns for file in self.files] or [self.folder_mtime_ns]

    @property
    def hub_id(self) -> str:
        """24 hexadecimal digits as of an ObjectId: the seconds of `created_at`, then a digest of the name."""
        seconds = min(max(int(self.created_at.timestamp()), 0), _LATEST)
        return f"{seconds:08x}{hashlib.sha256(self.name.encode()).hexdigest()[:16]}"


def _time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)


@dataclass(frozen=True)
class Revision:
    """The content of a repository, named."""

    sha: str  # 40 hexadecimal digits, from the name and every path and byte
    trees: Mapping[str, str]  # git's tree id of every folder, "" is the root


class Folder:
    """A folder of `org/name/` model folders, looked at anew by every call; what is costly is remembered.

    Raises UsageError where there is no such folder. The methods may be called from several threads.
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).resolve()
        if not self.root.is_dir():
            raise UsageError(f"{root} is not a folder")
        self.ids = Ids()
        self._revisions: dict[str, tuple[Repository, Revision]] = {}
        self._metadata: dict[str, tuple[Repository, Metadata]] = {}

    def names(self) -> list[str]:
        """The names of all repositories, sorted."""
        return sorted(f"{org}/{name}" for org in self._folders(self.root) for name in self._folders(self.root / org))

    def repositories(self) -> Iterator[Repository]:
        """All repositories, by name."""
        for name in self.names():
            repository = self._load(name)
            if repository is not None:
                yield repository

    def find(self, name: str) -> Repository | None:
        """The repository of exactly this name."""
        org, _, short = name.partition("/")
        return self._load(name) if self._has(self.root, org) and self._has(self.root / org, short) else None

    def right_name(self, name: str) -> str | None:
        """The name of a repository that differs from `name` in nothing but case."""
        asked_org, _, asked = name.lower().partition("/")
        for org in sorted(org for org in self._folders(self.root) if org.lower() == asked_org):
            for short in sorted(short for short in self._folders(self.root / org) if short.lower() == asked):
                return f"{org}/{short}"
        return None

    def revision(self, repository: Repository) -> Revision:
        """The revision of a repository; hashes its files once. Raises OSError where they changed meanwhile."""
        known = self._revisions.get(repository.name)
        if known is None or known[0].files != repository.files:
            trees = tree_ids({file.path: self.ids.of(file).git_sha1 for file in repository.files})
            commit = f"tree {trees['']}\nrepository {repository.name}\n".encode()
            known = (repository, Revision(hashlib.sha1(commit, usedforsecurity=False).hexdigest(), trees))
            self._revisions[repository.name] = known
        return known[1]

    def metadata(self, repository: Repository) -> Metadata:
        """What the Hub derives from a repository's files."""
        known = self._metadata.get(repository.name)
        if known is None or known[0] != repository:
            known = (repository, describe(repository.by_path, repository.sidecar))
            self._metadata[repository.name] = known
        return known[1]

    def _load(self, name: str) -> Repository | None:
        folder = self.root / name
        try:
            sidecar = read_sidecar(folder / SIDECAR_NAME)
            return Repository(name, scan(folder, self.root), sidecar, folder.stat().st_mtime_ns)
        except OSError:  # removed since it was named
            return None

    def _folders(self, parent: Path) -> list[str]:
        """Names of the folders inside `parent` that are served."""
        try:
            with os.scandir(parent) as entries:
                return [entry.name for entry in entries if self._is_served(entry)]
        except OSError:
            return []

    def _has(self, parent: Path, name: str) -> bool:
        try:
            with os.scandir(parent) as entries:  # a look at the path itself would ignore case on some systems
                return any(entry.name == name and self._is_served(entry) for entry in entries)
        except OSError:
            return False

    def _is_served(self, entry: os.DirEntry[str]) -> bool:
        """Whether this is a folder, has a name that a Hub could give, and does not lead out of the root by a link."""
        if not _NAME_PART.fullmatch(entry.name) or not entry.is_dir():
            return False
        return not entry.is_symlink() or Path(entry.path).resolve().is_relative_to(self.root)
