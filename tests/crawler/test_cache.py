"""A cache over a folder of files: it saves reads, and never changes what is read, whatever happens to its files."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import os
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crawler.cache import CachedSource
from crawler.chunk_store import CHUNK, ChunkStore
from crawler.folder import FolderSource
from crawler.source import Part, Query, Wanted
from db.errors import Failure, HeaderMalformed, SourceUnreachable, Transient

SIZE = 3 * CHUNK + 1000
CONTENTS = {name: random.Random(name).randbytes(SIZE) for name in ("org/a", "org/b", "org/c")}  # noqa: S311  # no secret
FILE = "model.safetensors"
PLENTY = 1 << 30


class Counting(FolderSource):
    """A folder that counts the bytes read from it, and of which files nothing can be had at times."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.read: list[tuple[str, int, int]] = []
        self.broken: dict[str, Exception] = {}

    def read_many(self, parts: Sequence[Wanted]) -> list[Failure | None]:
        found: list[Failure | None] = []
        for part in parts:
            self.read.append((part.name, part.start, part.start + len(part.buffer)))
            broken = self.broken.get(part.name)
            if isinstance(broken, Failure):
                found.append(broken)
                continue
            if broken is not None:
                raise broken
            found += super().read_many([part])
        return found

    @property
    def bytes(self) -> int:
        return sum(stop - start for _, start, stop in self.read)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for name, content in CONTENTS.items():
        (root / name).mkdir(parents=True)
        (root / name / FILE).write_bytes(content)
    return root


@pytest.fixture
def source(models: Path) -> Counting:
    return Counting(models)


def sha(source: FolderSource, name: str) -> str:
    return source.details(name).sha


def part(source: FolderSource, name: str, start: int, stop: int) -> Part:
    return Part(name, sha(source, name), FILE, start, memoryview(bytearray(b"x" * (stop - start))))


def right(part: Part) -> bool:
    return bytes(part.buffer) == CONTENTS[part.name][part.start : part.start + len(part.buffer)]


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("??/*"))


def used(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in files(folder))


def test_what_was_read_once_is_read_from_disk(source: Counting, tmp_path: Path) -> None:
    cached = CachedSource(source, tmp_path, PLENTY)
    commit = sha(source, "org/a")
    for start, stop in ((0, 100), (50, CHUNK + 10), (CHUNK + 10, SIZE), (0, SIZE), (5, 5)):
        assert cached.read_range("org/a", commit, FILE, start, stop) == CONTENTS["org/a"][start:stop]
    assert source.bytes == SIZE  # every byte once
    again = CachedSource(source, tmp_path, PLENTY)
    buffer = bytearray(SIZE)
    again.read_into("org/a", commit, FILE, 0, memoryview(buffer))
    assert buffer == CONTENTS["org/a"]
    assert source.bytes == SIZE
    with pytest.raises(ValueError, match="no range"):
        cached.read_range("org/a", commit, FILE, 5, 4)


def test_everything_else_passes_through(source: Counting, tmp_path: Path) -> None:
    cached = CachedSource(source, tmp_path, PLENTY)
    assert cached.name == source.name
    assert list(cached.pages(Query())) == list(source.pages(Query()))
    assert cached.details("org/a") == source.details("org/a")
    assert cached.locate("org/a") == source.locate("org/a")
    assert cached.newest(Query()) is None
    assert cached.read_small("org/a", sha(source, "org/a"), FILE, SIZE) == CONTENTS["org/a"]
    cached.close()
    assert files(tmp_path) == []


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_parts_are_right_however_the_cache_came_about(models: Path, data: st.DataObject) -> None:
    source = Counting(models)
    edges = st.one_of(st.integers(0, SIZE), st.sampled_from([0, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, SIZE]))
    ranges = st.lists(st.tuples(st.sampled_from(sorted(CONTENTS)), edges, edges), max_size=4)
    with tempfile.TemporaryDirectory() as folder:
        cached = CachedSource(source, Path(folder), data.draw(st.sampled_from([0, 3 * CHUNK, PLENTY])))
        for _ in range(data.draw(st.integers(1, 3))):
            parts = [part(source, name, min(a, b), max(a, b)) for name, a, b in data.draw(ranges)]
            assert cached.read_many(parts) == [None] * len(parts)
            assert all(map(right, parts))
            for path in files(Path(folder)):  # a bit flips, or a file ends early
                if path.stat().st_size and data.draw(st.booleans()):
                    damage(path, data.draw(st.integers(0, path.stat().st_size * 8 - 1)), data.draw(st.booleans()))


