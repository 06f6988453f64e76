"""Bytes of files on disk, in chunks that prove themselves, within a limit.

One sparse file per content, a slot per chunk: how many bytes of the chunk are there, from its beginning on, a crc32 of
them, and the bytes. The crc32 begins with the content's key and the chunk's number, so that whatever a crash, a torn
write, a flipped bit or another program left there reads as absent and never as other bytes. Several processes may share
a folder: slots of one content are only ever filled with the same bytes, and who evicts holds a lock.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

CHUNK = 256 << 10  # bytes: what a read in the middle of an unknown stretch may have to fetch besides
PAUSE = 600.0  # seconds without writing after the disk refused, as it may have room again
_ENTRY = struct.Struct("<II")  # bytes that are there, their crc32
_SLOT = _ENTRY.size + CHUNK
_BLOCK = 4096  # what disks allocate at least
_KEPT = 0.9  # of the limit, where something had to be evicted: not every write is to do it again
_TOUCH = 60.0  # seconds: the time of the last use is no more exact
_SUFFIX = ".chunks1"  # the format's number
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Chunk:
    """The verified beginning of a chunk."""

    number: int
    data: bytes
    crc: int  # what the crc32 of further bytes goes on from


class ChunkStore:
    """Chunks of contents under `folder`, at most `limit` bytes on disk; for many threads.

    Never raises for what the disk does: what cannot be read is absent, what cannot be written is not kept (one warning
    says so). Other processes' writes are noticed after a sixteenth of the limit at the latest.
    """

    def __init__(self, folder: Path, limit: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._used: int | None = None  # bytes on disk, as far as known; None: not looked yet
        self._written = 0  # bytes since the folder was looked at
        self._paused_until = float("-inf")
        self._warned = False

    @property
    def writable(self) -> bool:
        """Whether it is worth bringing bytes to be kept."""
        return self._limit > 0 and self._clock() >= self._paused_until

    def read(self, key: str, numbers: Iterable[int]) -> Iterator[Chunk]:
        """What is there of each of these chunks of a content, verified; empty data where nothing is."""
        descriptor = self._open(key)
        try:
            for number in numbers:
                yield _read(descriptor, key, number)
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def write(self, key: str, chunk: Chunk, more: bytes | bytearray) -> None:
        """Keep `more` behind what was there of a chunk when it was read."""
        have = len(chunk.data)
        if have + len(more) > CHUNK:
            raise ValueError(f"a chunk has {CHUNK} bytes")
        try:
            if not self._make_room(len(more) + 2 * _BLOCK):
                return
            path = self._path(key)
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                at = chunk.number * _SLOT
                _write(descriptor, more, at + _ENTRY.size + have)
                _write(descriptor, _ENTRY.pack(have + len(more), zlib.crc32(more, chunk.crc)), at)
            finally:
                os.close(descriptor)
        except OSError as error:
            self._pause(error)

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}{_SUFFIX}"

    def _open(self, key: str) -> int | None:
        try:
            descriptor = os.open(self._path(key), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            if time.time() - os.fstat(descriptor).st_mtime > _TOUCH:
                os.utime(descriptor)  # the least recently used are evicted first
        except OSError:  # not ours to touch; it can be read nevertheless
            pass
        return descriptor

    def _pause(self, error: OSError) -> None:
        with self._lock:
            self._paused_until = self._clock() + PAUSE
            self._used = None
            warned, self._warned = self._warned, True
        if not warned:
            _LOG.warning("nothing is kept in the cache %s for now: %s", self._folder, error.strerror or error)

    def _make_room(self, size: int) -> bool:
        """Counts `size` bytes more as used; False where they do not fit, whatever is evicted."""
        with self._lock:
            if size > self._limit or not self.writable:
                return False
            if self._used is None or self._used + size > self._limit or self._written >= self._limit // 16:
                self._used, self._written = self._evict(size), 0
            if self._used + size > self._limit:
                return False
            self._used += size
            self._written += size
            return True

    def _evict(self, size: int) -> int:
        """Removes the least recently used contents where `size` bytes do not fit beside all; bytes used thereafter."""
        with self._only_one():
            found = sorted(self._contents())
            used = sum(size for _, size, _ in found)
            if used + size <= self._limit:
                return used
            for _, freed, path in found:
                Path(path).unlink(missing_ok=True)
                used -= freed
                if used + size <= self._limit * _KEPT:
                    break
            return used

    def _contents(self) -> Iterator[tuple[float, int, str]]:
        """Time of the last use, bytes on disk and path of each content."""
        for path in self._folder.glob(f"[0-9a-f][0-9a-f]/*{_SUFFIX}"):
            try:
                status = path.stat()
            except FileNotFoundError:  # evicted by another process
                continue
            yield status.st_mtime, status.st_blocks * 512, str(path)

    @contextmanager
    def _only_one(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _read(descriptor: int | None, key: str, number: int) -> Chunk:
    begun = zlib.crc32(f"{key} {number}".encode())
    if descriptor is not None:
        try:
            entry = os.pread(descriptor, _ENTRY.size, number * _SLOT)
            length, crc = _ENTRY.unpack(entry) if len(entry) == _ENTRY.size else (0, 0)
            if 0 < length <= CHUNK:
                data = os.pread(descriptor, length, number * _SLOT + _ENTRY.size)
                if len(data) == length and zlib.crc32(data, begun) == crc:
                    return Chunk(number, data, crc)
        except OSError:  # a bad sector is as good as nothing
            pass
    return Chunk(number, b"", begun)


def _write(descriptor: int, data: bytes | bytearray, at: int) -> None:
    left = memoryview(data)
    while left:
        count = os.pwrite(descriptor, left, at)
        left, at = left[count:], at + count
