"""The command `hublineage config`."""

from __future__ import annotations

import json
from typing import Any

from rich.table import Table

from hublineage.context import console, print_json
from hublineage.logs import masked
from hublineage.options import DataDir, Json
from hublineage.origins import Setting, in_force
from hublineage.settings_file import chosen_file, default_file


def config(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Print the settings that are in force, and where each came from: default, file, environment or option.

    Passwords and tokens are not printed.

    hublineage --config ./fleet.toml config
    """
    said = {} if data_dir is None else {"data_dir": data_dir}
    found = in_force(said)
    path = chosen_file()
    if as_json:
        settings = {one.name: {"value": _plain(one.value), "origin": one.origin, "by": one.by} for one in found}
        print_json({"file": None if path is None else str(path), "settings": settings})
        return
    screen = console()
    screen.print(f"file: {path}" if path else f"file: none, looked for {default_file()}", highlight=False, markup=False)
    table = Table(box=None, pad_edge=False)
    for name in ("setting", "value", "from"):
        table.add_column(name, overflow="fold")
    for one in found:
        table.add_row(one.name, _shown(one), f"{one.origin} ({one.by})" if one.by else one.origin)
    screen.print(table)


def _shown(one: Setting) -> str:
    value = _plain(one.value)
    return masked(value) if isinstance(value, str) else json.dumps(value)


def _plain(value: Any) -> Any:
    """As JSON has it, with nothing secret in it."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, int | float | bool | None) else masked(str(value))