def damage(path: Path, bit: int, cut: bool) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content[: bit // 8] if cut else content)


def test_copies_and_later_revisions_with_the_same_file_share_it(source: Counting, tmp_path: Path) -> None:
    cached = CachedSource(source, tmp_path, PLENTY, lambda *_: ("sha256-of-it", SIZE))
    assert cached.read_range("org/a", sha(source, "org/a"), FILE, 0, SIZE) == CONTENTS["org/a"]
    source.broken["org/c"] = Transient("down")
    assert cached.read_range("org/c", "0" * 40, FILE, 7, SIZE) == CONTENTS["org/a"][7:]
    assert source.bytes == SIZE
    apart = CachedSource(source, tmp_path, PLENTY)
    assert apart.read_range("org/b", sha(source, "org/b"), FILE, 0, 10) == CONTENTS["org/b"][:10]


def test_a_part_that_cannot_be_had_fails_alone_as_it_would_without_the_cache(source: Counting, tmp_path: Path) -> None:
    cached = CachedSource(source, tmp_path, PLENTY)
    parts = [part(source, "org/a", 10, 20), part(source, "org/a", 30, SIZE + 5), part(source, "org/b", 0, 9)]
    parts += [part(source, "org/b", 20, 30), part(source, "org/c", SIZE - 10, SIZE), part(source, "org/c", SIZE, SIZE)]
    source.broken["org/b"] = Transient("down", model="org/b", file=FILE)
    found = cached.read_many(parts)
    assert [type(one).__name__ for one in found] == [
        "NoneType", "HeaderMalformed", "Transient", "Transient", "NoneType", "NoneType",
    ]  # fmt: skip
    assert isinstance(found[1], HeaderMalformed)
    assert str(found[1]) == f"org/a {FILE}: {found[1].message}: the file has {SIZE} bytes, expected at least {SIZE + 5}"
    assert found[2] is not found[3]
    assert right(parts[0])
    assert right(parts[4])
    source.broken["org/c"] = SourceUnreachable("gone")
    with pytest.raises(SourceUnreachable):
        cached.read_many([part(source, "org/c", 0, 1)])


def test_of_equal_files_one_that_cannot_be_had_does_not_stop_the_other(source: Counting, tmp_path: Path) -> None:
    cached = CachedSource(source, tmp_path, PLENTY, lambda *_: ("same", SIZE))
    source.broken["org/b"] = Transient("down", model="org/b", file=FILE)
    parts = [part(source, "org/b", 0, 9), part(source, "org/a", 0, 9)]
    found = cached.read_many(parts)
    assert [type(one) for one in found] == [Transient, type(None)]
    assert right(parts[1])


def test_the_least_recently_used_is_evicted_and_the_limit_holds(source: Counting, tmp_path: Path) -> None:
    limit = 8 * CHUNK
    cached = CachedSource(source, tmp_path, limit)
    for name in ("org/a", "org/b"):
        cached.read_range(name, sha(source, name), FILE, 0, SIZE)
        for path in files(tmp_path):  # what has been used so far was used long ago
            os.utime(path, (path.stat().st_mtime - 1000,) * 2)
    cached.read_range("org/a", sha(source, "org/a"), FILE, 0, 10)
    cached.read_range("org/c", sha(source, "org/c"), FILE, 0, SIZE)
    assert used(tmp_path) <= limit
    before = source.bytes
    assert cached.read_range("org/a", sha(source, "org/a"), FILE, 0, SIZE) == CONTENTS["org/a"]
    assert source.bytes == before
    assert cached.read_range("org/b", sha(source, "org/b"), FILE, 0, SIZE) == CONTENTS["org/b"]
    assert source.bytes == before + SIZE
    assert used(tmp_path) <= limit


def test_a_limit_too_small_for_anything_keeps_nothing_and_reads_on(source: Counting, tmp_path: Path) -> None:
    for limit in (0, 4096, CHUNK):
        cached = CachedSource(source, tmp_path, limit)
        for _ in range(2):
            assert cached.read_range("org/a", sha(source, "org/a"), FILE, 7, SIZE) == CONTENTS["org/a"][7:]
        assert used(tmp_path) <= limit


def test_other_files_in_the_folder_are_left_alone(source: Counting, tmp_path: Path) -> None:
    (tmp_path / "ab").mkdir()
    (tmp_path / "ab" / "theirs").write_bytes(bytes(CHUNK))
    cached = CachedSource(source, tmp_path, 2 * CHUNK)
    cached.read_range("org/a", sha(source, "org/a"), FILE, 0, SIZE)
    assert (tmp_path / "ab" / "theirs").exists()


def test_a_full_disk_is_said_once_and_nothing_stops(
    source: Counting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cached = CachedSource(source, tmp_path, PLENTY)
    commit = sha(source, "org/a")
    assert cached.read_range("org/a", commit, FILE, 0, 100) == CONTENTS["org/a"][:100]
    half = [True]
    real = os.pwrite

    def full(descriptor: int, data: memoryview, at: int) -> int:
        if half.pop() if half else False:
            return real(descriptor, data[: len(data) // 2], at)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with caplog.at_level(logging.WARNING):
        for name, content in CONTENTS.items():
            assert cached.read_range(name, sha(source, name), FILE, 0, SIZE) == content
    assert [record.message for record in caplog.records] == [
        f"nothing is kept in the cache {tmp_path} for now: No space left on device"
    ]
    monkeypatch.undo()
    again, before = CachedSource(source, tmp_path, PLENTY), source.bytes
    assert again.read_range("org/a", commit, FILE, 0, SIZE) == CONTENTS["org/a"]
    assert source.bytes == before + SIZE - 100


def test_a_disk_that_was_full_is_tried_again_later(tmp_path: Path) -> None:
    now = [0.0]
    (tmp_path / "file").write_text("not a folder")
    store = ChunkStore(tmp_path / "file" / "cache", PLENTY, clock=lambda: now[0])
    key = "ab" * 32

    def keep() -> bytes:
        (chunk,) = store.read(key, [0])
        store.write(key, chunk, b"bytes")
        (chunk,) = store.read(key, [0])
        return chunk.data

    assert keep() == b""
    (tmp_path / "file").unlink()
    assert not store.writable
    assert keep() == b""
    now[0] = 601
    assert keep() == b"bytes"


def test_a_chunk_that_was_put_elsewhere_is_not_believed(tmp_path: Path) -> None:
    store = ChunkStore(tmp_path, PLENTY)
    keys = ["ab" * 32, "ac" * 32]
    (chunk,) = store.read(keys[0], [0])
    store.write(keys[0], chunk, b"bytes")
    (path,) = files(tmp_path)
    other = Path(str(path).replace("ab", "ac"))
    other.parent.mkdir()
    path.rename(other)
    assert [chunk.data for key in keys for chunk in store.read(key, [0, 1])] == [b""] * 4
    with pytest.raises(ValueError, match="bytes"):
        store.write(keys[0], chunk, bytes(CHUNK + 1))


def read_much(models: Path, folder: Path, seed: int) -> None:
    """Runs in a process of its own."""
    chance, source = random.Random(seed), Counting(models)  # noqa: S311  # no secret
    cached = CachedSource(source, folder, 7 * CHUNK)  # two of three contents fit
    for _ in range(60):
        name = chance.choice(sorted(CONTENTS))
        start, stop = sorted(chance.sample(range(SIZE), 2))
        assert cached.read_range(name, sha(source, name), FILE, start, stop) == CONTENTS[name][start:stop]


def test_processes_share_a_folder(models: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    processes = [context.Process(target=read_much, args=(models, tmp_path, seed)) for seed in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert used(tmp_path) <= 7 * CHUNK * 5 // 4  # each notices the others after a sixteenth of it
