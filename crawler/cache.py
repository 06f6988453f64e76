"""A source whose weights are kept on disk, so that what was read once is not asked of the Hub again.

Bytes are filed by the hash of the file they belong to where it is known: copies and later revisions with the same file
share them. Elsewhere by repository, commit and path. Everything but weights passes through.
"""

from __future__ import annotations

import copy
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from crawler.addresses import File
from crawler.chunk_store import CHUNK, Chunk, ChunkStore
from crawler.source import ByParts, Details, Listed, Page, Part, Query, Source, Wanted
from db.errors import Failure, RepositoryUnavailable, Transient

BATCH = 32 << 20  # bytes that are on their way from the source to disk and buffers at once, in one call
_REMEMBERED = 1 << 16  # files whose keys are kept

Content = Callable[[str, str, str], tuple[str, int] | None]
"""Repository, commit sha and path -> the file's hash (sha256 or Xet) and its size in bytes; None: not known."""


class CachedSource(ByParts):
    """`source`, satisfying crawler.source.Source like it, with at most `limit` bytes of weights under `folder`.

    The cache never gives wrong bytes and never stops anything: what it lost is fetched again, and where the disk is
    full nothing more is kept (crawler.chunk_store). Whoever may read the folder may read the weights.
    """

    def __init__(self, source: Source, folder: Path, limit: int, content: Content = lambda *_: None) -> None:
        self._source = source
        self._store = ChunkStore(folder, limit)
        self._content = content
        self._key = lru_cache(_REMEMBERED)(self._find_key)

    @property
    def name(self) -> str:
        """The source's own."""
        return self._source.name

    def pages(self, query: Query, cursor: str | None = None, *, newest_first: bool = False) -> Iterator[Page]:
        """The source's own."""
        return self._source.pages(query, cursor, newest_first=newest_first)

    def newest(self, query: Query) -> datetime | None:
        """The source's own."""
        return self._source.newest(query)

    def locate(self, name: str) -> Listed | None:
        """The source's own."""
        return self._source.locate(name)

    def details(self, name: str) -> Details:
        """The source's own."""
        return self._source.details(name)

    def size_of(self, name: str, sha: str, path: str) -> int:
        """As the source says."""
        return self._source.size_of(name, sha, path)

    def read_small(self, name: str, sha: str, path: str, limit: int) -> bytes:
        """The source's own."""
        return self._source.read_small(name, sha, path, limit)

    def close(self) -> None:
        """Closes the source."""
        self._source.close()

    def read_many(self, parts: Sequence[Wanted]) -> list[Failure | None]:
        """Fill the buffers from disk as far as they are there, from the source elsewhere, which is kept."""
        reading = _Reading(parts)
        batch: list[_Missing] = []
        size = 0
        for key, uses in reading.contents(self._key).items():
            for chunk in self._store.read(key, sorted(uses)):
                missing = reading.serve(key, chunk, uses[chunk.number])
                if missing is not None:
                    batch.append(missing)
                    size += len(missing.buffer)
                if size >= BATCH:
                    self._fetch(batch, reading)
                    batch, size = [], 0
        self._fetch(batch, reading)
        direct = sorted(reading.direct - reading.failed.keys())
        for number, failure in zip(direct, self._source.read_many([parts[number] for number in direct]), strict=True):
            if failure is not None:
                reading.failed[number] = failure
        return [reading.failed.get(number) for number in range(len(parts))]

    def _fetch(self, batch: Sequence[_Missing], reading: _Reading) -> None:
        """Chunks, or what they lack, from the source to the buffers and the disk.

        A chunk may hold more than a part wants, so parts whose chunk failed are read by themselves, unless the source
        has said that it does not give this file.
        """
        if not batch:
            return
        if not self._store.writable:
            reading.direct.update(use.part for one in batch for use in one.uses)
            return
        for one, failure in zip(batch, self._source.read_many([one.wanted for one in batch]), strict=True):
            if failure is None:
                reading.hand_out(one)
                self._store.write(one.key, one.chunk, one.buffer)
                continue
            final = isinstance(failure, Transient | RepositoryUnavailable)
            for use in one.uses:
                if final and reading.file(use.part) == (one.wanted.name, one.wanted.sha, one.wanted.path):
                    reading.failed.setdefault(use.part, copy.copy(failure))
                else:
                    reading.direct.add(use.part)

    def _find_key(self, name: str, sha: str, path: str) -> str:
        known = self._content(name, sha, path)
        parts = (self.name, name, sha, path) if known is None else ("content", known[0], str(known[1]))
        return hashlib.sha256("\0".join(parts).encode(errors="surrogatepass")).hexdigest()


@dataclass(frozen=True)
class _Use:
    """Bytes [low, high) of a chunk belong to a part."""

    part: int
    low: int
    high: int


@dataclass(frozen=True)
class _Missing:
    """What a chunk lacks of that which is wanted of it: the bytes behind those that are there."""

    key: str
    chunk: Chunk
    uses: Sequence[_Use]
    wanted: Part
    buffer: bytearray


class _Reading:
    """One call of `read_many`: its parts, and how it goes with them."""

    def __init__(self, parts: Sequence[Wanted]) -> None:
        self.parts = parts
        self.buffers = [part.buffer.cast("B") for part in parts]
        self.failed: dict[int, Failure] = {}
        self.direct: set[int] = set()  # parts to be read without the cache

    def file(self, number: int) -> File:
        part = self.parts[number]
        return part.name, part.sha, part.path

    def contents(self, key: Callable[[str, str, str], str]) -> dict[str, dict[int, list[_Use]]]:
        """By content and chunk, which parts want what of it."""
        found: dict[str, dict[int, list[_Use]]] = defaultdict(lambda: defaultdict(list))
        for number, (part, buffer) in enumerate(zip(self.parts, self.buffers, strict=True)):
            if part.start < 0:
                raise ValueError("a range of bytes starts at 0 or later")
            stop = part.start + len(buffer)
            uses = found[key(*self.file(number))]
            for chunk in range(part.start // CHUNK, -(-stop // CHUNK) if len(buffer) else 0):
                begin = chunk * CHUNK
                uses[chunk].append(_Use(number, max(part.start - begin, 0), min(stop - begin, CHUNK)))
        return found

    def serve(self, key: str, chunk: Chunk, uses: Sequence[_Use]) -> _Missing | None:
        """Hands out what is there of a chunk; what it lacks, if anything."""
        self._copy(uses, chunk.number, 0, chunk.data)
        have, needs = len(chunk.data), max(use.high for use in uses)
        if needs <= have:
            return None
        buffer = bytearray(needs - have)
        wanted = Part(*self.file(uses[0].part), chunk.number * CHUNK + have, memoryview(buffer))
        return _Missing(key, chunk, [use for use in uses if use.high > have], wanted, buffer)

    def hand_out(self, missing: _Missing) -> None:
        """What a chunk lacked has come."""
        self._copy(missing.uses, missing.chunk.number, len(missing.chunk.data), missing.buffer)

    def _copy(self, uses: Sequence[_Use], number: int, at: int, data: bytes | bytearray) -> None:
        """`data` are the bytes of a chunk from `at` on."""
        view = memoryview(data)
        for use in uses:
            low, high = max(use.low, at), min(use.high, at + len(data))
            if low < high:
                begin = number * CHUNK - self.parts[use.part].start
                self.buffers[use.part][begin + low : begin + high] = view[low - at : high - at]
