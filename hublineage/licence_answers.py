"""What the command `licences` answers: of one model or of all, and how that is printed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from db import licences as rows
from db.engine import transaction
from hublineage import answers
from hublineage.context import console
from lineage.licences import NOTICE, read_declared, rule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Engine

_STYLES = {"conflict": "red", "duty": "yellow", "read": "cyan"}


def of_all(engine: Engine, kind: str | None, severity: str | None, limit: int) -> dict[str, Any]:
    """Counts over the catalogue, and its first findings."""
    with transaction(engine) as session:
        some = [_finding(row) for row in rows.findings(session, kind=kind, severity=severity, limit=limit)]
        summary = rows.counts(session, limit)
    return {"summary": summary, "findings": some, "notice": NOTICE}


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


def print_model(found: Mapping[str, Any]) -> None:
    """What `of_model` found, on the console."""
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


def print_all(found: Mapping[str, Any]) -> None:
    """What `of_all` found, on the console."""
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
