"""What steers the program: a settings file, environment variables over it, options of the command line over both.

docs/settings.md shows the file with every key. `hublineage config` prints what is in force and where it came from.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from croniter import croniter
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from crawler.folder import FolderSource
from crawler.source import Query
from db.embedded import default_data_dir
from db.errors import UsageError
from hublineage.settings_file import PREFIX, check_environment, chosen_file, read_file

HUB = "https://huggingface.co"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Follow(_Section):
    """One part of a source that the schedule keeps up to date."""

    folder: Path | None = None  # in place of a Hub
    endpoint: str | None = None  # of a Hub; else that of the settings
    author: str | None = None
    search: str | None = None
    tags: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    limit: int | None = Field(default=None, ge=1)
    everything: bool = False  # says that the whole Hub is meant

    @model_validator(mode="after")
    def _names_a_part(self) -> Follow:
        if self.folder is not None and self.endpoint is not None:
            raise ValueError("folder and endpoint name two sources; one at a time")
        if self.folder is None and self.query() == Query() and not self.everything:
            raise ValueError("the whole Hub is a great deal: narrow it down, or say everything = true")
        return self

    def query(self) -> Query:
        """What is asked of the source."""
        return Query(self.author, self.search, self.tags, self.architectures, self.ids, self.limit)

    def source(self, endpoint: str) -> str:
        """The source's name in the catalogue, where `endpoint` is the Hub of the settings."""
        return FolderSource(self.folder).name if self.folder is not None else (self.endpoint or endpoint).rstrip("/")


class Schedule(_Section):
    """When the schedule puts what into the queue: cron expressions in UTC; an empty one: never."""

    increments: str = "7 * * * *"  # what is new and changed of all that is followed
    sweep: str = "23 3 * * 0"  # a full pass, which finds deletions and renames
    inference: str = "41 2 * * *"  # families that changed and were not inferred since
    retention: str = "11 4 * * *"  # removes what the retention policy does not keep, and old jobs

    @field_validator("*")
    @classmethod
    def _is_cron(cls, expression: str) -> str:
        if expression and not croniter.is_valid(expression):
            raise ValueError("this is no cron expression, such as '7 * * * *': minute hour day month weekday")
        return expression


class QueueSettings(_Section):
    """How work is cut into jobs, and how patient the queue is. Seconds where nothing else is said."""

    slice: float = Field(default=60.0, gt=0)  # after which a crawl gives its place to others
    describe: int = Field(default=100, ge=1)  # repositories of one job
    block: str = "2GiB"  # of weights, of all members together, that one job measures
    settle_after: float = Field(default=5.0, ge=0)  # once repositories are described
    patience: float = Field(default=600.0, ge=0)  # how long settling waits for the rest of a crawl
    infer_after: float = Field(default=30.0, ge=0)  # once a family is measured: more members may come
    compare_after: float = Field(default=10.0, ge=0)  # once a family is inferred: more families may come
    tries: int = Field(default=30, ge=1)  # of a job that meets passing errors
    first_wait: float = Field(default=10.0, ge=0)  # between them, doubled each time
    longest_wait: float = Field(default=900.0, ge=0)
    workers_lost: int = Field(default=3, ge=1)  # by one job before it is parked
    heartbeat: float = Field(default=10.0, gt=0)
    stalled_after: float = Field(default=60.0, gt=0)  # without a heartbeat
    poll: float = Field(default=2.0, gt=0)  # for what no notification tells of
    keep_days: float = Field(default=7.0, ge=0)  # finished jobs

    @field_validator("block")
    @classmethod
    def _is_size(cls, text: str) -> str:
        parse_size(text)
        return text

    @model_validator(mode="after")
    def _hears_heartbeats(self) -> QueueSettings:
        if self.stalled_after < 2 * self.heartbeat:
            raise ValueError("stalled_after must be at least twice the heartbeat: workers that live would look dead")
        return self


class Inference(_Section):
    """How families are inferred by the queue; the options of `hublineage infer`."""

    method: Literal["recover", "mother", "phylogeny", "detector"] = "recover"
    trees: int | None = Field(default=None, ge=1)
    metric: Literal["fine-tune", "low-rank"] = "fine-tune"
    detector: bool = False  # whether recover asks the learned detector for directions
    decide: float | None = Field(default=None, ge=0, le=1)
    decide_direction: float | None = Field(default=None, ge=0, le=1)
    weights_only: bool = False


class Retention(_Section):
    """Which runs the queue keeps, besides those that answer now, are pinned or bear verdicts."""

    keep_runs: int = Field(default=10, ge=0)  # the newest of each family ...
    keep_days: float | None = Field(default=None, ge=0)  # ... and of these only those that are younger


class Settings(BaseSettings):
    """Read from the file and the environment when it is made; options of the command line are laid over both."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="ignore", populate_by_name=True
    )

    database_url: str | None = Field(default=None, validation_alias="DATABASE_URL")
    endpoint: str = Field(default=HUB, validation_alias="HF_ENDPOINT")
    data_dir: Path = Field(default_factory=default_data_dir)
    memory: str = "1GiB"
    device: str = "auto"
    quota_share: float = Field(default=0.5, gt=0, le=1)  # of what the Hub grants
    jobs: int = Field(default=4, ge=1, le=64)  # repositories that are described at a time
    cache: Path | None = None  # keeps bytes of weights between runs
    cache_size: str = "50GiB"
    exact_members: int = Field(default=256, ge=2)  # of a family whose pairs are all measured exactly
    exact_neighbours: int = Field(default=16, ge=1)  # of a new member of a larger one
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    metrics_port: int | None = Field(default=None, ge=0, le=65535)  # of a worker for Prometheus and health checks
    infer: Inference = Inference()
    schedule: Schedule = Schedule()
    queue: QueueSettings = QueueSettings()
    retention: Retention = Retention()
    follow: tuple[Follow, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the library passes it by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The command line before the environment before the file."""
        path = chosen_file()
        found = {} if path is None else read_file(path, cls)
        return init_settings, env_settings, InitSettingsSource(settings_cls, found)


def read_settings(**said: Any) -> Settings:
    """The settings with what the command line says laid over them. Raises UsageError, which names what is wrong."""
    check_environment(os.environ, Settings)
    try:
        return Settings(**said)
    except SettingsError as error:  # what should be JSON is none
        raise UsageError(f"{error}: {' '.join(str(error.__cause__).split())}") from error
    except ValidationError as error:
        wrong = error.errors()[0]
        name = ".".join(str(part) for part in wrong["loc"]) or "settings"
        value = wrong.get("input")
        shown = "" if isinstance(value, dict) else f" {value!r}"
        raise UsageError(f"{name}{shown}: {wrong['msg'].removeprefix('Value error, ')}") from error


_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_memory(text: str) -> int:
    """`parse_size`, of at least 64 MiB."""
    count = parse_size(text)
    if count < 64 << 20:
        raise ValueError(f"{text!r} is too little memory: measuring needs at least 64M")
    return count


def parse_size(text: str) -> int:
    """Bytes of "800M", "1GiB", "1.5 g" or a plain number. Raises ValueError."""
    letters = text.strip().lower().removesuffix("ib").removesuffix("b").strip()
    number = letters.rstrip("kmgt")
    try:
        count = int(float(number) * _UNITS[letters[len(number) :]])
    except (KeyError, ValueError, OverflowError):
        raise ValueError(f"{text!r} is no amount of memory: expected something like 800M or 2GiB") from None
    if count < 0:
        raise ValueError(f"{text!r} is less than nothing")
    return count
