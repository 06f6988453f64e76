"""The commands `jobs ...`: what is in the queue, and what is to become of it."""

# ruff: noqa: PLC0415  # what a command works with is imported when it runs: help needs none of it

from __future__ import annotations

import json
import time
from collections.abc import Collection
from contextlib import nullcontext
from typing import Annotated, Any

import typer

from db.errors import UsageError
from hublineage.jobs import kinds
from hublineage.options import DataDir, Json

app = typer.Typer(help="The queue: list, retry, cancel and watch its jobs.", no_args_is_help=False)

Numbers = Annotated[list[int] | None, typer.Argument(help="The jobs' numbers, as `hublineage jobs` shows them.")]
_WATCH_EVERY = 1.0  # seconds


@app.callback(invoke_without_command=True)
def jobs(
    context: typer.Context,
    state: Annotated[
        list[str] | None,
        typer.Option(help=f"Only these: {', '.join(kinds.STATES)} or all; by default what is not over well."),
    ] = None,
    task: Annotated[str | None, typer.Option(help=f"Only of this task: {', '.join(kinds.PLACES)}.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """List the jobs of the queue: what is being done, waits, failed, or was parked because workers died of it."""
    if context.invoked_subcommand is not None:
        return
    states = _states(state)
    _check_task(task)
    from db.engine import transaction
    from hublineage.context import console, print_json, working
    from hublineage.jobs import listing
    from hublineage.render_jobs import jobs_table, overview_words, stages_table

    with working(data_dir) as at, transaction(at.engine) as session:
        found = listing.jobs(session, states=states, task=task, limit=limit)
        view = listing.overview(session, stalled_after=at.settings.queue.stalled_after)
    if as_json:
        print_json({"jobs": found, **overview_words(view)})
        return
    screen = console()
    screen.print(stages_table(view))
    if found:
        screen.print(jobs_table(found))


@app.command()
def retry(
    numbers: Numbers = None,
    failed: Annotated[bool, typer.Option("--failed", help="All that failed.")] = False,
    parked: Annotated[bool, typer.Option("--parked", help="All that were parked.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Queue jobs again that failed, were parked or cancelled; a job that waits for its time comes at once."""
    states = [name for name, wanted in (("failed", failed), ("parked", parked)) if wanted]
    if not numbers and not states:
        raise UsageError("say which jobs: their numbers, --failed or --parked")
    from db.engine import transaction
    from hublineage.context import working
    from hublineage.jobs import listing

    with working(data_dir) as at, transaction(at.engine) as session:
        ids = [*(numbers or []), *(one["id"] for one in listing.jobs(session, states=states))]
        _check_known(session, numbers)
        done = sorted({*listing.hasten(session, ids), *listing.retry(session, ids)})
        _tell_left(session, numbers, done, {"failed", "parked", "cancelled", "aborted"})
    _tell({"retried": done}, as_json, "queued again: {retried}")


@app.command()
def cancel(
    numbers: Numbers = None,
    task: Annotated[str | None, typer.Option(help="All jobs of this task that wait or are being done.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All jobs that wait or are being done.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Take jobs out of the queue; those that are being done end at their next unit of work. What is stored stays.

    Of jobs that failed or were parked the ones that are named are given up.
    """
    if not numbers and task is None and not everything:
        raise UsageError("say which jobs: their numbers, --task or --all")
    _check_task(task)
    from db.engine import transaction
    from hublineage.context import working
    from hublineage.jobs import listing

    with working(data_dir) as at, transaction(at.engine) as session:
        _check_known(session, numbers)
        ids = list(numbers or [])
        if task is not None or everything:
            ids += [one["id"] for one in listing.jobs(session, states=("waiting", "doing"), task=task)]
        done = listing.cancel(session, ids)
        _tell_left(session, numbers, done)
    _tell({"cancelled": done}, as_json, "cancelled: {cancelled}")


@app.command()
def watch(
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON a second, for programs.")] = False,
    seconds: Annotated[float | None, typer.Option(min=0, help="At most so long.")] = None,
) -> None:
    """Show what workers are at, and how long the rest will take, until nothing is left."""
    from rich.console import Group
    from rich.live import Live

    from db.engine import transaction
    from hublineage.context import console, working
    from hublineage.jobs import listing, queue
    from hublineage.render_jobs import jobs_table, overview_words, stages_table

    with working(data_dir) as at:
        begun = time.monotonic()
        screen = console()
        with Live(console=screen, auto_refresh=False, transient=False) if not as_json else nullcontext() as live:
            while True:
                with transaction(at.engine) as session:
                    view = listing.overview(session, stalled_after=at.settings.queue.stalled_after)
                    doing = listing.jobs(session, states=("doing",), limit=30)
                    left = queue.left(session, None)
                if live is None:
                    typer.echo(json.dumps({**overview_words(view), "doing": doing}, allow_nan=False))
                else:
                    live.update(Group(stages_table(view), *([jobs_table(doing)] if doing else [])), refresh=True)
                if not left or (seconds is not None and time.monotonic() - begun >= seconds):
                    return
                time.sleep(_WATCH_EVERY)


def _states(said: list[str] | None) -> tuple[str, ...]:
    if not said:
        return kinds.UNFINISHED
    if "all" in said:
        return kinds.STATES
    unknown = [state for state in said if state not in kinds.STATES]
    if unknown:
        raise UsageError(f"--state {unknown[0]}: expected one of {', '.join(kinds.STATES)} or all")
    return tuple(said)


def _check_task(task: str | None) -> None:
    if task is not None and task not in kinds.PLACES:
        raise UsageError(f"--task {task}: expected one of {', '.join(kinds.PLACES)}")


def _check_known(session: Any, numbers: list[int] | None) -> None:
    from hublineage.jobs import listing

    known = {one["id"] for one in listing.jobs(session, ids=numbers or ())}
    missing = [number for number in numbers or () if number not in known]
    if missing:
        raise UsageError(f"there is no job {missing[0]}: `hublineage jobs --state all` lists them")


def _tell_left(session: Any, numbers: list[int] | None, done: list[int], twins: Collection[str] = ()) -> None:
    """Say of jobs that were named why nothing became of them; in states `twins` the same work stands in their way."""
    from hublineage.jobs import listing

    for one in listing.jobs(session, ids=sorted({*(numbers or ())} - {*done})):
        why = f"job {one['id']} stays as it is: {one['state']}"
        typer.echo(f"{why}; the same work waits already" if one["state"] in twins else why, err=True)


def _tell(found: dict[str, Any], as_json: bool, words: str) -> None:
    from hublineage.context import console, print_json

    if as_json:
        print_json(found)
    else:
        console().print(words.format(**found), highlight=False, markup=False)
