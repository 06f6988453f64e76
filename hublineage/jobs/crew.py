"""Several workers on one machine: processes, since much of the work is Python's own; who dies is replaced."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

_LOOK_EVERY = 0.1  # seconds
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0  # seconds before a worker that died at once is replaced
_LIVED = 60.0  # seconds after which its successor comes without a pause
_GIVEN_UP = (2, 3)  # exit codes that say that another try is of no use


@dataclass
class _Place:
    """One worker's place, whoever fills it."""

    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    begun: float = 0.0  # of time.monotonic
    pause: float = 0.0
    due: float = 0.0
    code: int | None = None  # once nobody is to follow


@dataclass
class Crew:
    """Runs `commands`, one process each, until all have ended by themselves or a signal has ended them."""

    commands: Sequence[Sequence[str]]  # arguments of `hublineage`
    environment: Mapping[str, str] = field(default_factory=dict)

    def run(self) -> int:
        """The largest exit code of the workers. A first SIGTERM or SIGINT is passed on; a second one ends them."""
        self._places = [_Place([sys.executable, "-m", "hublineage", *command]) for command in self.commands]
        self._signals = 0
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._signalled)
        try:
            while any(place.code is None for place in self._places):
                for place in self._places:
                    self._look_after(place)
                time.sleep(_LOOK_EVERY)
        finally:
            self._send(signal.SIGKILL)
        return max((place.code or 0 for place in self._places), default=0)

    def _look_after(self, place: _Place) -> None:
        now = time.monotonic()
        if place.code is not None:
            return
        if place.process is None:
            if self._signals:
                place.code = 0
            elif now >= place.due:
                self._start(place)
            return
        code = place.process.poll()
        if code is None:
            return
        if code == 0 or code in _GIVEN_UP or self._signals:
            place.code = max(code, 0) if self._signals < 2 else 128 + signal.SIGTERM
            return
        log.warning("worker %d ended with %d: another takes its place", place.process.pid, code)
        lived = now - place.begun
        place.pause = 0.0 if lived >= _LIVED else min(max(2 * place.pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        place.process, place.due = None, now + place.pause

    def _start(self, place: _Place) -> None:
        place.begun = time.monotonic()
        # A group of its own: Ctrl-C in the terminal comes through this process, once.
        place.process = subprocess.Popen(  # noqa: S603  # this program
            [*place.command, "--parent", str(os.getpid())],
            env={**os.environ, **self.environment},
            start_new_session=True,
        )

    def _signalled(self, _number: int, _frame: object) -> None:
        self._signals += 1
        self._send(signal.SIGTERM if self._signals == 1 else signal.SIGKILL)

    def _send(self, number: int) -> None:
        for place in self._places:
            if place.process is not None and place.process.poll() is None:
                place.process.send_signal(number)


def end_with(parent: int) -> None:
    """Ask this process to stop once its parent is gone."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
