"""Compares what a source's models declare with what their families' current runs inferred, and stores the verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from db import failures
from db import lineage as rows
from db.declared import WEAK_SOURCES
from db.engine import transaction
from lineage.verdict import Claim, Found, judge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from db.lineage import Model
    from db.models import DeclaredParent


def compare(engine: Engine, source_id: int) -> int:
    """Store a verdict for every described model of a source; return how many there are. Twice changes nothing."""
    with transaction(engine) as session:
        models = rows.models(session, source_id)
        declared = rows.declared(session, source_id)
        found, runs = _found(session, source_id, models)
        reasons = _reasons(session, source_id)
        known = _known(session, source_id, [row for some in declared.values() for row in some])
        judged = 0
        for model in models:
            claims = [_claim(row, known) for row in declared.get(model.revision_id, [])]
            missing = None if model.name in found.tree else _why_unmeasured(model, reasons.get(model.name))
            verdict = judge(model.name, claims, found, missing)
            values = {
                "run_id": runs.get(model.name),
                "verdict": verdict.verdict,
                "why": verdict.why,
                "declared": list(verdict.declared),
                "inferred": list(verdict.inferred),
            }
            rows.store_verdict(session, model.revision_id, values)
            judged += 1
    return judged


@dataclass(frozen=True)
class _Known:
    """The catalogue's names, by repository and by the name in small letters."""

    by_id: Mapping[int, str]
    by_name: Mapping[str, str]


def _known(session: Session, source_id: int, declared: list[DeclaredParent]) -> _Known:
    resolved = {row.parent_id for row in declared if row.parent_id is not None}
    left = {row.name for row in declared if row.resolution is None and row.kind == "hub"}
    return _Known(rows.names(session, resolved), rows.known_names(session, source_id, left))


def _claim(row: DeclaredParent, known: _Known) -> Claim:
    """A row as it was resolved; by its name where it never was."""
    if row.resolution is not None:
        model = known.by_id.get(row.parent_id) if row.parent_id is not None else None
    else:
        model = known.by_name.get(row.name.lower()) if row.kind == "hub" else None
    return Claim(row.name, row.kind, model, weak=row.source in WEAK_SOURCES)


def _found(session: Session, source_id: int, models: list[Model]) -> tuple[Found, dict[str, int]]:
    """What the current runs of all families of a source found, and the run of each model."""
    name = {model.revision_id: model.name for model in models}
    age = {model.name: (model.created_at is None, model.created_at, model.name) for model in models}
    parents: dict[str, dict[str, bool]] = {}
    tree: dict[str, int] = {}
    family: dict[str, str] = {}
    original: dict[str, str] = {}
    stands_for: dict[str, str] = {}
    runs: dict[str, int] = {}
    for kin, run in rows.current_runs(session, source_id):
        for cluster, members in rows.clusters(session, run.id):
            for member in (name[one] for one in members if one in name):
                tree[member], family[member], runs[member] = cluster.id, kin.name, run.id
        for edge in rows.edges(session, run.id):
            if edge.relation != "duplicate" and edge.parent_id in name and edge.child_id in name:
                parents.setdefault(name[edge.child_id], {})[name[edge.parent_id]] = edge.decided
        for group in rows.duplicate_groups(session, run.id):
            # Which copy came first is not for weights to say; for the comparison the dates of upload do.
            named = sorted((name[one] for one in group if one in name), key=lambda one: age[one])
            original.update(dict.fromkeys(named[1:], named[0]))
            stands_for.update({name[one]: name[group[0]] for one in group[1:] if one in name and group[0] in name})
    return Found(parents, tree, family, original, stands_for), runs


def _reasons(session: Session, source_id: int) -> dict[str, str]:
    """Why models were left out: the first of each one's failures that is not only about its card."""
    found: dict[str, str] = {}
    for name, row in failures.unresolved(session, source_id):
        if row.stage != "card":
            place = " ".join(part for part in (row.file, row.tensor) if part)
            found.setdefault(name, f"{place}: {row.reason}" if place else row.reason)
    return found


def _why_unmeasured(model: Model, failure: str | None) -> str:
    if model.weights == "adapter":
        return "an adapter holds only a difference, which cannot be compared with whole models"
    return failure or "its weights were not measured"
