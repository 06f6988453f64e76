"""Progress of long work, on stderr: a live line on a terminal, plain lines now and then elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLAIN_EVERY = 5.0  # seconds


class Reporter:
    """Takes what the parts report: a stage, how far it is, and what it is at."""

    def __init__(self, live: Progress | None) -> None:
        self._live = live
        self._tasks: dict[str, object] = {}
        self._said: dict[str, float] = {}
        self._stage = ""

    def step(self, stage: str, done: int, total: int | None, what: str = "") -> None:
        """Show that `stage` has done that many of a total (None: not known yet) and is now at `what`."""
        if self._live is not None:
            if stage not in self._tasks:
                self._tasks[stage] = self._live.add_task(stage, total=total)
            self._live.update(self._tasks[stage], completed=done, total=total, what=what)  # type: ignore[arg-type]
            return
        now = time.monotonic()
        finished = total is not None and done >= total
        if finished or stage != self._stage or now - self._said.get(stage, 0.0) >= _PLAIN_EVERY:
            self._stage = stage
            self._said[stage] = now
            self.note(f"{stage}: {done}{'' if total is None else f' of {total}'}{f' ({what})' if what else ''}")

    def note(self, text: str) -> None:
        """Say something once."""
        if self._live is not None:
            self._live.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def reporting() -> Iterator[Reporter]:
    """A reporter for the length of a command."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Reporter(None)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[what]}", style="dim"),
    )
    with Progress(*columns, console=console, transient=True) as live:
        yield Reporter(live)
