"""What steers the program: a settings file, environment variables over it, options of the command line over both.

docs/settings.md shows the file with every key. `hublineage config` prints what is in force and where it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from croniter import CroniterBadDateError, croniter
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from crawler.source import Query
from db.errors import UsageError
from hublineage.options import ClusteringName, SchemeName
from hublineage.origins import Origin, Said, origin_of
from hublineage.settings_file import PREFIX, chosen_file, environment, read_file
from hublineage.settings_values import Device, Endpoint, Memory, Place, Size

HUB = "https://huggingface.co"


def _default_data_dir() -> Path:
    from db.embedded import default_data_dir  # noqa: PLC0415  # with what starts a server

    return default_data_dir()


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Follow(_Section):
    """One part of a source that the schedule keeps up to date."""

    folder: Path | None = None  # in place of a Hub
    endpoint: Endpoint | None = None  # of a Hub; else that of the settings
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
        from crawler.folder import folder_name  # noqa: PLC0415  # with what reads models

        return folder_name(self.folder) if self.folder is not None else (self.endpoint or endpoint).rstrip("/")


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
        try:
            if expression:
                croniter(expression).get_prev()
        except CroniterBadDateError as error:
            raise ValueError("no such moment ever comes") from error
        return expression


class QueueSettings(_Section):
    """How work is cut into jobs, and how patient the queue is. Seconds where nothing else is said."""

    slice: float = Field(default=60.0, gt=0)  # after which a crawl gives its place to others
    describe: int = Field(default=100, ge=1)  # repositories of one job
    block: Size = "2GiB"  # of weights, of all members together, that one job measures
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
    clustering: ClusteringName | None = None  # of phylogeny, as is where it takes networks to have begun
    initialisation: SchemeName | None = None
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
    endpoint: Endpoint = Field(default=HUB, validation_alias="HF_ENDPOINT")
    data_dir: Place = Field(default_factory=_default_data_dir)
    memory: Memory = "1GiB"
    device: Device = "auto"
    quota_share: float = Field(default=0.5, gt=0, le=1)  # of what the Hub grants
    jobs: int = Field(default=4, ge=1, le=64)  # repositories that are described at a time
    cache: Place | None = None  # keeps bytes of weights between runs
    cache_size: Size = "50GiB"
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
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # the library passes it by name
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # as above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  # as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The command line before the environment before the file."""
        path = chosen_file()
        found = {} if path is None else read_file(path, cls)
        variables = EnvSettingsSource(settings_cls)
        variables.env_vars = {name.lower(): value for name, value in environment(cls).items()}
        return init_settings, variables, InitSettingsSource(settings_cls, found)


def read_settings(**said: Any) -> Settings:
    """The settings with what the command line says laid over them.

    Raises UsageError, which names what is wrong, and the option, the variable or the file that says so.
    """
    try:
        return Settings(**said)
    except ValidationError as error:
        raise UsageError(_words(error.errors()[0], _everything(said))) from error


_PLAINLY = {"model_type": "expected a table", "tuple_type": "expected a list"}  # where pydantic names its classes


def _words(wrong: ErrorDetails, said: Said) -> str:
    """What is wrong, where, and who says so; of values that are text nothing secret."""
    from hublineage.logs import masked  # noqa: PLC0415  # only where an error asks for it

    by_variable = {str(field.validation_alias): name for name, field in Settings.model_fields.items()}
    place = [by_variable.get(str(wrong["loc"][0]), str(wrong["loc"][0])), *map(str, wrong["loc"][1:])]
    is_table = isinstance(getattr(Settings.model_fields[place[0]], "default", None), BaseModel)
    origin = origin_of(place[: 1 + is_table], Settings, said)
    shown = "" if isinstance(wrong["input"], dict | BaseModel) else f" {masked(repr(wrong['input']))}"
    told = _PLAINLY.get(wrong["type"], wrong["msg"].removeprefix("Value error, "))
    return f"{f'{origin.by}: ' if origin.by else ''}{'.'.join(place)}{shown}: {told}"


@dataclass(frozen=True)
class Setting:
    """One setting that is in force: its name with that of its table before a dot, and where it came from."""

    name: str
    value: Any
    origin: Origin


def in_force(options: Mapping[str, Any]) -> list[Setting]:
    """All settings in the order of their definition, where the command line says `options`. Raises UsageError."""
    settings = read_settings(**options)
    said = _everything(options)
    found: list[Setting] = []
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, BaseModel):
            found += [
                Setting(f"{name}.{key}", getattr(value, key), origin_of([name, key], Settings, said))
                for key in type(value).model_fields
            ]
        else:
            shown = [one.model_dump(mode="json", exclude_defaults=True) for one in value] if name == "follow" else value
            found.append(Setting(name, shown, origin_of([name], Settings, said)))
    return found


def _everything(options: Mapping[str, Any]) -> Said:
    path = chosen_file()
    return Said(options, environment(Settings), path, {} if path is None else read_file(path, Settings))
