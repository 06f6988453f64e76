"""Local files that are held open between reads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from crawler import open_files
from crawler.open_files import OpenFiles, read_at


def opener(path: Path, opened: list[Path]) -> Callable[[], BinaryIO]:
    def open_it() -> BinaryIO:
        opened.append(path)
        return path.open("rb", buffering=0)

    return open_it


def test_a_file_is_opened_once_for_many_reads_and_again_when_it_may_have_been_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(100)))
    files, opened = OpenFiles(), []
    buffer = memoryview(bytearray(10))
    for start in range(0, 100, 10):
        with files.lent("key", opener(path, opened)) as descriptor:
            assert read_at(descriptor, start, buffer) == 10
        assert bytes(buffer) == bytes(range(start, start + 10))
    assert opened == [path]
    monkeypatch.setattr(open_files, "_SECONDS", -1.0)
    with files.lent("key", opener(path, opened)) as descriptor:
        assert read_at(descriptor, 95, buffer) == 5
    assert opened == [path, path]
    files.close()


def test_descriptors_are_closed_when_they_are_one_too_many_but_not_while_they_are_read(tmp_path: Path) -> None:
    files, opened = OpenFiles(), []
    (tmp_path / "0").write_bytes(b"first")
    with files.lent(0, opener(tmp_path / "0", opened)) as first:
        for number in range(1, 300):
            (tmp_path / str(number)).write_bytes(b"x")
            with files.lent(number, opener(tmp_path / str(number), opened)):
                pass
        buffer = memoryview(bytearray(5))
        assert read_at(first, 0, buffer) == 5
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(first)
    files.close()


def test_several_threads_read_from_one_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(1 << 16))
    content, files, wrong = path.read_bytes(), OpenFiles(), []

    def read(seed: int) -> None:
        buffer = memoryview(bytearray(100))
        for start in range(seed, 60_000, 997):
            with files.lent("key", lambda: path.open("rb", buffering=0)) as descriptor:
                read_at(descriptor, start, buffer)
            if bytes(buffer) != content[start : start + 100]:
                wrong.append(start)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    files.close()
