"""Learns when the common parent of a group of models is absent (lineage/absent.py), from trees with and without roots.

Of every tree of a zoo there are two: as it is, and without its root, so that its children are siblings of an absent
parent. Folds of one initialisation are such siblings already. A group is what `seen_groups` takes for one in the
inferred skeleton; its parent is absent if most of its members share one that is not there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks.recovery_zoos import Family
from lineage.absent import FLOOR, LEAST, MARGIN_FLOOR, Group, seen_groups
from lineage.cluster import clusters, duplicates
from lineage.direction import root_tree
from lineage.family import FamilyMeasures
from lineage.learnt import AbsentWeights
from lineage.skeleton import skeleton

MOST = 0.6  # share of a group's edges that join siblings, from which on its parent is absent ...
FEW = 0.3  # ... and up to which it is there; groups between the two teach nothing
PENALTY = 5e-3  # on the squared weights

Models = Mapping[str, Mapping[str, Any]]
Seen = Sequence[tuple[Group, bool, int, int]]  # a group, whether its parent is absent, its true edges, all its edges


def groups(models: Models, families: Sequence[Family]) -> Seen:
    """The groups of a zoo's trees, whole and without their roots."""
    found: list[tuple[Group, bool, int, int]] = []
    for measures, names in families:
        parents = {name: tuple(models[name]["parents"]) or _initialisation(models[name]) for name in names}
        for members in _trees(measures, names, models, parents):
            for cluster in clusters(measures, members=members):
                if len(cluster) > 2:
                    found += _seen(measures, cluster, names, parents)
    return found


def _initialisation(model: Mapping[str, Any]) -> tuple[str, ...]:
    return (f"initialisation {model['initialisation']}",) if model.get("initialisation") else ()


def _trees(
    measures: FamilyMeasures, names: Sequence[str], models: Models, parents: Mapping[str, tuple[str, ...]]
) -> Iterator[list[int]]:
    again = {one for group in duplicates(measures) for one in group[1:]}
    trees: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        if position not in again and models[name]["relation"] != "merge":
            trees.setdefault(models[name]["tree"], []).append(position)
    for members in trees.values():
        yield members
        below = [one for one in members if parents[names[one]]]
        if len(below) < len(members):
            yield below


def _seen(
    measures: FamilyMeasures, cluster: Sequence[int], names: Sequence[str], parents: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[Group, bool, int, int]]:
    found = skeleton(measures, cluster)
    root = root_tree(measures, found.sources, found.core, stand_in=found.stand_in).root
    here = {names[one] for one in cluster}
    for group in seen_groups(found, root):
        edges = [(names[a], names[b]) for a, b in found.core if {a, b} <= group.members]
        true = sum(a in parents[b] or b in parents[a] for a, b in edges)
        orphans = sum(bool(set(parents[a]) & set(parents[b]) - here) for a, b in edges)
        if not FEW < orphans / len(edges) < MOST:
            yield group, orphans / len(edges) >= MOST, true, len(edges)


def learn_absent(zoos: Sequence[Seen]) -> AbsentWeights:
    """The logistic regression that the parent of a group is absent; zoos count by the root of their groups' number."""
    every = [one for zoo in zoos for one in zoo]
    absent = np.array([one[1] for one in every], dtype=float)
    share = np.array([1 / np.sqrt(len(zoo)) for zoo in zoos for _ in zoo])
    share /= share.sum()
    seen = np.array([_signs(group) for group, *_ in every])
    unknown = np.isnan(seen[:, 1])
    usual = float(np.average(seen[~unknown, 1], weights=share[~unknown]))
    seen[unknown, 1] = usual
    table = np.column_stack([np.ones(len(every)), seen])

    def loss(weights: NDArray[np.float64]) -> float:
        logits = table @ weights
        return float(share @ (np.logaddexp(0, logits) - absent * logits)) + PENALTY * float(weights[1:] @ weights[1:])

    bounds = [(None, None), (0.0, None), (None, 0.0), (None, 0.0), (0.0, None)]
    rounded = (round(float(value), 4) for value in (*minimize(loss, np.zeros(5), bounds=bounds).x, usual, 0.5))
    first = AbsentWeights(*rounded)
    said = [(true, edges) for group, _, true, edges in every if group.probability(first) >= LEAST]
    adjacent = (sum(true for true, _ in said) + 1) / (sum(edges for _, edges in said) + 2)
    return replace(first, adjacent=round(adjacent, 4))


def _signs(group: Group) -> tuple[float, float, float, float]:
    usual = np.nan if np.isnan(group.usual) else np.log(max(group.usual, 0.0) + FLOOR)
    return (
        float(np.log(max(group.acute, 0.0) + FLOOR)),
        float(usual),
        float(np.log(group.margin + MARGIN_FLOOR)),
        group.between,
    )


def absent_left_out(zoos: Mapping[str, Seen]) -> str:
    """What is said of each zoo's groups by what was learnt from all others: absent parents found, and false ones."""
    lines, found, false = [], [], []
    for name, seen in zoos.items():
        weights = learn_absent([other for key, other in zoos.items() if key != name])
        said = [(absent, group.probability(weights) >= LEAST) for group, absent, *_ in seen]
        here, not_here = [one for absent, one in said if absent], [one for absent, one in said if not absent]
        found += here
        false += not_here
        lines.append(f"{name} {sum(here)} of {len(here)}, false {sum(not_here)} of {len(not_here)}")
    return f"found {sum(found)} of {len(found)}, false {sum(false)} of {len(false)}: {'; '.join(lines)}"
