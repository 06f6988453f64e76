"""Where a setting came from: an option, a variable of the environment, the file, or nowhere: the default."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from hublineage.settings_file import variable_of

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

Kind = Literal["default", "file", "environment", "option"]


@dataclass(frozen=True)
class Origin:
    """The kind, and the option, variable or file that says it."""

    kind: Kind
    by: str | None = None


@dataclass(frozen=True)
class Said:
    """All that says something of settings: options, the environment's variables, and the file with its content."""

    options: Mapping[str, Any]
    environment: Mapping[str, str]
    file: Path | None
    written: Mapping[str, Any]


def origin_of(place: Sequence[str], model: type[BaseModel], said: Said) -> Origin:
    """Who gives the setting of that name, or of that table and key."""
    name, *inner = place
    variable = variable_of(model, name)
    if name in said.options:
        return Origin("option", f"--{name.replace('_', '-')}")
    found = _variable(variable, inner, said.environment)
    if found is not None:
        return Origin("environment", found)
    table = said.written.get(name)
    if name in said.written and (not inner or (isinstance(table, dict) and inner[0] in table)):
        return Origin("file", str(said.file))
    return Origin("default")


def _variable(variable: str, inner: Sequence[str], environment: Mapping[str, str]) -> str | None:
    """The variable of a setting, or of a key of its table or of any of them, in whatever case it is written."""
    for name in environment:
        if name.upper() == (f"{variable}__{inner[0]}".upper() if inner else variable):
            return name
    for name, value in environment.items():
        if inner and name.upper() == variable:  # the table as JSON, laid over the file's key by key
            table = json.loads(value)
            if not isinstance(table, dict) or inner[0] in table:
                return name
        elif not inner and name.upper().startswith(f"{variable}__"):
            return name
    return None
