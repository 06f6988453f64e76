"""The command `hublineage export`."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from db.errors import NothingToDo, UsageError
from hublineage.context import crawled_sources, said_source, working
from hublineage.export import forest, graphml, newick, prov
from hublineage.export.output import staged_file
from hublineage.options import DataDir, Endpoint, Folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


class Format(StrEnum):
    """What an export may be written as."""

    PARQUET = "parquet"
    CSV = "csv"
    CYCLONEDX = "cyclonedx"
    PROV = "prov"
    GRAPHML = "graphml"
    NEWICK = "newick"


_TABLES = {Format.PARQUET, Format.CSV}
_TREES = {Format.GRAPHML, Format.NEWICK}

Form = Annotated[
    Format,
    typer.Option(
        "--format",
        help="parquet or csv: every public view, a file each. cyclonedx (ML-BOM 1.6) or prov (PROV-O as JSON-LD): the "
        "lineage of --model. graphml or newick: the trees of --model or --family.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(help="Where to write: of parquet and csv a new or empty folder, else a file; stdout by default."),
]
ModelName = Annotated[str | None, typer.Option("--model", help="The model (org/name) whose lineage is written.")]
FamilyName = Annotated[str | None, typer.Option("--family", help="The family whose trees are all written.")]
Replace = Annotated[bool, typer.Option("--replace", help="Write over an earlier export.")]


def export(
    form: Form,
    out: Out = None,
    model: ModelName = None,
    family: FamilyName = None,
    folder: Folder = None,
    endpoint: Endpoint = None,
    replace: Replace = False,
    data_dir: DataDir = None,
) -> None:
    """Write what the catalogue knows for other programs: whole tables, or the lineage of a model or a family.

    hublineage export --format parquet --out tables; then: duckdb -c "SELECT * FROM 'tables/verdicts.parquet'"

    hublineage export --format graphml --model ORG/NAME --out tree.graphml; docs/exports.md says more.
    """
    _check(form, out, model, family)
    with working(data_dir) as context:
        sources = crawled_sources(context.engine, folder, endpoint)
        if form in _TABLES:
            if folder is not None or endpoint is not None:
                raise UsageError(f"--format {form} writes all sources; their names are a column of every table")
            assert out is not None  # noqa: S101  # checked above
            from hublineage.export import tables  # noqa: PLC0415  # Arrow takes long to load, and no other command asks

            tables.export(context.engine, form, out, replace=replace, tell=_say_rows)
        else:
            source = said_source(folder, endpoint)
            _export_lineage(context.engine, form, out, model, family, sources, source=source, replace=replace)


def _check(form: Format, out: Path | None, model: str | None, family: str | None) -> None:
    """Say what of the command line does not fit together. Raises UsageError."""
    if form in _TABLES:
        if out is None:
            raise UsageError(f"--format {form} writes a folder of files: say --out DIR")
        if model is not None or family is not None:
            raise UsageError(f"--format {form} writes the whole catalogue: --model and --family are for other formats")
    elif form not in _TREES:
        if model is None or family is not None:
            raise UsageError(f"--format {form} is of one model: say --model ORG/NAME, and no --family")
    elif (model is None) == (family is None):
        raise UsageError(f"--format {form} takes --model ORG/NAME or --family NAME, one of them")


def _export_lineage(
    engine: Engine,
    form: Format,
    out: Path | None,
    model: str | None,
    family: str | None,
    sources: list[tuple[str, int]],
    *,
    source: str | None,
    replace: bool,
) -> None:
    node = 0
    if family is not None:
        found = forest.of_family(engine, family, sources)
    else:
        found, node = forest.of_model(engine, model or "", source)
    if found.why is not None and form == Format.NEWICK:
        raise NothingToDo(found.why)
    messages = [found.why] if found.why is not None else []
    with _written(out, replace=replace) as file:
        if form == Format.NEWICK:
            messages += newick.write(file, found)
        elif form == Format.GRAPHML:
            graphml.write(file, found)
        elif form == Format.PROV:
            prov.write(file, found, node)
        else:
            from hublineage.export import cyclonedx  # noqa: PLC0415  # takes long to load, and no other format asks

            cyclonedx.write(file, found, node)
    for message in messages:
        _say(message)


@contextmanager
def _written(out: Path | None, *, replace: bool) -> Iterator[TextIO]:
    """The file that is named, whole at the end or not there; stdout where none is."""
    if out is not None:
        with staged_file(out, replace=replace) as file:
            yield file
        return
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # the formats are, whatever the terminal is
    yield sys.stdout
    sys.stdout.flush()


def _say_rows(name: str, rows: int) -> None:
    _say(f"{name}: {rows:,} rows")


def _say(line: str) -> None:
    print(line, file=sys.stderr)  # noqa: T201  # progress is for people
