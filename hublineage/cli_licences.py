"""The command `licences`: what a model's declared licence leaves out of what its verified ancestors' ask for."""

# ruff: noqa: PLC0415  # what a command works with is imported when it runs: help needs none of it

from __future__ import annotations

from typing import Annotated

import typer

from hublineage.options import DataDir, Endpoint, Folder, Json
from lineage.licence_kinds import KINDS, SEVERITIES

Model = Annotated[str | None, typer.Argument(help="One model; all of the catalogue without.")]
Kind = Annotated[str | None, typer.Option(help=f"Only findings of this kind: {', '.join(KINDS)}.")]
Severity = Annotated[str | None, typer.Option(help=f"Only findings of this severity: {', '.join(SEVERITIES)}.")]
Limit = Annotated[int, typer.Option(min=0, help="At most this many findings and licences of the whole catalogue.")]


def licences(
    model: Model = None,
    kind: Kind = None,
    severity: Severity = None,
    limit: Limit = 50,
    folder: Folder = None,
    endpoint: Endpoint = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Hold licences along lineage: what of an ancestor's licence does not reach its descendants. Not legal advice.

    Only ancestors by decided, inferred edges count. Each finding shows the path of edges that it rests on, and the
    product of their confidences. Findings are made by `hublineage compare` (and `run`); docs/licences.md has the rules.
    Whatever is found, the exit code is 0.

    hublineage licences

    hublineage licences ORG/NAME --json

    hublineage licences --severity conflict --limit 500
    """
    from db.errors import UsageError
    from hublineage import licence_answers as answers
    from hublineage.context import print_json, said_source, working

    for name, value, allowed in (("kind", kind, KINDS), ("severity", severity, SEVERITIES)):
        if value is not None and value not in allowed:
            raise UsageError(f"--{name} {value}: expected {', '.join(allowed)}")
    if model is None and (folder is not None or endpoint is not None):
        raise UsageError("--folder and --endpoint say whose model is meant: name one")
    with working(data_dir) as context:
        if model is not None:
            found = answers.of_model(context.engine, model, said_source(folder, endpoint))
            found["findings"] = [
                row for row in found["findings"] if kind in (None, row["kind"]) and severity in (None, row["severity"])
            ]
        else:
            found = answers.of_all(context.engine, kind, severity, limit)
    if as_json:
        print_json(found)
    elif model is not None:
        answers.print_model(found)
    else:
        answers.print_all(found)
