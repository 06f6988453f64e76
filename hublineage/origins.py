"""Where each setting that is in force came from."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from hublineage.settings import Settings, read_settings
from hublineage.settings_file import chosen_file, read_file

Origin = Literal["default", "file", "environment", "option"]


@dataclass(frozen=True)
class Setting:
    """One setting: its name with that of its table before a dot, and the variable, option or file that gives it."""

    name: str
    value: Any
    origin: Origin
    by: str | None


def in_force(said: Mapping[str, Any]) -> list[Setting]:
    """All settings in the order of their definition, where the command line says `said`. Raises UsageError."""
    settings = read_settings(**said)
    path = chosen_file()
    written = {} if path is None else read_file(path, Settings)
    found: list[Setting] = []
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        variable = str(field.validation_alias or f"HUBLINEAGE_{name}".upper())
        if isinstance(value, BaseModel):
            table = written.get(name, {})
            for key in type(value).model_fields:
                inner = f"{variable}__{key}".upper()
                by = _by(key, said.get(name, {}), inner, table, path)
                if by[0] != "environment" and _variable(variable) is not None and key not in said.get(name, {}):
                    by = "environment", variable  # the whole table as JSON
                found.append(Setting(f"{name}.{key}", getattr(value, key), *by))
        else:
            shown = [one.model_dump(mode="json", exclude_defaults=True) for one in value] if name == "follow" else value
            found.append(Setting(name, shown, *_by(name, said, variable, written, path)))
    return found


def _by(
    name: str, said: Mapping[str, Any], variable: str, written: Mapping[str, Any], path: object
) -> tuple[Origin, str | None]:
    if name in said:
        return "option", f"--{name.replace('_', '-')}"
    known = _variable(variable)
    if known is not None:
        return "environment", known
    if name in written:
        return "file", str(path)
    return "default", None


def _variable(name: str) -> str | None:
    """The environment variable of a name as it is written there: pydantic-settings does not look at the case."""
    return next((one for one in os.environ if one.upper() == name.upper()), None)
