"""What steers the program from outside: environment variables, each also an option of the commands that use it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from db.embedded import default_data_dir
from db.errors import UsageError

HUB = "https://huggingface.co"


class Settings(BaseSettings):
    """Read from the environment when it is made; options of the command line are laid over it."""

    model_config = SettingsConfigDict(env_prefix="HUBLINEAGE_", extra="ignore", populate_by_name=True)

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


def read_settings(**said: Any) -> Settings:
    """The settings with what the command line says laid over them. Raises UsageError, which names what is wrong."""
    try:
        return Settings(**said)
    except ValidationError as error:
        wrong = error.errors()[0]
        name = str(wrong["loc"][0]) if wrong["loc"] else "settings"
        raise UsageError(f"{name} {wrong.get('input')!r}: {wrong['msg']}") from error


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
