"""What the commands share: settings and database, the sources that are meant, and how results are printed."""

# ruff: noqa: PLC0415  # what talks to databases and sources is imported when it is used: wrong usage is told without

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from crawler.source import Query
from db.errors import NothingToDo, UsageError
from hublineage.settings import Settings, read_settings
from hublineage.settings_values import checked_endpoint

if TYPE_CHECKING:
    from sqlalchemy import Engine


@dataclass(frozen=True)
class Context:
    """What every command works with."""

    settings: Settings
    engine: Engine


@contextmanager
def working(data_dir: Path | None, **settings: Any) -> Iterator[Context]:
    """The settings, those that the command line says over those of the environment, and the database of a command."""
    from hublineage.database import database

    said = {name: value for name, value in {"data_dir": data_dir, **settings}.items() if value is not None}
    chosen = read_settings(**said)
    with database(chosen) as engine:
        yield Context(chosen, engine)


def query_of(
    author: str | None,
    search: str | None,
    tag: list[str] | None,
    architecture: list[str] | None,
    ids: list[str] | None,
    limit: int | None,
) -> Query:
    """The query that the options of a command make."""
    return Query(author, search, tuple(tag or ()), tuple(architecture or ()), tuple(ids or ()), limit)


def source_name(folder: Path | None, endpoint: str | None, query: Query, *, whole: bool = False) -> str:
    """The name of the source that is meant; `whole`: all of a Hub may be."""
    if folder is not None and endpoint is not None:
        raise UsageError("--folder and --endpoint name two sources; one at a time")
    if folder is not None:
        from crawler.folder import FolderSource

        return FolderSource(folder).name
    if query == Query() and endpoint is None and not whole:
        raise UsageError(
            "the whole Hub is a great deal: say --author, --search, --tag, --architecture, --id or --limit, "
            "or crawl --list-only"
        )
    try:
        return checked_endpoint(endpoint or read_settings().endpoint).rstrip("/")
    except ValueError as error:
        raise UsageError(f"--endpoint {endpoint}: {error}") from error


def said_source(folder: Path | None, endpoint: str | None) -> str | None:
    """The name of the source that the command line names; None where it names none."""
    if folder is None and endpoint is None:
        return None
    return source_name(folder, endpoint, Query(limit=1))


def known_sources(engine: Engine) -> dict[str, int]:
    """The sources of the catalogue and their ids."""
    from sqlalchemy import select

    from db.engine import transaction
    from db.models import SourceRow

    with transaction(engine) as session:
        return {row.name: row.id for row in session.scalars(select(SourceRow))}


def crawled_sources(engine: Engine, folder: Path | None, endpoint: str | None) -> list[tuple[str, int]]:
    """Names and ids of the sources that were crawled: of the one that is named, or of all of them."""
    known = known_sources(engine)
    name = said_source(folder, endpoint)
    if name is not None:
        if name not in known:
            raise UsageError(f"{name} was not crawled yet: hublineage crawl comes first")
        return [(name, known[name])]
    if not known:
        raise NothingToDo("the catalogue is empty: hublineage crawl comes first")
    return sorted(known.items())


def print_json(value: Any) -> None:
    """Print a result for programs."""
    ascii_only = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=ascii_only, allow_nan=False) + "\n")


def console() -> Console:
    """Where results for people are printed."""
    return Console(width=None if sys.stdout.isatty() else 140)
