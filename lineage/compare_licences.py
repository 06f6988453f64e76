"""Holds every model's declared licence against those of its verified ancestors, and stores what does not follow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from db import licences as rows
from lineage.licence_findings import Ancestor, Finding, Step, ancestry, findings
from lineage.licences import Declared, read_declared

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from lineage.verdict import Found

SHOWN = 50  # ancestors that are stored with a model, the surest


@dataclass(frozen=True)
class Placed:
    """What is needed of a model: its revision, and when it was created, where that is known."""

    revision_id: int
    created_at: datetime | None


def compare_licences(
    session: Session,
    source_id: int,
    models: Mapping[str, Placed],
    found: Found,
    steps: Mapping[str, Sequence[Step]],
) -> int:
    """Store the licences and the findings of all models of a source; return how many findings there are.

    `steps` are the inferred edges to each model's parents, decided ones only, by the names that stand in the trees.
    """
    declared = {name: read_declared(card.data, card.tags) for name, card in rows.cards(session, source_id).items()}
    ways = with_copies(models, found, steps)
    stored, raised = [], {}
    for name, model in models.items():
        ancestors = ancestry(name, ways)
        own = declared.get(name, Declared())
        some = findings(name, own, ancestors, declared)
        unchecked = None if ancestors else _unchecked(name, found)
        stored.append(_row(model.revision_id, own, ancestors, declared, unchecked))
        raised[model.revision_id] = [_finding(one) for one in some]
    rows.store(session, stored, raised)
    return sum(map(len, raised.values()))


def with_copies(
    models: Mapping[str, Placed], found: Found, steps: Mapping[str, Sequence[Step]]
) -> dict[str, list[Step]]:
    """The steps of every model: those of the one in whose place it stands, and from a copy to its original.

    Equal weights do not say which came first: only where both dates of creation are known, and differ, is a copy one.
    """
    ways: dict[str, list[Step]] = {}
    originals = {copy: first for copy, first in found.original.items() if _is_older(models, first, copy)}
    first_of = {found.place(copy): first for copy, first in originals.items()}
    for name in models:
        some = [
            Step(first_of.get(step.parent, step.parent), step.relation, step.confidence)
            for step in steps.get(found.place(name), ())
        ]
        if name in originals:
            some.append(Step(originals[name], "duplicate", 1.0))
        if some:
            ways[name] = some
    return ways


def _is_older(models: Mapping[str, Placed], one: str, other: str) -> bool:
    first, second = (models[name].created_at if name in models else None for name in (one, other))
    return first is not None and second is not None and first < second


def _unchecked(name: str, found: Found) -> str:
    """Why a model has no verified ancestors."""
    if name in found.missing:
        return f"its weights were not compared: {found.missing[name]}"
    if found.parents.get(found.place(name)):
        return "no edge to a parent of it is decided"
    if name in found.siblings:
        return "its parent is not in the catalogue"
    return "no parent of it was found"


def _row(
    revision_id: int,
    own: Declared,
    ancestors: Sequence[Ancestor],
    declared: Mapping[str, Declared],
    unchecked: str | None,
) -> dict[str, Any]:
    return {
        "revision_id": revision_id,
        "declared": list(own.names),
        "licences": list(own.ids),
        "name": own.name,
        "link": own.link,
        "declared_in": own.where,
        "ancestors": [_ancestor(one, declared) for one in ancestors[:SHOWN]],
        "unchecked": unchecked,
    }


def _ancestor(ancestor: Ancestor, declared: Mapping[str, Declared]) -> dict[str, Any]:
    theirs = declared.get(ancestor.model, Declared())
    return {
        "model": ancestor.model,
        "declared": list(theirs.names),
        "licences": list(theirs.ids),
        "path": list(ancestor.path),
        "relations": list(ancestor.relations),
        "confidence": ancestor.confidence,
    }


def _finding(found: Finding) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "severity": found.severity,
        "licence": found.licence,
        "path": list(found.path),
        "confidence": found.confidence,
        "why": found.why,
        "cite": found.cite,
    }


def decided_steps(edges: Iterable[tuple[str, str, str, float]]) -> dict[str, list[Step]]:
    """Steps by child, of (child, parent, relation, confidence)."""
    steps: dict[str, list[Step]] = {}
    for child, parent, relation, confidence in edges:
        steps.setdefault(child, []).append(Step(parent, relation, confidence))
    return steps
