"""Compares what a source's models declare with what their families' current runs inferred, and stores the verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from db import failures, verdicts
from db import lineage as rows
from db.declared import WEAK_SOURCES
from db.engine import transaction
from lineage.compare_licences import Placed, compare_licences, decided_steps
from lineage.measure_options import METRIC_VERSION
from lineage.verdict import Claim, Found, judge

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from db.lineage import Model
    from db.models import DeclaredParent


def compare(engine: Engine, source_id: int) -> int:
    """Store a verdict for every described model of a source; return how many there are. Twice changes nothing."""
    with transaction(engine) as session:
        models = rows.models(session, source_id)
        declared = rows.declared(session, source_id)
        known = _known(session, source_id, [row for some in declared.values() for row in some])
        found, runs, edges = _found(session, source_id, models, known)
        problems = verdicts.declared_problems(session, source_id, ("cycle", "self-reference"))
        judged = []
        for model in models:
            claims = [_claim(row, known) for row in declared.get(model.revision_id, [])]
            wrong = [_PROBLEM[kind].format(detail) for kind, detail in problems.get(model.revision_id, [])]
            verdict = judge(model.name, claims, found, found.missing.get(model.name), wrong)
            judged.append(
                {
                    "revision_id": model.revision_id,
                    "run_id": runs.get(model.name),
                    "verdict": verdict.verdict,
                    "why": verdict.why,
                    "declared": list(verdict.declared),
                    "inferred": list(verdict.inferred),
                }
            )
        verdicts.store(session, judged)
        placed = {model.name: Placed(model.revision_id, model.created_at) for model in models}
        compare_licences(session, source_id, placed, found, decided_steps(edges))
    return len(judged)


_PROBLEM = {"cycle": "what is declared goes in a circle: {}", "self-reference": "{}, which says nothing"}


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


def _found(
    session: Session, source_id: int, models: list[Model], known: _Known
) -> tuple[Found, dict[str, int], list[tuple[str, str, str, float]]]:
    """What the current runs of all families of a source found, the run of each model, and the decided edges.

    Edges are (child, parent, relation, confidence).
    """
    name = {model.revision_id: model.name for model in models}
    age = {model.name: (model.created_at is None, model.created_at, model.name) for model in models}
    parents: dict[str, dict[str, bool]] = {}
    tree: dict[str, int] = {}
    family: dict[str, str] = {}
    original: dict[str, str] = {}
    stands_for: dict[str, str] = {}
    siblings: dict[str, list[str]] = {}
    runs: dict[str, int] = {}
    edges: list[tuple[str, str, str, float]] = []
    current = rows.current_runs(session, source_id)
    for kin, run in current:
        for cluster, members in rows.clusters(session, run.id):
            for member in (name[one] for one in members if one in name):
                tree[member], family[member], runs[member] = cluster.id, kin.name, run.id
        for edge in rows.edges(session, run.id):
            if edge.relation != "duplicate" and edge.parent_id in name and edge.child_id in name:
                child, parent = name[edge.child_id], name[edge.parent_id]
                parents.setdefault(child, {})[parent] = edge.decided
                if edge.decided:
                    edges.append((child, parent, edge.relation, edge.confidence))
        for groups in rows.absent_parents(session, run.id).values():
            for together in ([name[one] for one in some if one in name] for some in groups):
                siblings.update(dict.fromkeys(together, together))
        for group in rows.duplicate_groups(session, run.id):
            # Which copy came first is not for weights to say; for the comparison the dates of upload do.
            named = sorted((name[one] for one in group if one in name), key=lambda one: age[one])
            original.update(dict.fromkeys(named[1:], named[0]))
            stands_for.update({name[one]: name[group[0]] for one in group[1:] if one in name and group[0] in name})
    states = _states(session, source_id, {kin.name: run.id for kin, run in current})
    missing = _missing(models, tree.keys(), _reasons(session, source_id), states)
    listed_only = dict.fromkeys(known.by_id.values(), "it is only listed: `hublineage crawl` describes it")
    described = {model.name for model in models}
    missing |= {one: why for one, why in listed_only.items() if one not in described}
    return Found(parents, tree, family, original, stands_for, siblings, missing), runs, edges


def _states(session: Session, source_id: int, runs: Mapping[str, int]) -> dict[str, str]:
    """By family: why a member of it may be in no tree, as far as the stages have come."""
    states = {}
    for name, begun, finished in verdicts.measuring(session, source_id, METRIC_VERSION):
        if name in runs:
            after = f"it came after run {runs[name]} of its family {name}: `hublineage measure` and `infer` take it up"
            states[name] = after
        elif finished:
            states[name] = f"its family {name} was measured but not inferred yet: `hublineage infer` does it"
        elif begun:
            states[name] = f"the measures of its family {name} are incomplete: `hublineage measure` goes on with them"
        else:
            states[name] = f"its family {name} was never measured: `hublineage measure` does it"
    return states


def _missing(
    models: list[Model], placed: Collection[str], failures_: Mapping[str, str], states: Mapping[str, str]
) -> dict[str, str]:
    """Why each model that is in no tree is in none."""
    return {
        model.name: _why_unmeasured(model, failures_.get(model.name), states.get(model.family or ""))
        for model in models
        if model.name not in placed
    }


def _reasons(session: Session, source_id: int) -> dict[str, str]:
    """Why models were left out: the first of each one's failures that is not only about its card."""
    found: dict[str, str] = {}
    for name, row in failures.unresolved(session, source_id):
        if row.stage != "card":
            place = " ".join(part for part in (row.file, row.tensor) if part)
            found.setdefault(name, f"{place}: {row.reason}" if place else row.reason)
    return found


def _why_unmeasured(model: Model, failure: str | None, state: str | None) -> str:
    if model.weights == "adapter":
        return "an adapter holds only a difference, which cannot be compared with whole models"
    if failure is not None or state is not None:
        return failure or state or ""
    if model.weights == "none":
        return "it has no safetensors weights"
    return "its weights were not measured"
