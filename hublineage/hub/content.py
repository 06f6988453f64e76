"""The files of a repository and the ids that git and LFS give them."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hublineage.hub.sidecar import SIDECAR_NAME
from hublineage.hub.stamps import Stamp, is_old, now_ns, stamp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LFS_SIZE = 10_000_000  # bytes: larger files are always stored by LFS, as the Hub demands
# fmt: off
LFS_SUFFIXES = frozenset({  # those of the .gitattributes that the Hub gives a new repository
    ".7z", ".arrow", ".bin", ".bz2", ".ckpt", ".ftz", ".gguf", ".gz", ".h5", ".joblib", ".mlmodel", ".model",
    ".msgpack", ".npy", ".npz", ".onnx", ".ot", ".parquet", ".pb", ".pickle", ".pkl", ".pt", ".pth", ".rar",
    ".safetensors", ".tar", ".tflite", ".tgz", ".wasm", ".xz", ".zip", ".zst",
})
# fmt: on
_NOT_CONTENT = frozenset({".git", ".cache"})  # folders that git and the client's downloads leave behind
_CHUNK = 1 << 20


@dataclass(frozen=True, order=True)
class StoredFile:
    """One file of a repository as it lay in the folder at one moment."""

    path: str  # relative to the repository, with "/"
    size: int  # bytes
    mtime_ns: int
    location: Path  # where its bytes are: inside the served folder, symbolic links resolved
    inode: int  # tells files of one size and moment apart, when folders change names
    ctime_ns: int = field(default=0, compare=False)

    @property
    def is_lfs(self) -> bool:
        """Whether the Hub would keep it outside git: large, or of a kind that `.gitattributes` names by default."""
        by_suffix = os.path.splitext(self.path)[1].lower() in LFS_SUFFIXES  # noqa: PTH122  # a Hub path, not a local one
        return self.size > LFS_SIZE or (by_suffix and self.size > 0)

    def is_unchanged(self, stat: os.stat_result) -> bool:
        """Whether `stat`, taken later, still describes these bytes."""
        return (stat.st_size, stat.st_mtime_ns, stat.st_ino) == (self.size, self.mtime_ns, self.inode)


@dataclass(frozen=True)
class FileIds:
    """What identifies a file's content."""

    git_sha1: str  # of the blob in git: for an LFS file that of its pointer
    sha256: str | None  # of the content, LFS files only
    pointer_size: int | None  # bytes of the LFS pointer

    @property
    def etag(self) -> str:
        """The id that the Hub gives as X-Linked-Etag: sha256 for LFS files, git's otherwise."""
        return self.sha256 or self.git_sha1

    @property
    def xet_hash(self) -> str | None:
        """64 hexadecimal digits that stand for a Xet hash: equal for equal content, but not Xet's own algorithm."""
        return hashlib.sha256(b"xet " + self.sha256.encode()).hexdigest() if self.sha256 else None


