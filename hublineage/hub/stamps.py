"""What a file system tells cheaply of a path, compared to learn whether anything changed there."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

# A second change within a tick of the file system's clock leaves no trace: what is as young as this is looked at again
_YOUNG = 50_000_000  # nanoseconds


class Stamp(NamedTuple):
    """One path at one moment."""

    path: str
    inode: int  # 0 where there was nothing
    size: int  # bytes
    mtime_ns: int
    ctime_ns: int

    def is_current(self) -> bool:
        """Whether the path still looks as it did."""
        return look(self.path) == self


def stamp(path: str, stat: os.stat_result) -> Stamp:
    """The stamp of a path whose `stat` is at hand."""
    return Stamp(path, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def look(path: str) -> Stamp:
    """The stamp of a path; one of nothing where there is none or it cannot be looked at."""
    try:
        return stamp(path, os.stat(path))  # noqa: PTH116  # many of them: a Path costs more than the look
    except OSError:
        return Stamp(path, 0, 0, 0, 0)


def is_settled(stamps: tuple[Stamp, ...], at_ns: int) -> bool:
    """Whether a look begun at `at_ns` came late enough after the last change for the next change to show."""
    return is_old(max((found.ctime_ns for found in stamps), default=0), at_ns)


def is_old(changed_ns: int, at_ns: int) -> bool:
    """Whether a change was long enough before a moment for any later change to have another time."""
    return changed_ns < at_ns - _YOUNG


def now_ns() -> int:
    """The clock that file systems stamp by, nanoseconds."""
    return time.time_ns()
