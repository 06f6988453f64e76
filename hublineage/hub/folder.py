"""The served folder: its repositories by name, looked at anew where something may have changed."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from db.errors import UsageError
from hublineage.hub.content import Ids, Scan, scan, tree_ids
from hublineage.hub.metadata import Metadata, describe
from hublineage.hub.repository import Repository, Revision
from hublineage.hub.sidecar import SIDECAR_NAME, Sidecar, read_sidecar
from hublineage.hub.snapshot import Snapshot
from hublineage.hub.stamps import Stamp, is_settled, look, now_ns

if TYPE_CHECKING:
    pass

_NAME_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")  # what the client accepts, less what is hidden
_CHEAP_LOOK = 0.02  # seconds: a look at the whole folder that takes no longer is taken for every page
_LOOK_SHARE = 10  # else one may be this many times as old as a look takes ...
_OLDEST_LOOK = 5.0  # ... but not older than this, in seconds


@dataclass(frozen=True)
class _Seen:
    """A repository and what to compare to learn that it is still the same."""

    repository: Repository
    stamps: tuple[Stamp, ...]
    is_stable: bool

    def is_current(self) -> bool:
        return self.is_stable and self.repository.is_settled and all(found.is_current() for found in self.stamps)


class Folder:
    """A folder of `org/name/` model folders, looked at anew by every call; what is costly is remembered.

    `xet`: large files are Xet-backed unless a sidecar says otherwise. Raises UsageError where there is no such folder.
    The methods may be called from several threads.
    """

    def __init__(self, root: Path | str, *, xet: bool = False) -> None:
        self.root = Path(root).resolve()
        if not self.root.is_dir():
            raise UsageError(f"{root} is not a folder")
        self.ids = Ids()
        self._xet = xet
        self._served: dict[str, tuple[Stamp, frozenset[str]]] = {}
        self._seen: dict[str, _Seen] = {}
        self._revisions: dict[str, tuple[Repository, Revision]] = {}
        self._metadata: dict[str, tuple[Repository, Metadata]] = {}
        self._snapshot: Snapshot | None = None
        self._looked_at, self._look_takes = 0.0, 0.0  # seconds
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """The names of all repositories, sorted."""
        return sorted(f"{org}/{name}" for org in self._folders("") for name in self._folders(org))

    def snapshot(self, *, may_be_old: bool = False) -> Snapshot:
        """All repositories, the same object as long as nothing changed.

        `may_be_old`: the last look will do where looking takes long and not more than a tenth of all time is to go
        into it.
        """
        with self._lock:
            began = time.monotonic()
            allowed = min(self._look_takes * _LOOK_SHARE, _OLDEST_LOOK) if self._look_takes > _CHEAP_LOOK else 0.0
            known = self._snapshot
            if known is not None and may_be_old and began - self._looked_at < allowed:
                return known
            found = [repository for name in self.names() if (repository := self._load(name)) is not None]
            if known is None or not _are_same(known.repositories, found):
                self._snapshot = known = Snapshot(found)
            else:
                self._look_takes = time.monotonic() - began  # a look that finds nothing new: what it costs as a rule
            self._looked_at = time.monotonic()
            return known

    def find(self, name: str) -> Repository | None:
        """The repository of exactly this name."""
        org, _, short = name.partition("/")
        return self._load(name) if org in self._folders("") and short in self._folders(org) else None

    def right_name(self, name: str) -> str | None:
        """The name of the repository that had `name` (which may be bare) or differs from it in nothing but case."""
        return self.snapshot().right_name(name)

    def is_xet(self, repository: Repository) -> bool:
        """Whether the large files of a repository are Xet-backed."""
        return self._xet if repository.sidecar.xet is None else repository.sidecar.xet

    def revision(self, repository: Repository) -> Revision:
        """The revision of a repository; hashes its files once. Raises OSError where they changed meanwhile."""
        known = self._revisions.get(repository.name)
        if known is None or (known[0] is not repository and not _is_same_revision(known[0], repository)):
            trees = tree_ids({file.path: self.ids.of(file).git_sha1 for file in repository.files})
            commit = f"tree {trees['']}\nrepository {repository.first_name}\n".encode()
            known = (repository, Revision(hashlib.sha1(commit, usedforsecurity=False).hexdigest(), trees))
            if repository.is_settled:
                self._revisions[repository.name] = known
        return known[1]

    def metadata(self, repository: Repository) -> Metadata:
        """What the Hub derives from a repository's files."""
        known = self._metadata.get(repository.name)
        if known is None or (known[0] is not repository and known[0] != repository):
            known = (repository, describe(repository.by_path, repository.sidecar))
            if repository.is_settled:
                self._metadata[repository.name] = known
        return known[1]

    def _load(self, name: str) -> Repository | None:
        known = self._seen.get(name)
        if known is not None and known.is_current():
            return known.repository
        began = now_ns()
        folder = self.root / name
        try:
            of_sidecar = look(str(folder / SIDECAR_NAME))  # before it is read: what comes later shows
            sidecar = read_sidecar(folder / SIDECAR_NAME)
            found = scan(folder, self.root)
            seen = self._see(name, found, sidecar, of_sidecar, began)
        except OSError:  # removed since it was named
            self._seen.pop(name, None)
            return None
        if known is not None and known.repository.is_settled and known.repository == seen.repository:
            seen = _Seen(known.repository, seen.stamps, seen.is_stable)
        self._seen[name] = seen
        return seen.repository

    def _see(self, name: str, found: Scan, sidecar: Sidecar, of_sidecar: Stamp, began: int) -> _Seen:
        stamps = (of_sidecar, *found.stamps)
        mtime = found.stamps[0].mtime_ns  # the folder's own
        return _Seen(Repository(name, found.files, sidecar, mtime, is_settled(stamps, began)), stamps, found.is_stable)

    def _folders(self, parent: str) -> frozenset[str]:
        """Names of the folders inside `parent` ("" is the root) that are served, from a listing of it.

        Not by a look at each path: some file systems ignore the case of names.
        """
        path = os.path.join(self.root, parent) if parent else str(self.root)  # noqa: PTH118  # see stamps.look
        known = self._served.get(parent)
        if known is not None and known[0].is_current():
            return known[1]
        began, before = now_ns(), look(path)
        names, has_links = set(), False
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    has_links = has_links or entry.is_symlink()
                    if self._is_served(entry):
                        names.add(entry.name)
        except OSError:
            pass
        found = frozenset(names)
        if is_settled((before,), began) and not has_links:
            self._served[parent] = (before, found)
        return found

    def _is_served(self, entry: os.DirEntry[str]) -> bool:
        """Whether this is a folder, has a name that a Hub could give, and does not lead out of the root by a link."""
        if not _NAME_PART.fullmatch(entry.name) or not entry.is_dir():
            return False
        return not entry.is_symlink() or Path(entry.path).resolve().is_relative_to(self.root)


def _are_same(before: tuple[Repository, ...], after: list[Repository]) -> bool:
    return len(before) == len(after) and all(one is other for one, other in zip(before, after, strict=True))


def _is_same_revision(one: Repository, other: Repository) -> bool:
    return one.files == other.files and one.first_name == other.first_name
