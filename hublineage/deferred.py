"""Commands that are imported when they are called: neither help nor one of them waits for the libraries of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pkgutil import resolve_name
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


class Deferred(TyperCommand):
    """Stands in the list of commands for one that is at `module:name`: a function, or an app of several commands."""

    def __init__(self, name: str, where: str, words: str) -> None:
        super().__init__(name, help=words)
        self._where = where

    def loaded(self) -> Any:
        """The command itself, as click has it."""
        found = resolve_name(self._where)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
            alone.command(self.name)(found)
            found = alone
        return typer.main.get_command(found)

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Hand over to the command itself: from here on its options and its code count."""
        return self.loaded().make_context(info_name, args, parent, **extra)


def group_of(rows: Sequence[tuple[str, str, str]]) -> type[TyperGroup]:
    """The class of a group with these commands: (name, module:name, what it does in a line)."""
    commands: Mapping[str, Deferred] = {name: Deferred(name, where, words) for name, where, words in rows}

    class Commands(TyperGroup):
        """Lists commands in the order of the table."""

        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.commands = {**self.commands, **commands}

    return Commands
