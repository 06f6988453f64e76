"""The command `licences`: what a model's declared licence leaves out of what its verified ancestors' ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from db import licences as rows
from db.engine import transaction
from db.errors import UsageError
from hublineage import answers
from hublineage.context import console, print_json, said_source, working
from hublineage.options import DataDir, Endpoint, Folder, Json
from lineage.licence_findings import KINDS, SEVERITIES
from lineage.licences import NOTICE, read_declared, rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Engine

Model = Annotated[str | None, typer.Argument(help="One model; all of the catalogue without.")]
Kind = Annotated[str | None, typer.Option(help=f"Only findings of this kind: {', '.join(KINDS)}.")]
Severity = Annotated[str | None, typer.Option(help=f"Only findings of this severity: {', '.join(SEVERITIES)}.")]
Limit = Annotated[int, typer.Option(min=0, help="At most this many findings and licences of the whole catalogue.")]
_STYLES = {"conflict": "red", "duty": "yellow", "read": "cyan"}


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
    for name, value, allowed in (("kind", kind, KINDS), ("severity", severity, SEVERITIES)):
        if value is not None and value not in allowed:
            raise UsageError(f"--{name} {value}: expected {', '.join(allowed)}")
    if model is None and (folder is not None or endpoint is not None):
        raise UsageError("--folder and --endpoint say whose model is meant: name one")
    with working(data_dir) as context:
        if model is not None:
            found = of_model(context.engine, model, said_source(folder, endpoint))
            found["findings"] = [
                row for row in found["findings"] if kind in (None, row["kind"]) and severity in (None, row["severity"])
            ]
        else:
            with transaction(context.engine) as session:
                found = rows.counts(session, limit)
                some = rows.findings(session, kind=kind, severity=severity, limit=limit)
                found = {"summary": found, "findings": [_finding(row) for row in some], "notice": NOTICE}
    if as_json:
        print_json(found)
    elif model is not None:
        _print_model(found)
    else:
        _print_all(found)


def of_model(engine: Engine, name: str, source: str | None = None) -> dict[str, Any]:
    """A model's licence, those of its verified ancestors, and what does not follow. Raises UsageError with near names.

    `why` says why there are no findings, where there are none.
    """
    _, number, exact = answers.find_model(engine, name, source)
    with transaction(engine) as session:
        stored, findings = rows.of_model(session, number)
        card, described = rows.card(session, number)
    declared = read_declared(card.data, card.tags)
    ancestors = stored["ancestors"] if stored is not None else []
    return {
        "model": exact,
        "licence": {
            "declared": list(declared.names),
            "licences": [_rule(one) for one in declared.ids],
            "name": declared.name,
            "link": declared.link,
            "declared_in": declared.where,
        },
        "ancestors": ancestors,
        "findings": [_finding({"model": exact, **row}) for row in findings],
        "why": None if findings else _why(stored, described=described),
        "confidence": "the product of the confidences of the edges on the path",
        "notice": NOTICE,
    }


def _why(stored: Mapping[str, Any] | None, *, described: bool) -> str:
    """Why a model has no findings."""
    if stored is not None:
        none = f"it has no verified ancestor: {stored['unchecked']}"
        return none if stored["unchecked"] else "nothing that its verified ancestors' licences ask for is left out"
    if not described:
        return "it is only listed: `hublineage crawl` describes it"
    return "it was not compared yet: `hublineage compare` does it"


def _rule(identifier: str) -> dict[str, Any]:
    known = rule(identifier)
    return {"id": known.id, "name": known.name, "class": known.kind, "duties": dict(known.duties), "text": known.url}


def _finding(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "model": row["model"],
        "severity": row["severity"],
        "kind": row["kind"],
        "ancestor": row["path"][0],
        "licence": row["licence"],
        "path": row["path"],
        "confidence": round(row["confidence"], 4),
        "why": row["why"],
        "text": row["cite"] or None,
    }


def _print_model(found: Mapping[str, Any]) -> None:
    screen = console()
    screen.print(Text(found["model"], style="bold underline"))
    said = found["licence"]
    kinds = ", ".join(f"{one['name']}: {one['class']}" for one in said["licences"])
    where = f"  ({kinds}; in the {said['declared_in']})" if said["declared"] else ""
    _line(f"declares {', '.join(said['declared']) or 'no licence'}{where}")
    for ancestor in found["ancestors"]:
        theirs = ", ".join(ancestor["declared"]) or "no licence"
        _line(f"  {ancestor['model']} declares {theirs}, by {_path(ancestor)}")
    for row in found["findings"]:
        screen.print(Text(f"{row['severity']}: {row['kind']}", style=_STYLES[row["severity"]]))
        _line(f"  {row['why']}")
        _line(f"  by {_path(row)}; text: {row['text'] or 'none known'}")
    if not found["findings"]:
        _line(f"no finding: {found['why']}" if found["why"] else "no finding of this kind")
    _line(found["notice"])


def _path(row: Mapping[str, Any]) -> str:
    return f"{' → '.join(row['path'])} (confidence {row['confidence']:.2f})"


def _line(words: str) -> None:
    console().print(words, highlight=False, markup=False, soft_wrap=True)


def _print_all(found: Mapping[str, Any]) -> None:
    told = found["summary"]
    screen = console()
    if not told["models"]:
        _line("no model was compared yet: `hublineage compare` does it")
        _line(found["notice"])
        return
    _line(
        f"{told['models']} models, {told['with verified ancestors']} with verified ancestors, "
        f"{told['with findings']} with findings"
    )
    counts = ((row["severity"], row["kind"], str(row["findings"]), str(row["models"])) for row in told["findings"])
    screen.print(_table(("severity", "kind", "findings", "models"), counts))
    screen.print(_table(("licence", "models"), ((row["licence"], str(row["models"])) for row in told["licences"])))
    shown = (
        (row["model"], f"{row['severity']}: {row['kind']}", f"{row['why']}; by {_path(row)}")
        for row in found["findings"]
    )
    screen.print(_table(("model", "finding", "why"), shown))
    total = sum(row["findings"] for row in told["findings"])
    if total > len(found["findings"]):
        _line(f"{len(found['findings'])} of {total} findings are shown: --limit, --kind and --severity choose")
    _line(found["notice"])


def _table(columns: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(f"\n{column}", overflow="fold")
    for line in lines:
        table.add_row(*(Text(cell) for cell in line))
    return table
