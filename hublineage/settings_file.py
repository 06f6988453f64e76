"""The settings file and the variables over it: where they are, and that they hold nothing that nobody reads."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import platformdirs

from db.errors import UsageError

if TYPE_CHECKING:
    from pydantic import BaseModel

PREFIX = "HUBLINEAGE_"
VARIABLE = "HUBLINEAGE_CONFIG"
OTHERS = (VARIABLE,)  # variables that are read and are no settings
MAY_BE_EMPTY = f"{PREFIX}SCHEDULE__"  # ... and mean something then
_NEAR = 60.0  # per cent of likeness from which on a key is suggested


def default_file() -> Path:
    """Where the file is looked for unless told otherwise."""
    return Path(platformdirs.user_config_dir("hublineage", appauthor=False)) / "config.toml"


class _Said:
    """The file that the command line names."""

    path: Path | None = None


def say_file(path: Path | None) -> None:
    """Let a file that the command line names be the one in force; None: none is named."""
    _Said.path = path


def chosen_file() -> Path | None:
    """The file that is in force, None where there is none. Raises UsageError where one is named and not there."""
    named = str(_Said.path) if _Said.path is not None else os.environ.get(VARIABLE)
    if not named:
        return default_file() if default_file().is_file() else None
    path = Path(named).expanduser()
    if not path.is_file():
        raise UsageError(f"there is no settings file {path}, which --config or {VARIABLE} names")
    return path


def read_file(path: Path, model: type[BaseModel]) -> dict[str, Any]:
    """What a file says. Raises UsageError for what is no TOML, and for keys that the model does not know."""
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error
    for place, key, known in _unknown(found, model, ""):
        raise UsageError(f"{path}: nobody reads {place}{key!r}; {_hint(key, known, repr)}")
    return found


def variable_of(model: type[BaseModel], key: str) -> str:
    """The variable that gives a setting."""
    return str(model.model_fields[key].validation_alias or f"{PREFIX}{key.upper()}")


def environment(model: type[BaseModel]) -> dict[str, str]:
    """The variables that say something of settings: empty ones do not, but for the schedule's, where that is never.

    Raises UsageError for one of our prefix that is no setting, for tables that are no JSON, and for keys in them that
    nobody reads. Case does not count.
    """
    names = [*_variables(model, PREFIX), *OTHERS]
    aliased = [variable_of(model, key) for key, field in model.model_fields.items() if field.validation_alias]
    found = {}
    for name, value in os.environ.items():
        if name.upper().startswith(PREFIX) and name.upper() not in names:
            raise UsageError(f"{name}: nobody reads this variable; {_hint(name.upper(), [*names, *aliased], str)}")
        if name.upper() in {*names, *aliased} and (value or name.upper().startswith(MAY_BE_EMPTY)):
            found[name] = value
    for key, field in model.model_fields.items():
        if _section(field.annotation) is not None:
            _check_tables(found, variable_of(model, key), key, model)
    return found


def _check_tables(variables: Mapping[str, str], variable: str, key: str, model: type[BaseModel]) -> None:
    for name, value in variables.items():
        if name.upper() != variable:
            continue
        try:
            tables = json.loads(value)
        except ValueError as error:
            raise UsageError(f"{name}: {value!r} is no JSON, as tables are here: {error}") from error
        for place, inner, known in _unknown({key: tables}, model, ""):
            raise UsageError(f"{name}: nobody reads {place}{inner!r}; {_hint(inner, known, repr)}")


def _hint(key: str, known: Sequence[str], shown: Callable[[str], str]) -> str:
    from rapidfuzz import process  # noqa: PLC0415  # only where an error asks for it

    close = process.extractOne(key, known, score_cutoff=_NEAR)
    return f"did you mean {shown(close[0])}?" if close else f"known are {', '.join(sorted(known))}"


def _variables(model: type[BaseModel], prefix: str) -> list[str]:
    """The variables that a model reads, its tables' as well: HUBLINEAGE_QUEUE as JSON, HUBLINEAGE_QUEUE__TRIES."""
    found = []
    for key, field in model.model_fields.items():
        name = f"{prefix}{key.upper()}"
        section = _section(field.annotation)
        is_list = section is not field.annotation  # of tables: HUBLINEAGE_FOLLOW is JSON
        found += [] if field.validation_alias else [name]
        if section is not None and not is_list:
            found += _variables(section, f"{name}__")
    return found


def _unknown(found: Mapping[str, Any], model: type[BaseModel], place: str) -> Iterator[tuple[str, str, list[str]]]:
    """(place, key, the keys that are known there) of each key that the model does not have."""
    for key, value in found.items():
        if key not in model.model_fields:
            yield place, key, list(model.model_fields)
            continue
        section = _section(model.model_fields[key].annotation)
        if section is None:
            continue
        tables = value if isinstance(value, list) else [value]
        for number, table in enumerate(tables):
            if isinstance(table, dict):
                inside = f"{key}[{number}]" if isinstance(value, list) else key
                yield from _unknown(table, section, f"{place}{inside}.")


def _section(annotation: Any) -> type[BaseModel] | None:
    """The model of a table, or of each of a list of tables."""
    from pydantic import BaseModel  # noqa: PLC0415  # every command reads --config, and help needs no more

    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None
