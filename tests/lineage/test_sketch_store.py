"""Projections on disk: what was kept is found as it was or not at all, within a limit, by several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lineage.projection import Projection
from lineage.sketch_store import SketchStore

SHAPE = (30, 50)
GIB = 1 << 30


def projection(seed: int, dtype: type = np.float32) -> Projection:
    random = np.random.default_rng(seed)
    values = random.standard_normal((30, 8)).astype(dtype)
    return Projection(lambda first, stop: values[first:stop], random.random(30), 50, 8, 7)


def check(found: Projection | None, kept: Projection) -> None:
    assert found is not None
    np.testing.assert_array_equal(found.read(0, 30), kept.read(0, 30))
    np.testing.assert_array_equal(found.read(7, 9), kept.read(7, 9))
    np.testing.assert_array_equal(found.noise, kept.noise)
    assert (found.rows, found.columns, found.probes, found.significand) == (30, 50, 8, 7)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_was_kept_is_found_by_its_content_shape_and_probes(tmp_path: Path, dtype: type) -> None:
    store, kept = SketchStore(tmp_path, GIB), projection(1, dtype)
    assert store.find(b"content", SHAPE, 8) is None
    assert not store.has(b"content", SHAPE, 8)
    store.keep(b"content", SHAPE, kept)
    assert store.has(b"content", SHAPE, 8)
    check(SketchStore(tmp_path, GIB).find(b"content", SHAPE, 8), kept)
    found = store.find(b"content", SHAPE, 8)
    assert found is not None
    assert found.read(0, 1).dtype == dtype
    assert store.find(b"other", SHAPE, 8) is None
    assert store.find(b"content", (50, 30), 8) is None
    assert store.find(b"content", SHAPE, 9) is None
    assert oct(files(tmp_path)[0].stat().st_mode)[-3:] == "600"


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "longer"])
def test_a_damaged_file_is_absent_and_can_be_written_again(tmp_path: Path, damage: str) -> None:
    store = SketchStore(tmp_path, GIB)
    store.keep(b"content", SHAPE, projection(1))
    (path,) = files(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"cut": content[:-1], "flipped": content, "empty": b"", "longer": content + b"0"}[damage])
    assert store.find(b"content", SHAPE, 8) is None
    store.keep(b"content", SHAPE, projection(2))
    check(store.find(b"content", SHAPE, 8), projection(2))


def test_the_least_recently_used_go_where_the_limit_is_reached(tmp_path: Path) -> None:
    store = SketchStore(tmp_path, 6_000)  # of 1,232 bytes each
    for number in range(4):
        store.keep(bytes([number]), SHAPE, projection(number))
        os.utime(max(files(tmp_path), key=lambda path: path.stat().st_ctime_ns), (1_000 + number, 1_000 + number))
    check(store.find(b"\0", SHAPE, 8), projection(0))  # used now
    for number in (4, 5):
        store.keep(bytes([number]), SHAPE, projection(number))
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 6_000
    assert [store.has(bytes([number]), SHAPE, 8) for number in range(6)] == [True, False, False, True, True, True]


def test_nothing_larger_than_the_limit_is_kept(tmp_path: Path) -> None:
    SketchStore(tmp_path, 100).keep(b"content", SHAPE, projection(1))
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("no folder")
    store = SketchStore(tmp_path / "file", GIB)
    store.keep(b"content", SHAPE, projection(1))
    store.keep(b"other", SHAPE, projection(1))
    assert store.find(b"content", SHAPE, 8) is None
    assert len(caplog.records) == 1


def test_what_a_killed_process_left_unfinished_goes_when_it_is_old(tmp_path: Path) -> None:
    store = SketchStore(tmp_path, GIB)
    store.keep(b"content", SHAPE, projection(1))
    young, old = (files(tmp_path)[0].with_name(name) for name in (".young", ".old"))
    young.write_bytes(b"half")
    old.write_bytes(b"half")
    os.utime(old, (0, 0))
    SketchStore(tmp_path, GIB).keep(b"other", SHAPE, projection(2))
    assert young.exists()
    assert not old.exists()


WRITER = """
import sys
import numpy as np
from pathlib import Path
from lineage.projection import Projection
from lineage.sketch_store import SketchStore
store = SketchStore(Path(sys.argv[1]), 20_000)
for turn in range(60):
    for number in range(20):
        values = np.full((30, 8), number, dtype=np.float32)
        store.keep(bytes([number]), (30, 50), Projection(lambda a, b: values[a:b], np.ones(30), 50, 8, 7))
        found = store.find(bytes([number]), (30, 50), 8)
        assert found is None or (found.read(0, 30) == number).all()
"""


def test_several_processes_share_a_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 20_000 + 2 * 1_232
