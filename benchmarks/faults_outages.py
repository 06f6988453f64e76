"""What workers depend on is gone for a while: the PostgreSQL server, the Hub, room on the disk."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from benchmarks.faults_clock import exported
from benchmarks.faults_strikes import AMID, Place
from db import embedded
from hublineage.jobs import kinds

if TYPE_CHECKING:
    from benchmarks.faults_rounds import Bench, Outcome


def places_of(*tasks: str) -> tuple[Place, ...]:
    """Where a worker is in the midst of one of these tasks."""
    return tuple(place for place in AMID if place.name in tasks)


UNDER_LOAD = places_of(kinds.DESCRIBE, kinds.MEASURE, kinds.INFER)
"""One worker is in the midst of a long task, and others are at work beside it."""

_AWAY = 4.0  # seconds
_DISK = 400 << 20  # bytes: a server needs some 40 MiB, and as much again for each 16 of its log


def server_killed(bench: Bench) -> Outcome:
    """Kill -9 of every process of a PostgreSQL server that others look after; it is started again seconds later."""
    expected = bench.undisturbed
    with (
        server(bench.folder / "killed-data") as (url, data),
        bench.round("kill -9 of PostgreSQL, started again by others", url=url) as one,
    ):

        def kill(_worker: str) -> bool:
            kill_server(data)
            time.sleep(_AWAY)
            embedded.start(data)
            return False

        return one.struck(UNDER_LOAD, expected, kill)


def embedded_killed(bench: Bench, places: Sequence[Place] = UNDER_LOAD) -> Outcome:
    """The same with the embedded server, which nobody starts again but the workers themselves."""
    expected = bench.undisturbed
    with server(bench.folder / "embedded-data") as (url, data):
        name = "kill -9 of the embedded PostgreSQL, started again by the workers"
        with bench.round(name, url=url, DATABASE_URL=None, HUBLINEAGE_DATA_DIR=str(data)) as one:

            def kill(_worker: str) -> bool:
                kill_server(data)
                return False

            return one.struck(places, expected, kill)


def hub_gone(bench: Bench) -> Outcome:
    """The Hub refuses connections for a while, answers 503 for a while, and is back."""
    expected = bench.undisturbed
    places = places_of(kinds.SWEEP, kinds.DESCRIBE, kinds.MEASURE)
    with bench.round("the Hub gone, then 503, then back") as one:

        def away() -> None:
            one.hide()
            time.sleep(_AWAY)
            one.faults.status(503, times=None)
            one.serve()
            time.sleep(_AWAY)
            one.faults.clear()

        def go(_worker: str) -> bool:
            away()
            return False

        return one.struck(places, expected, go)


def disk_full(bench: Bench) -> Outcome:
    """The disk of the database is full while it is written to, and has room again later."""
    expected = bench.undisturbed
    with (
        _small_disk(bench.folder / "disk", _DISK) as disk,
        server(disk / "data") as (url, data),
        bench.round("the database's disk full, then with room again", url=url) as one,
    ):
        later: list[threading.Timer] = []

        def fill(_worker: str) -> bool:
            for timer in later:
                timer.join()
            ballast = disk / "ballast"
            fill_up(ballast)
            later.append(threading.Timer(2 * _AWAY, _make_room, (ballast, data)))
            later[-1].start()
            return False

        try:
            return one.struck(UNDER_LOAD, expected, fill, lambda: f"a tmpfs of {_DISK >> 20} MiB")
        finally:
            for timer in later:
                timer.join()


def cache_full(bench: Bench, places: Sequence[Place] = UNDER_LOAD) -> Outcome:
    """The disk of the workers' cache has room for half of the weights, then for none, then for half again.

    It must have kept something, and have said that it could not keep the rest.
    """
    expected = bench.undisturbed
    size = sum(path.stat().st_size for path in bench.models.rglob("*.safetensors")) // 2
    name = "the disk of the workers' cache full, then with room again"
    with (
        _small_disk(bench.folder / "cache-disk", size) as disk,
        bench.round(name, HUBLINEAGE_CACHE=str(disk / "cache")) as one,
    ):
        ballast = disk / "ballast"
        filled = 0

        def turn(_worker: str) -> bool:
            nonlocal filled
            if ballast.exists():
                ballast.unlink()
            else:
                fill_up(ballast)
                filled += 1
            return False

        outcome = one.struck(places, expected, turn, lambda: f"a tmpfs of {size >> 10} KiB, filled {filled} times")
        kept = any((disk / "cache").rglob("*.chunks*"))
        said = "No space left on device" in one.fleet.words()
        missed = [*([] if kept else ["the cache kept nothing"]), *([] if said else ["the cache never was full"])]
        return replace(outcome, missed=[*outcome.missed, *missed])


def fill_up(ballast: Path) -> None:
    """Write a file until nothing more fits."""
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with suppress(OSError):
                while file.write(bytes(size)):
                    pass


def _make_room(ballast: Path, data: Path) -> None:
    ballast.unlink()
    if not embedded.is_running(data):  # it ends itself where it cannot write its log
        embedded.start(data)


@contextmanager
def _small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of so many bytes of its own. Raises PermissionError where this process must not mount one."""
    folder.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:  # noqa: S603, PLW1510  # its code is asked
        raise PermissionError("a small disk cannot be mounted here: run this fault as root")
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)  # noqa: S603, S607  # our own folder


@contextmanager
def server(data: Path, **variables: str) -> Iterator[tuple[str, Path]]:
    """A server of its own, with such environment variables: the address of its database, and its folder."""
    with exported(**variables):
        url = embedded.start(data)
    embedded.keep_running(data)
    try:
        yield url, data
    finally:
        embedded.stop(data)


def kill_server(data: Path) -> None:
    """SIGKILL to every process of the server of a data folder."""
    pid = int((data / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    postmaster = psutil.Process(pid)
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=10)
