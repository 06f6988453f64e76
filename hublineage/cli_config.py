"""The command `hublineage config`."""

# ruff: noqa: PLC0415  # what a command works with is imported when it runs: help needs none of it

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hublineage.options import DataDir, Json

if TYPE_CHECKING:
    from hublineage.settings import Setting


def config(data_dir: DataDir = None, as_json: Json = False) -> None:
    """Print the settings that are in force, and where each came from: default, file, environment or option.

    Passwords and tokens are not printed.

    hublineage --config ./fleet.toml config
    """
    from rich.table import Table

    from hublineage.context import console, print_json
    from hublineage.settings import in_force
    from hublineage.settings_file import chosen_file, default_file

    said = {} if data_dir is None else {"data_dir": data_dir}
    found = in_force(said)
    path = chosen_file()
    if as_json:
        settings = {
            one.name: {"value": _plain(one.value), "origin": one.origin.kind, "by": one.origin.by} for one in found
        }
        print_json({"file": None if path is None else str(path), "settings": settings})
        return
    screen = console()
    screen.print(f"file: {path}" if path else f"file: none, looked for {default_file()}", highlight=False, markup=False)
    table = Table(box=None, pad_edge=False)
    for name in ("setting", "value", "from"):
        table.add_column(name, overflow="fold")
    for one in found:
        origin = one.origin
        table.add_row(one.name, _shown(one), f"{origin.kind} ({origin.by})" if origin.by else origin.kind)
    screen.print(table)


def _shown(one: Setting) -> str:
    from hublineage.logs import masked

    value = _plain(one.value)
    return masked(value) if isinstance(value, str) else json.dumps(value)


def _plain(value: Any) -> Any:
    """As JSON has it, with nothing secret in it."""
    from hublineage.logs import masked

    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value if isinstance(value, int | float | bool | None) else masked(str(value))
