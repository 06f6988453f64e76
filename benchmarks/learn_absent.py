"""Learns when the common parent of a group of models is absent (lineage/absent.py), from trees with and without roots.

Of every tree of a zoo there are two: as it is, and without its root, so that its children are siblings of an absent
parent. Folds of one initialisation are such siblings already. A group is what `seen_groups` takes for one in the
inferred skeleton; its parent is absent if most of its members share one that is not there. What the edges of groups
that are said to lack a parent are stated at is learnt from zoos as they are: not every other tree lacks its root there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from benchmarks.recovery_zoos import Family
from lineage.absent import FLOOR, LEAST, MARGIN_FLOOR, Group, seen_groups
from lineage.between import CLEAR
from lineage.cluster import clusters, duplicates
from lineage.direction import root_tree
from lineage.family import FamilyMeasures
from lineage.learnt import AbsentWeights
from lineage.skeleton import skeleton

MOST = 0.6  # share of a group's edges that join siblings, from which on its parent is absent ...
FEW = 0.3  # ... and up to which it is there; groups between the two teach nothing
PENALTY = 5e-3  # on the squared weights

RARITY_PENALTY = 0.01  # on its square: a few groups are no reason for certainty

Models = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class SeenGroup:
    """A group, and what is true of the edges among its members."""

    group: Group
    siblings: int  # edges that join siblings of a parent that is not there
    true: int
    edges: int

    @property
    def absent(self) -> bool:
        """Whether its parent is."""
        return self.siblings >= MOST * self.edges

    @property
    def plain(self) -> bool:
        """Whether it is there or not beyond dispute."""
        return self.absent or self.siblings <= FEW * self.edges


@dataclass
class Seen:
    """What is seen of a zoo's trees."""

    groups: list[SeenGroup] = field(default_factory=list)
    clear_true: int = 0  # true edges among those between clear siblings, and all of these
    clear: int = 0


def groups(models: Models, families: Sequence[Family], *, as_is: bool = False) -> Seen:
    """The groups of a zoo's trees as they are and, unless only these are asked for, without their roots as well."""
    found = Seen()
    for measures, names in families:
        parents = {name: tuple(models[name]["parents"]) or _initialisation(models[name]) for name in names}
        for members in _trees(measures, names, models, parents, as_is):
            for cluster in clusters(measures, members=members):
                if len(cluster) > 1:
                    _look(found, measures, cluster, names, parents)
    return found


def _initialisation(model: Mapping[str, Any]) -> tuple[str, ...]:
    return (f"initialisation {model['initialisation']}",) if model.get("initialisation") else ()


def _trees(
    measures: FamilyMeasures,
    names: Sequence[str],
    models: Models,
    parents: Mapping[str, tuple[str, ...]],
    as_is: bool,
) -> Iterator[list[int]]:
    again = {one for group in duplicates(measures) for one in group[1:]}
    trees: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        if position not in again and models[name]["relation"] != "merge":
            trees.setdefault(models[name]["tree"], []).append(position)
    for members in trees.values():
        yield members
        below = [one for one in members if parents[names[one]]]
        if not as_is and len(below) < len(members):
            yield below


def _look(
    told: Seen,
    measures: FamilyMeasures,
    cluster: Sequence[int],
    names: Sequence[str],
    parents: Mapping[str, tuple[str, ...]],
) -> None:
    """Add what is seen of a cluster."""
    found = skeleton(measures, cluster)
    root = root_tree(measures, found.sources, found.core, stand_in=found.stand_in).root
    here = {names[one] for one in cluster}

    def true(edges: Sequence[tuple[int, int]]) -> int:
        return sum(names[a] in parents[names[b]] or names[b] in parents[names[a]] for a, b in edges)

    for group in seen_groups(found, root):
        edges = [(a, b) for a, b in found.core if {a, b} <= group.members]
        siblings = sum(bool(set(parents[names[a]]) & set(parents[names[b]]) - here) for a, b in edges)
        told.groups.append(SeenGroup(group, siblings, true(edges), len(edges)))
    clear = [edge for edge in found.core if found.between.get(edge, 0.0) >= CLEAR]
    told.clear += len(clear)
    told.clear_true += true(clear)


def learn_absent(zoos: Sequence[Seen]) -> AbsentWeights:
    """The logistic regression that the parent of a group is absent; zoos count by the root of their groups' number."""
    plain = [[one for one in zoo.groups if one.plain] for zoo in zoos]
    every = [one for zoo in plain for one in zoo]
    absent = np.array([one.absent for one in every], dtype=float)
    share = np.array([1 / np.sqrt(len(zoo)) for zoo in plain for _ in zoo])
    share /= share.sum()
    seen = np.array([_signs(one.group) for one in every])
    unknown = np.isnan(seen[:, 1])
    usual = float(np.average(seen[~unknown, 1], weights=share[~unknown]))
    seen[unknown, 1] = usual
    table = np.column_stack([np.ones(len(every)), seen])

    def loss(weights: NDArray[np.float64]) -> float:
        logits = table @ weights
        return float(share @ (np.logaddexp(0, logits) - absent * logits)) + PENALTY * float(weights[1:] @ weights[1:])

    bounds = [(None, None), (0.0, None), (None, 0.0), (None, 0.0), (0.0, None)]
    fitted = (*minimize(loss, np.zeros(5), bounds=bounds).x, usual)
    return AbsentWeights(*(round(float(value), 4) for value in fitted))


def learn_rarity(zoos: Sequence[Seen], weights: AbsentWeights) -> tuple[float, float]:
    """Of zoos as they are: what to add to the log-odds of absence, and the share of true edges between clear siblings.

    The first makes the edges of those groups likeliest that are said to lack a parent; the second is by Laplace's rule
    of succession.
    """
    said = [one for zoo in zoos for one in zoo.groups if one.group.probability(weights) >= LEAST]
    odds = np.array([one.group.log_odds(weights) for one in said])
    true, edges = (np.array([getattr(one, name) for one in said], dtype=float) for name in ("true", "edges"))

    def loss(added: float) -> float:
        logits = odds + added
        return float((edges * np.logaddexp(0, logits) - (edges - true) * logits).sum()) + RARITY_PENALTY * added**2

    clear = (sum(zoo.clear_true for zoo in zoos) + 1) / (sum(zoo.clear for zoo in zoos) + 2)
    return round(float(minimize_scalar(loss, bounds=(-8.0, 8.0), method="bounded").x), 4), round(clear, 4)


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
        said = [(one.absent, one.group.probability(weights) >= LEAST) for one in seen.groups if one.plain]
        here, not_here = [one for absent, one in said if absent], [one for absent, one in said if not absent]
        found += here
        false += not_here
        lines.append(f"{name} {sum(here)} of {len(here)}, false {sum(not_here)} of {len(not_here)}")
    return f"found {sum(found)} of {len(found)}, false {sum(false)} of {len(false)}: {'; '.join(lines)}"
