"""A folder of `org/name/` model folders as a source.

Hidden files and truth.json do not belong to a model. Links are followed where they lead to files, as in
huggingface_hub's cache, and at the levels of org and name; a linked folder within a model is passed over. What a Hub
would know beside the files may stand in `.hub.json`: created_at, last_modified, likes, downloads, gated, disabled,
private, tags, pipeline_tag, library_name, commit_title.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

from crawler.cards import parse_card
from crawler.hub_rows import listed_row, mapping
from crawler.open_files import OpenFiles, read_at
from crawler.plain import plain, plain_text
from crawler.selection import follows
from crawler.small import missing_file, too_large
from crawler.source import Details, Listed, Page, Query, RemoteFile, Wanted
from db.errors import Failure, HeaderMalformed, RepositoryUnavailable, SourceUnreachable, Transient

SIDECAR = ".hub.json"
SMALL = 1_000_000  # bytes: content below this is part of a revision's sha, above it the time of the last change is
PAGE_SIZE = 500
_NOT_OF_THE_MODEL = frozenset(("truth.json",))


@dataclass(frozen=True)
class _File:
    path: str
    location: Path
    size: int
    changed: int  # nanoseconds since 1970


def folder_name(path: Path | str) -> str:
    """The name of a folder as a source, its file: address, whether it is there or not."""
    return Path(path).expanduser().resolve().as_uri()


class FolderSource:
    """The models under `path`, satisfying crawler.source.Source. Raises SourceUnreachable where it is no folder."""

    def __init__(self, path: Path | str) -> None:
        self._root = Path(path).expanduser().resolve()
        self._files = OpenFiles()
        self._known: dict[tuple[str, str], dict[str, _File]] = {}  # (repository, sha) -> files as they were listed
        if not self._root.is_dir():
            raise SourceUnreachable(f"{self._root} is not a folder")

    request_bytes = 1 << 18

    @property
    def name(self) -> str:
        """The folder's file: address."""
        return folder_name(self._root)

    def pages(self, query: Query, cursor: str | None = None, *, newest_first: bool = False) -> Iterator[Page]:  # noqa: ARG002
        """The models by name; the cursor is the last name of the page before. Tags are those of `.hub.json`."""
        if query.ids:
            yield Page(tuple(Listed(name) for name in dict.fromkeys(query.ids))[: query.limit], None)
            return
        rows: list[Listed] = []
        left = query.limit
        names = [name for name in self._names() if cursor is None or name > cursor]
        for number, name in enumerate(names):
            if left == 0:
                break
            row = self._row(name)
            if _matches(row, query):
                rows.append(row)
                left = None if left is None else left - 1
            if len(rows) == PAGE_SIZE and number + 1 < len(names) and left != 0:
                yield Page(tuple(rows), name)
                rows = []
        yield Page(tuple(rows), None)

    def newest(self, query: Query) -> datetime | None:  # noqa: ARG002
        """None: a folder says what it holds, not what has changed."""
        return None

    def locate(self, name: str) -> Listed | None:
        """The model of that name."""
        try:
            self._folder(name)
        except RepositoryUnavailable:
            return None
        return self._row(name)

    def details(self, name: str) -> Details:
        """Files with their sizes; the sha256 of those that are small. The revision's sha is a digest of them all."""
        folder = self._folder(name)
        files = {file.path: file for file in _scan(folder, folder)}
        digest = hashlib.sha256()
        remote = []
        for file in files.values():
            content_sha = hashlib.sha256(self._content(name, file)).hexdigest() if file.size < SMALL else None
            digest.update(f"{file.path}\0{file.size}\0{content_sha or file.changed}\n".encode())
            remote.append(RemoteFile(file.path, file.size, sha256=content_sha))
        sha = digest.hexdigest()[:40]
        self._known[name, sha] = files
        card = files.get("README.md")
        card_data = parse_card(self._content(name, card)).data if card and card.size < SMALL else None
        listed = replace(self._row(name), sha=sha)
        title = _object(folder / SIDECAR).get("commit_title")
        return Details(
            listed=listed,
            sha=sha,
            files=tuple(remote),
            config=_object(folder / "config.json") or None,
            card_data=card_data,
            commit_titles=(plain_text(title),) if isinstance(title, str) else (),
        )

    def size_of(self, name: str, sha: str, path: str) -> int:
        """The file's size now."""
        with self._open(name, sha, path) as stream:
            return os.fstat(stream.fileno()).st_size

    def read_small(self, name: str, sha: str, path: str, limit: int) -> bytes:
        """A whole small file."""
        with self._open(name, sha, path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > limit:
                raise too_large(name, path, limit, size)
            content = stream.read(limit + 1) or b""
        if len(content) > limit:
            raise too_large(name, path, limit)
        return content

    def read_range(self, name: str, sha: str, path: str, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a file. Raises ValueError for a negative range."""
        if not 0 <= start <= stop:
            raise ValueError(f"[{start}, {stop}) is no range of bytes")
        with self._lent(name, sha, path) as descriptor:
            _check_end(descriptor, stop, name, path)
            buffer = bytearray(stop - start)
            _fill(descriptor, start, memoryview(buffer), name, path)
        return bytes(buffer)

    def read_into(self, name: str, sha: str, path: str, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes from `start` on."""
        target = buffer.cast("B")
        with self._lent(name, sha, path) as descriptor:
            _check_end(descriptor, start + len(target), name, path)
            _fill(descriptor, start, target, name, path)

    def read_many(self, parts: Sequence[Wanted]) -> list[Failure | None]:
        """Fill the buffers one after the other: a disk gains nothing from larger or parallel reads."""
        found: list[Failure | None] = []
        for part in parts:
            try:
                self.read_into(part.name, part.sha, part.path, part.start, part.buffer)
                found.append(None)
            except Failure as failure:
                found.append(failure)
        return found

    def close(self) -> None:
        """Close what is held open."""
        self._files.close()

    def _names(self) -> list[str]:
        try:
            return sorted(
                f"{org.name}/{model.name}" for org in _folders(self._root) for model in _folders(Path(org.path))
            )
        except OSError as error:
            raise SourceUnreachable(f"{error.filename or self._root}: {error.strerror}") from error

    def _folder(self, name: str) -> Path:
        parts = name.split("/")
        folder = self._root.joinpath(*parts)
        if len(parts) != 2 or any(not part or part.startswith(".") or "\0" in part for part in parts):
            raise RepositoryUnavailable("this is not a repository's name", model=name)
        if not folder.is_dir():
            raise RepositoryUnavailable(f"it is not in {self._root}", model=name)
        return folder

    def _row(self, name: str) -> Listed:
        folder = self._root / name
        known = _object(folder / SIDECAR)
        config = _object(folder / "config.json")
        times = {"createdAt": known.get("created_at"), "lastModified": known.get("last_modified")}
        row = listed_row({**known, **times, "id": name, "config": config, "sha": None, "_id": None})
        return replace(row, name=name, author=name.partition("/")[0])

    def _lent(self, name: str, sha: str, path: str) -> AbstractContextManager[int]:
        return self._files.lent((name, sha, path), lambda: self._open(name, sha, path))

    def _open(self, name: str, sha: str, path: str) -> BinaryIO:
        folder = self._folder(name)
        row = _object(folder / SIDECAR)
        if row.get("gated") or row.get("disabled"):
            raise RepositoryUnavailable("it is gated" if row.get("gated") else "it is disabled", model=name, file=path)
        parts = path.split("/")
        if any(part in ("", ".", "..") or part.startswith(".") or "\0" in part for part in parts):
            raise missing_file(name, path)
        if (name, sha) not in self._known:
            self.details(name)
        if (name, sha) not in self._known:
            raise Transient("the folder has changed since it was listed", model=name, file=path)
        try:
            stream = folder.joinpath(*parts).open("rb", buffering=0)
        except OSError as error:
            if isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
                raise missing_file(name, path) from None
            raise RepositoryUnavailable(f"the file cannot be read: {error.strerror}", model=name, file=path) from error
        listed = self._known[name, sha].get(path)
        size = os.fstat(stream.fileno()).st_size
        if listed is not None and listed.size != size:
            stream.close()
            raise Transient(f"the file has {size} bytes, it had {listed.size} when listed", model=name, file=path)
        return stream

    def _content(self, name: str, file: _File) -> bytes:
        try:
            return file.location.read_bytes()
        except OSError as error:
            raise RepositoryUnavailable(f"cannot be read: {error.strerror}", model=name, file=file.path) from error


def _folders(root: Path) -> list[os.DirEntry[str]]:
    with os.scandir(root) as entries:
        return [
            entry for entry in entries if not entry.name.startswith(".") and _is_text(entry.name) and _is_folder(entry)
        ]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _scan(folder: Path, root: Path) -> Iterator[_File]:
    """Regular files in the order of their paths; pipes and devices would block, linked folders might be circles."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise RepositoryUnavailable(f"{folder}: {error.strerror}", model="/".join(root.parts[-2:])) from error
    for entry in entries:
        if entry.name.startswith(".") or entry.name in _NOT_OF_THE_MODEL or not _is_text(entry.name):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _scan(Path(entry.path), root)
            continue
        try:
            found = entry.stat()
        except OSError:  # a link to nowhere
            continue
        if stat.S_ISREG(found.st_mode):
            path = Path(entry.path)
            yield _File(path.relative_to(root).as_posix(), path, found.st_size, found.st_mtime_ns)


def _is_text(name: str) -> bool:
    return plain_text(name) == name


def _object(path: Path) -> dict[str, Any]:
    """A small JSON object, {} where there is none that can be read: whoever needs the file reads it and is told why."""
    try:
        if not path.is_file() or path.stat().st_size > SMALL:
            return {}
        return mapping(plain(json.loads(path.read_bytes()))) or {}
    except (OSError, ValueError, RecursionError):
        return {}


def _matches(row: Listed, query: Query) -> bool:
    words = (query.search or "").lower().split()
    return (
        query.author in (None, row.author)
        and all(word in row.name.lower() for word in words)
        and set(query.tags) <= set(row.tags)
        and follows(row, query.architectures)
    )


def _check_end(descriptor: int, stop: int, name: str, path: str) -> None:
    """Before anything is allocated or read."""
    size = os.fstat(descriptor).st_size
    if stop > size:
        raise HeaderMalformed(f"the file has {size} bytes, expected at least {stop}", model=name, file=path)


def _fill(descriptor: int, start: int, target: memoryview, name: str, path: str) -> None:
    count = read_at(descriptor, start, target)
    if count < len(target):
        raise Transient(f"the file ended at byte {start + count} while it was read", model=name, file=path)
