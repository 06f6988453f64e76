"""Projections of matrices on disk, so that the rank of a later difference needs no byte of the matrices again.

One file per content: filed by the digest of the tensor's values, its shape, the probes' number and seed, so that equal
tensors share it. A file is written beside its place and renamed into it, and begins with a crc32 of all that follows:
whatever a crash, a torn write or another program left there reads as absent. Several processes may share a folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import struct
import tempfile
import threading
import time
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lineage.projection import Projection
from lineage.rank import SEED

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = struct.Struct("<IIQQII")  # crc32 of the rest, bytes per number, rows, columns, probes, significand
_SUFFIX = ".projection1"  # the format's number
_KEPT = 0.9  # of the limit, where something had to be removed: not every write is to do it again
_TOUCH = 60.0  # seconds: the time of the last use is no more exact
_LOST = 3600.0  # seconds after which a file that was never renamed belongs to nobody
_CHUNK = 1 << 20
_LOG = logging.getLogger(__name__)


class SketchStore:
    """Projections under `folder`, at most `limit` bytes of them; for many threads and processes.

    Never raises for what the disk does: what cannot be read is absent, what cannot be written is not kept (one warning
    says so). What other processes wrote is noticed after a sixteenth of the limit at the latest.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._lock = threading.Lock()
        self._used: int | None = None  # None: not looked yet
        self._written = 0  # bytes since the folder was looked at
        self._broken = False

    def find(self, digest: bytes, shape: tuple[int, int], probes: int) -> Projection | None:
        """What is kept of a matrix with these values, verified and in memory."""
        path = self._path(digest, shape, probes)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        found = _parsed(content, shape, probes)
        if found is None:
            path.unlink(missing_ok=True)
            return None
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > _TOUCH:
                os.utime(path)  # the least recently used are removed first
        return found

    def has(self, digest: bytes, shape: tuple[int, int], probes: int) -> bool:
        """Whether something is kept of it; `find` tells whether it is whole."""
        return self._path(digest, shape, probes).exists()

    def keep(self, digest: bytes, shape: tuple[int, int], projection: Projection) -> None:
        """Keep a matrix's projection."""
        path = self._path(digest, shape, projection.probes)
        with self._lock:
            broken = self._broken
        if broken or path.exists():
            return
        try:
            self._write(path, projection)
        except OSError as error:
            with self._lock:
                self._broken = True
            _LOG.warning("no sketches are kept in %s from here on: %s", self._folder, error.strerror or error)

    def _path(self, digest: bytes, shape: tuple[int, int], probes: int) -> Path:
        text = f"{SEED} {probes} {shape[0]}x{shape[1]} ".encode() + digest
        name = hashlib.blake2b(text, digest_size=20).hexdigest()
        return self._folder / name[:2] / f"{name}{_SUFFIX}"

    def _write(self, path: Path, projection: Projection) -> None:
        itemsize = projection.read(0, 1).dtype.itemsize
        if not self._make_room(_HEAD.size + projection.rows * (8 + itemsize * projection.probes)):
            return
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = tempfile.mkstemp(prefix=".", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                rest = _HEAD.pack(0, itemsize, *_sizes(projection))[4:] + _noise(projection)
                crc = zlib.crc32(rest)
                file.write(bytes(4) + rest)
                for rows in _numbers(projection):
                    crc = zlib.crc32(rows, crc)
                    file.write(rows)
                file.seek(0)
                file.write(crc.to_bytes(4, "little"))
            Path(temporary).replace(path)
        finally:
            Path(temporary).unlink(missing_ok=True)

    def _make_room(self, size: int) -> bool:
        """Count `size` bytes more as used; False where they do not fit, whatever is removed."""
        with self._lock:
            if size > self._limit:
                return False
            if self._used is None or self._used + size > self._limit or self._written >= self._limit // 16:
                self._used, self._written = self._remove(size), 0
            self._used += size
            self._written += size
            return True

    def _remove(self, size: int) -> int:
        """Remove the least recently used files where `size` bytes do not fit beside all; bytes used thereafter.

        Two processes may do so at once: then a file too many goes.
        """
        found = sorted(self._files())
        used = sum(bytes_ for _, bytes_, _ in found)
        if used + size <= self._limit:
            return used
        for _, freed, path in found:
            path.unlink(missing_ok=True)
            used -= freed
            if used + size <= self._limit * _KEPT:
                break
        return used

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Time of the last use, size and path of each file; those that a killed process left behind go."""
        for path in self._folder.glob("[0-9a-f][0-9a-f]/*"):
            with contextlib.suppress(FileNotFoundError):  # removed by another process
                status = path.stat()
                if path.name.endswith(_SUFFIX):
                    yield status.st_mtime, status.st_size, path
                elif time.time() - status.st_mtime > _LOST:
                    path.unlink()


def _sizes(projection: Projection) -> tuple[int, int, int, int]:
    return projection.rows, projection.columns, projection.probes, projection.significand


def _noise(projection: Projection) -> bytes:
    return projection.noise.astype("<f8").tobytes()


def _numbers(projection: Projection) -> Iterator[bytes]:
    """The projection's numbers, some rows at a time."""
    step = max(1, _CHUNK // (8 * projection.probes))
    for first in range(0, projection.rows, step):
        rows = projection.read(first, min(first + step, projection.rows))
        yield rows.astype(rows.dtype.newbyteorder("<"), copy=False).tobytes()


def _parsed(content: bytes, shape: tuple[int, int], probes: int) -> Projection | None:
    """The projection that a file holds; None where it is not whole or not of such a matrix."""
    if len(content) < _HEAD.size:
        return None
    crc, itemsize, rows, columns, count, significand = _HEAD.unpack_from(content)
    whole = len(content) == _HEAD.size + rows * (8 + count * itemsize) and itemsize in {4, 8}
    if not whole or (rows, columns) != shape or count != probes or zlib.crc32(memoryview(content)[4:]) != crc:
        return None
    noise = np.frombuffer(content, "<f8", rows, _HEAD.size)
    values = np.frombuffer(content, f"<f{itemsize}", offset=_HEAD.size + 8 * rows).reshape(rows, count)
    return Projection(lambda first, stop: values[first:stop], noise, columns, probes, significand)
