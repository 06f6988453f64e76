"""Local files that are held open between reads of their parts: opening one costs more than reading a small part."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO

_MOST = 256  # files that are open at once, beside those that are being read: a process may have 1,024 at least
_SECONDS = 1.0  # afterwards a file is opened anew: it may have been replaced


@dataclass(eq=False)
class _Open:
    descriptor: int
    since: float
    readers: int = 0
    kept: bool = True


class OpenFiles:
    """Descriptors by key, for several threads; each is closed when it is old or one too many, and read by nobody."""

    def __init__(self) -> None:
        self._files: OrderedDict[Hashable, _Open] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def lent(self, key: Hashable, opened: Callable[[], BinaryIO]) -> Iterator[int]:
        """A descriptor of the key's file, opened by `opened` where none is held; raises what that raises."""
        file = self._taken(key) or self._new(key, opened())
        try:
            yield file.descriptor
        finally:
            with self._lock:
                file.readers -= 1
                self._close_unused(file)

    def close(self) -> None:
        """Close all that nobody reads; the others are closed by their readers."""
        with self._lock:
            while self._files:
                self._drop(next(iter(self._files)))

    def __del__(self) -> None:
        """Whoever forgets to close a source leaves nothing open."""
        self.close()

    def _taken(self, key: Hashable) -> _Open | None:
        with self._lock:
            file = self._files.get(key)
            if file is None:
                return None
            if time.monotonic() - file.since > _SECONDS:
                self._drop(key)
                return None
            self._files.move_to_end(key)
            file.readers += 1
            return file

    def _new(self, key: Hashable, stream: BinaryIO) -> _Open:
        with stream:
            file = _Open(os.dup(stream.fileno()), time.monotonic(), readers=1)
        with self._lock:
            if key in self._files:  # another thread was faster
                self._drop(key)
            self._files[key] = file
            while len(self._files) > _MOST:
                self._drop(next(iter(self._files)))
        return file

    def _drop(self, key: Hashable) -> None:
        file = self._files.pop(key)
        file.kept = False
        self._close_unused(file)

    @staticmethod
    def _close_unused(file: _Open) -> None:
        if not file.kept and not file.readers:
            os.close(file.descriptor)


def read_at(descriptor: int, start: int, target: memoryview) -> int:
    """Fill `target` from byte `start` on; the bytes that there were."""
    at = 0
    while at < len(target):
        count = os.preadv(descriptor, [target[at:]], start + at)
        if not count:
            break
        at += count
    return at
