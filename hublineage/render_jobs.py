"""The queue for people and programs: how its stages stand, and what its jobs are at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from hublineage.jobs.kinds import STATES
from hublineage.jobs.listing import subject
from hublineage.logs import masked

if TYPE_CHECKING:
    from hublineage.jobs.listing import Overview


def overview_words(view: Overview) -> dict[str, Any]:
    """As JSON has it."""
    stages = [{"task": one.task, "counts": one.counts, "seconds": one.seconds} for one in view.stages]
    return {"stages": stages, "workers": view.workers, "remaining_seconds": view.remaining}


def stages_table(view: Overview) -> Table:
    """How many jobs of each task are in which state, and how long the rest takes."""
    left = f", about {duration(view.remaining)} left" if view.remaining else ""
    table = Table(
        title=f"{view.workers} worker{'' if view.workers == 1 else 's'}{left}",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("task")
    for state in STATES:
        table.add_column(state, justify="right")
    table.add_column("seconds each", justify="right")
    for one in view.stages:
        counts = (str(one.counts.get(state, "")) for state in STATES)
        table.add_row(one.task, *counts, "" if one.seconds is None else f"{one.seconds:.1f}")
    return table


def jobs_table(found: list[dict[str, Any]]) -> Table:
    """Each job with what it is at, how far it is, and why it is not done; names as they are, never as markup."""
    table = Table(box=None, pad_edge=False)
    for name in ("job", "task", "state", "at", "done", "why"):
        table.add_column(name, justify="right" if name in {"job", "done"} else "left", overflow="fold")
    for one in found:
        done = f"{one['done']}/{one['total']}" if one["total"] else ""
        why = one["reason"] or ""
        if one["state"] == "waiting" and one["due"]:
            why = f"not before {one['due'][:19]}" + (f": {why}" if why else "")
        words = (str(one["id"]), one["task"], one["state"], subject(one), done, why)
        table.add_row(*(Text(masked(word)) for word in words))
    return table


def duration(seconds: float) -> str:
    """In the two units that matter."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
