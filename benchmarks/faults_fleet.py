"""Workers as processes of their own that are killed, and replaced as a crew, a container or a service would."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from hublineage import cli

# Impatient enough for a benchmark. Under load a heart must not look still because its machine is busy.
QUICK = {
    "SETTLE_AFTER": "0.2",
    "INFER_AFTER": "0.2",
    "COMPARE_AFTER": "0.2",
    "POLL": "0.2",
    "HEARTBEAT": "0.4",
    "STALLED_AFTER": "3",
    "FIRST_WAIT": "0.5",
    "LONGEST_WAIT": "2",
    "DESCRIBE": "8",  # repositories: several batches
    "BLOCK": "4MiB",  # several blocks of a family
    "WORKERS_LOST": "6",  # kills that are nobody's fault park nothing
}
LIMIT = 600.0  # seconds that anything may take
_LOOK_EVERY = 0.05  # seconds
_CONTEXT = multiprocessing.get_context("forkserver")

_PRELOADED = ["hublineage.cli", "hublineage.cli_worker", "hublineage.job", "benchmarks.faults_rounds"]

Started = Callable[[], None]


def environment(**changed: str | None) -> dict[str, str | None]:
    """That of a worker. None takes a variable out; names in lower case are keys of the settings' [queue]."""
    found: dict[str, str | None] = {name: None for name in os.environ if name.startswith("HUBLINEAGE_")}
    found |= {"DATABASE_URL": None, "OMP_NUM_THREADS": "1", "HUBLINEAGE_RETENTION__KEEP_RUNS": "0"}
    found |= {f"HUBLINEAGE_QUEUE__{name}": value for name, value in QUICK.items()}
    for name, value in changed.items():
        found[f"HUBLINEAGE_QUEUE__{name.upper()}" if name.islower() else name] = value
    return found


class Member:
    """One process of `hublineage`, forked from one that has imported it: a fresh start takes seconds.

    Its name is what it is called in pg_stat_activity; `first` is called in it before the command.
    """

    def __init__(
        self, name: str, folder: Path, arguments: Sequence[str], around: Mapping[str, str | None], first: Started | None
    ) -> None:
        self.name = name
        self._words = folder / f"{name}.txt"
        _CONTEXT.set_forkserver_preload(_PRELOADED)
        self.process = _CONTEXT.Process(
            target=_run, args=(self._words, list(arguments), {**around, "PGAPPNAME": name}, first)
        )
        self.process.start()

    @property
    def code(self) -> int | None:
        """Its exit code, minus the signal where it was killed; None while it runs."""
        return self.process.exitcode

    def send(self, number: int) -> None:
        """Send a signal, and wait for the end of a process that is killed."""
        if self.process.is_alive() and self.process.pid is not None:
            os.kill(self.process.pid, number)
        if number == signal.SIGKILL:
            self.process.join()

    def words(self) -> str:
        """What it said."""
        return self._words.read_text() if self._words.exists() else ""


def _run(words: Path, arguments: list[str], around: Mapping[str, str | None], first: Started | None) -> None:
    os.setsid()  # Ctrl-C in the terminal is for the benchmark
    for name, value in around.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    sys.argv = ["hublineage", *arguments]
    with words.open("w", buffering=1) as sys.stdout:
        sys.stderr = sys.stdout
        if first is not None:
            first()
        cli.main()


@dataclass
class Fleet:
    """So many workers on one queue. Who dies by a signal is replaced; who ends otherwise is not."""

    folder: Path  # of their words
    url: str  # of the database
    around: Mapping[str, str | None]
    size: int = 3
    first: Started | None = None
    exits: Counter[int] = field(default_factory=Counter)
    _members: list[Member] = field(default_factory=list)
    _made: int = 0
    _asking: psycopg.Connection[Any] | None = None

    def start(self) -> None:
        """Start the workers that are missing."""
        self.folder.mkdir(parents=True, exist_ok=True)
        while len(self._members) < self.size:
            self._made += 1
            name = f"worker-{self._made}"
            self._members.append(Member(name, self.folder, ["worker"], self.around, self.first))

    def drain(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """Until the queue is empty; `meanwhile` is called often. Raises RuntimeError where that never happens."""
        self.until(self.is_idle, meanwhile)

    def until(self, done: Callable[[], bool], meanwhile: Callable[[], object] = lambda: None) -> None:
        """Look after the workers until something is so. Raises RuntimeError where one fails, or that never happens."""
        deadline = time.monotonic() + LIMIT
        self.start()
        while not done():
            meanwhile()
            self.look_after()
            if time.monotonic() > deadline:
                words = "".join(one.words()[-2000:] for one in self._members)
                raise RuntimeError(f"the workers do not end: {words}")
            time.sleep(_LOOK_EVERY)

    def look_after(self) -> None:
        """Replace those who were killed. Raises RuntimeError where one failed."""
        for member in [one for one in self._members if one.code is not None]:
            code = member.code or 0
            self.exits[code] += 1
            self._members.remove(member)
            if code == 1:
                raise RuntimeError(f"{member.name} ended with 1: {member.words()[-2000:]}")
            if code < 0:
                self.start()

    def is_idle(self) -> bool:
        """Whether nothing waits or is being done; not while the database does not answer."""
        left = "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
        try:
            if self._asking is None:  # to connect costs as much as many questions
                self._asking = psycopg.connect(self.url, autocommit=True, connect_timeout=2)
            row = self._asking.execute(left).fetchone()
        except psycopg.OperationalError:
            self._hang_up()
            return False
        return row is not None and row[0] == 0

    def _hang_up(self) -> None:
        if self._asking is not None:
            self._asking.close()
            self._asking = None

    def kill(self, name: str) -> bool:
        """Kill -9 the worker of a name; whether there is one."""
        for member in self._members:
            if member.name == name:
                member.send(signal.SIGKILL)
                return True
        return False

    def stop(self) -> None:
        """SIGTERM all, and wait for their ends; none is replaced. Raises RuntimeError where one hangs."""
        self._hang_up()
        for member in self._members:
            member.send(signal.SIGTERM)
        for member in self._members:
            member.process.join(60)
            if member.code is None:
                raise RuntimeError(f"{member.name} does not stop: {member.words()[-2000:]}")
            self.exits[member.code] += 1
        self._members.clear()

    def end(self) -> None:
        """Kill all."""
        self._hang_up()
        for member in self._members:
            member.send(signal.SIGKILL)
        self._members.clear()

    @property
    def members(self) -> list[Member]:
        """Those that have not been seen to end."""
        return list(self._members)

    def words(self) -> str:
        """What all of them have said, those that ended too."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*.txt")))