class Ids:
    """Ids of files, computed once for each (location, inode, size, mtime)."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[StoredFile, FileIds]] = {}
        self._lock = threading.Lock()

    def of(self, file: StoredFile) -> FileIds:
        """The ids of a file. Raises OSError where it is gone or changed since it was listed."""
        ids = self._look(file)
        if ids is None:
            with self._lock:  # two requests for one file must not hash it twice
                ids = self._look(file)
                if ids is None:
                    began = now_ns()
                    ids = _compute(file)
                    if is_old(file.ctime_ns, began):
                        self._known[file.location] = (file, ids)
        return ids

    def _look(self, file: StoredFile) -> FileIds | None:
        known = self._known.get(file.location)
        if known is None or (known[0] is not file and not _same_content(known[0], file)):
            return None
        return known[1]


def _same_content(one: StoredFile, other: StoredFile) -> bool:
    """Whether nothing but the path in the repository differs; is_lfs depends on that."""
    return (one.size, one.mtime_ns, one.inode, one.is_lfs) == (other.size, other.mtime_ns, other.inode, other.is_lfs)


def _compute(file: StoredFile) -> FileIds:
    digest = hashlib.sha256() if file.is_lfs else _git_hasher(b"blob", file.size)
    with file.location.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
        if not file.is_unchanged(os.fstat(stream.fileno())):
            raise OSError(f"{file.path} changed while it was read")
    if not file.is_lfs:
        return FileIds(digest.hexdigest(), None, None)
    sha256 = digest.hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {file.size}\n".encode()
    return FileIds(_git_id(b"blob", pointer), sha256, len(pointer))


def _git_hasher(kind: bytes, size: int) -> hashlib._Hash:
    # git names objects by sha1: an address, not a protection
    return hashlib.sha1(kind + b" " + str(size).encode() + b"\0", usedforsecurity=False)


def _git_id(kind: bytes, content: bytes) -> str:
    digest = _git_hasher(kind, len(content))
    digest.update(content)
    return digest.hexdigest()


@dataclass(frozen=True)
class Scan:
    """The files of a repository, and what to compare to learn that they are still the same."""

    files: tuple[StoredFile, ...]  # by path
    stamps: tuple[Stamp, ...]  # of every file and folder that was looked at
    is_stable: bool  # False with symbolic links: what they lead to changes without a trace here


def scan(folder: Path, root: Path) -> Scan:
    """The files of a repository.

    Left out: the sidecar, folders of git and of the client's cache, linked folders, links that lead out of `root`, what
    is not a readable plain file, and names that are not UTF-8 (the API could not say them).
    """
    walk = _Walk(root)
    walk.enter(str(folder), "")
    return Scan(tuple(sorted(walk.files, key=lambda file: file.path)), tuple(walk.stamps), walk.is_stable)


class _Walk:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: list[StoredFile] = []
        self.stamps: list[Stamp] = []
        self.is_stable = True

    def enter(self, folder: str, prefix: str) -> None:
        self.stamps.append(stamp(folder, os.stat(folder)))  # before its entries: what comes later shows  # noqa: PTH116
        with os.scandir(folder) as entries:
            for entry in entries:
                path = prefix + entry.name
                if path == SIDECAR_NAME or not _is_utf8(entry.name):
                    continue
                with suppress(OSError, RuntimeError):  # gone meanwhile, a link to nowhere, a circle of links
                    self._take(entry, path)

    def _take(self, entry: os.DirEntry[str], path: str) -> None:
        if entry.is_symlink():
            self.is_stable = False
        if entry.is_dir(follow_symlinks=False):
            if path not in _NOT_CONTENT:
                self.enter(entry.path, path + "/")
            return
        location = Path(entry.path).resolve(strict=True) if entry.is_symlink() else Path(entry.path)
        if entry.is_file() and location.is_relative_to(self.root):
            stat = entry.stat()
            self.stamps.append(stamp(entry.path, stat))
            if os.access(location, os.R_OK):
                self.files.append(
                    StoredFile(path, stat.st_size, stat.st_mtime_ns, location, stat.st_ino, stat.st_ctime_ns)
                )


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def tree_ids(blobs: Mapping[str, str]) -> dict[str, str]:
    """The git tree ids of every folder of a revision ("" is the root), from the blob ids of its files by path.

    Source: git's object format, https://git-scm.com/book/en/v2/Git-Internals-Git-Objects.
    """
    children: defaultdict[str, dict[str, str]] = defaultdict(dict)  # folder -> name -> blob id, "" for a folder
    children[""] = {}
    for path, blob in blobs.items():
        folder, _, name = path.rpartition("/")
        children[folder][name] = blob
        while folder:
            folder, _, name = folder.rpartition("/")
            children[folder][name] = ""
    trees: dict[str, str] = {}
    for folder in sorted(children, key=lambda path: path.count("/") + bool(path), reverse=True):  # deepest first
        trees[folder] = _git_id(b"tree", b"".join(_tree_entries(folder, children[folder], trees)))
    return trees


def _tree_entries(folder: str, children: Mapping[str, str], trees: Mapping[str, str]) -> Iterable[bytes]:
    for name in sorted(children, key=lambda name: (name if children[name] else name + "/").encode()):
        inner = f"{folder}/{name}" if folder else name
        mode, git_id = ("100644", children[name]) if children[name] else ("40000", trees[inner])
        yield f"{mode} {name}\0".encode() + bytes.fromhex(git_id)
