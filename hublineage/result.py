"""What is known of a source as one JSON object: the program's fixed output (docs/cli.md states it)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from db import failures
from db import lineage as rows
from db import verdicts as judged
from db.engine import transaction

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from db.models import Run


def result(engine: Engine, source_id: int) -> dict[str, Any]:
    """Families with their trees, duplicates, verdicts and failures of a source; models are named org/name."""
    with transaction(engine) as session:
        name = {model.revision_id: model.name for model in rows.models(session, source_id)}
        runs = rows.current_runs(session, source_id)
        families = [{"family": family.name, **_trees(session, run, name)} for family, run in runs]
        return {
            "families": [family for family in families if family["models"]],
            "duplicates": [
                [name[one] for one in group if one in name]
                for _, run in runs
                for group in rows.duplicate_groups(session, run.id)
            ],
            "verdicts": verdicts(session, source_id),
            "failures": failures_of(session, source_id),
        }


def _trees(session: Session, run: Run, name: dict[int, str]) -> dict[str, Any]:
    edges: dict[int, list[dict[str, Any]]] = {}
    for edge in rows.edges(session, run.id):
        if edge.parent_id in name and edge.child_id in name:
            edges.setdefault(edge.cluster_id, []).append(
                {
                    "parent": name[edge.parent_id],
                    "child": name[edge.child_id],
                    "relation": edge.relation,
                    "confidence": round(edge.confidence, 4),
                    "decided": edge.decided,
                    "evidence": edge.evidence,
                }
            )
    absent = rows.absent_parents(session, run.id)
    missing = rows.missing_ancestors(session, run.id)
    there = set(name.values())
    trees: list[dict[str, Any]] = [
        {
            "models": sorted(name[one] for one in members if one in name),
            "root": name.get(cluster.root_revision_id or 0),
            "edges": sorted(edges.get(cluster.id, []), key=lambda edge: (edge["parent"], edge["child"])),
            "absent": sorted(sorted(name[one] for one in group if one in name) for group in absent.get(cluster.id, [])),
            "missing": [_unnamed(row, there) for row in missing.get(cluster.position, [])],
        }
        for cluster, members in rows.clusters(session, run.id)
    ]
    trees = [tree for tree in trees if tree["models"]]
    return {
        "method": run.method,
        "run": run.id,
        "notes": run.notes,
        "models": sorted(model for tree in trees for model in tree["models"]),
        "trees": sorted(trees, key=lambda tree: (-len(tree["models"]), tree["models"])),
    }


def _unnamed(row: dict[str, Any], there: set[str]) -> dict[str, Any]:
    """What is known of a node that is not in the catalogue: its children, how far they are from it, what names it."""
    children = zip(row["children"], row["distances"], strict=True)
    return {
        "node": row["node"],
        "family": row["family"],
        "below": row["below"] if row["below"] in there else None,
        "children": [
            {"model": model, "distance": None if distance is None else round(distance, 4)}
            for model, distance in children
            if model in there
        ],
        "candidates": row["candidates"],
    }


def verdicts(session: Session, source_id: int) -> list[dict[str, Any]]:
    """Declared against inferred, by model."""
    return [
        {
            "model": name,
            "declared": row.declared,
            "inferred": row.inferred,
            "verdict": row.verdict,
            "why": row.why,
        }
        for name, row in judged.of_source(session, source_id)
    ]


def failures_of(session: Session, source_id: int) -> list[dict[str, Any]]:
    """What could not be used, and why."""
    return [
        {"model": name, "file": row.file, "tensor": row.tensor, "reason": row.reason}
        for name, row in failures.unresolved(session, source_id)
    ]
