"""How well cards agree with weights: verdicts counted by organisation, architecture and declared relation. Pure.

Coverage is the share of models on which the weights say something: every verdict but `unmeasured` and `undecided`.
Agreement is the share of `agrees` among the covered models that declare a parent. Where a truth is given, precision is
the share of decided inferred edges that are true and recall the share of true edges that were inferred and decided;
both count an edge to the group of its child, take models of equal weights for one, and leave out edges with an end that
was not measured or that the truth does not know. The same two of the declared parents stand beside them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from db.errors import UsageError

GROUPINGS = ("organisation", "architecture", "relation")
_SILENT = {"unmeasured", "undecided"}
Edges = frozenset[tuple[str, str]]  # (parent, child)


@dataclass(frozen=True)
class Judged:
    """A model with its verdict, and what it is counted under."""

    model: str
    verdict: str
    declares: bool
    architecture: str | None = None
    relation: str | None = None  # as declared

    def under(self, grouping: str) -> str:
        """The group that it belongs to."""
        if grouping == "organisation":
            return self.model.partition("/")[0] if "/" in self.model else "(none)"
        if grouping == "architecture":
            return self.architecture or "(not known)"
        return self.relation or "(nothing declared)"


@dataclass(frozen=True)
class Truth:
    """Whose parents are whose, as somebody knows it; never read by inference."""

    parents: Mapping[str, tuple[str, ...]]
    verdicts: Mapping[str, str] = field(default_factory=dict)  # what the comparison should say, where that is stated


@dataclass(frozen=True)
class Scored:
    """Edges that a truth can be held against, with models of equal weights as one."""

    inferred: Edges
    declared: Edges
    true: Edges


def read_truth(path: Path) -> Truth:
    """A truth.json: {"models": {name: {"parents": [name, ...], "verdict": optional}}}, or {name: [name, ...]} alone.

    Raises UsageError with what is wrong.
    """
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise UsageError(f"--truth {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"--truth {path}: it is no JSON: {error}") from error
    models = content.get("models", content) if isinstance(content, dict) else None
    if not isinstance(models, dict) or not models:
        raise UsageError(f'--truth {path}: expected {{"models": {{"org/name": {{"parents": ["org/name"]}}}}}}')
    parents: dict[str, tuple[str, ...]] = {}
    verdicts = {}
    for name, row in models.items():
        some = row.get("parents") if isinstance(row, dict) else row
        if not isinstance(some, list) or not all(isinstance(one, str) for one in some):
            raise UsageError(f"--truth {path}: the parents of {name} are no list of names")
        parents[name] = tuple(some)
        if isinstance(row, dict) and isinstance(row.get("verdict"), str):
            verdicts[name] = row["verdict"]
    return Truth(parents, verdicts)


def scored(
    truth: Truth,
    inferred: Iterable[tuple[str, str]],
    declared: Iterable[tuple[str, str]],
    measured: Iterable[str],
    duplicates: Sequence[Sequence[str]],
) -> Scored:
    """What a truth is held against: decided edges and declared parents, both (parent, child)."""
    stands = {one: group[0] for group in duplicates for one in group}
    there = {stands.get(one, one) for one in measured if one in truth.parents}

    def edges(pairs: Iterable[tuple[str, str]]) -> Edges:
        folded = ((stands.get(parent, parent), stands.get(child, child)) for parent, child in pairs)
        return frozenset((parent, child) for parent, child in folded if parent != child and {parent, child} <= there)

    true = edges((parent, child) for child, parents in truth.parents.items() for parent in parents)
    return Scored(edges(inferred), edges(declared), true)


def summary(
    models: Sequence[Judged], groupings: Sequence[str] = GROUPINGS, truth: Truth | None = None, by: Scored | None = None
) -> dict[str, Any]:
    """The summary of all models, and of each group of each grouping, the largest first."""
    found: dict[str, Any] = {"all": _counted(models, truth, by)}
    for grouping in groupings:
        groups: dict[str, list[Judged]] = {}
        for model in models:
            groups.setdefault(model.under(grouping), []).append(model)
        order = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
        found[grouping] = [{"group": name, **_counted(some, truth, by)} for name, some in order]
    return found


def _counted(models: Sequence[Judged], truth: Truth | None, by: Scored | None) -> dict[str, Any]:
    covered = [model for model in models if model.verdict not in _SILENT]
    declaring = [model for model in covered if model.declares]
    counts = Counter(model.verdict for model in models)
    counted: dict[str, Any] = {
        "models": len(models),
        "declaring": sum(model.declares for model in models),
        "coverage": _share(len(covered), len(models)),
        "agreement": _share(sum(model.verdict == "agrees" for model in declaring), len(declaring)),
        "verdicts": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
    }
    if truth is not None and by is not None:
        counted["truth"] = _against(models, truth, by)
    return counted


def _against(models: Sequence[Judged], truth: Truth, by: Scored) -> dict[str, Any]:
    here = {model.model for model in models}
    inferred, declared, true = (
        {edge for edge in edges if edge[1] in here} for edges in (by.inferred, by.declared, by.true)
    )
    stated = [model for model in models if model.model in truth.verdicts]
    return {
        "true edges": len(true),
        "precision": _share(len(inferred & true), len(inferred)),
        "recall": _share(len(inferred & true), len(true)),
        "declared precision": _share(len(declared & true), len(declared)),
        "declared recall": _share(len(declared & true), len(true)),
        "verdicts as stated": _share(sum(truth.verdicts[one.model] == one.verdict for one in stated), len(stated)),
        "models that the truth does not know": sum(one.model not in truth.parents for one in models),
    }


def _share(part: int, whole: int) -> float | None:
    """None where there is nothing to have a share of."""
    return round(part / whole, 4) if whole else None
