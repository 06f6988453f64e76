"""Learns how likely an edge of a skeleton is true (lineage/adjacency.py), and how well that holds on other zoos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from math import isnan, log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks.recovery_zoos import Family
from benchmarks.true_trees import TrueTree
from lineage.adjacency import ANGLE_FLOOR, Signs, core_signs
from lineage.calibration import calibration
from lineage.cluster import clusters, duplicates
from lineage.copies import copies
from lineage.learnt import AdjacencyWeights
from lineage.skeleton import Skeleton

PENALTY = 1e-3  # on the squared weights
Seen = Sequence[tuple[Signs, bool]]  # what is seen of skeletons' edges, and whether they are true


def signs(tree: TrueTree, found: Skeleton) -> Seen:
    """The signs of every edge of the skeleton that was inferred of a true tree, and whether the edge is true."""
    true = {frozenset(edge) for edge in tree.edges}
    both_ways = core_signs(found)
    return [(both_ways[edge], frozenset(edge) in true) for edge in found.core]


def learn_adjacency(
    zoos: Sequence[Seen], copies_right: int = 0, copies_seen: int = 0, absence: tuple[float, float] = (0.0, 0.5)
) -> AdjacencyWeights:
    """The logistic regression that an edge is true over logs of its own and others' angles and of the steps beside it.

    Angles speak against an edge, acute ones less, and short steps beside it, or they say nothing; every zoo counts
    alike. Of an acute angle two weights add up: they are bound so that it never speaks for an edge. Of
    copies their share, by Laplace's rule of succession. `absence` is what `learn_rarity` finds.
    """
    zoos = [zoo for zoo in zoos if zoo]
    edges = list(chain.from_iterable(zoos))
    true = np.array([right for _, right in edges], dtype=float)
    share = np.array([1 / (len(zoos) * len(zoo)) for zoo in zoos for _ in zoo])
    table = np.array([_row(one) for one, _ in edges])
    usual = [
        float(np.average(column[known], weights=share[known])) if (known := ~np.isnan(column)).any() else 0.0
        for column in table[:, 1:4].T
    ]
    seen = np.column_stack([table[:, 0], np.where(np.isnan(table[:, 1:4]), usual, table[:, 1:4]), table[:, 4]])

    def weighed(free: NDArray[np.float64]) -> NDArray[np.float64]:
        offset, slanted, acute, elsewhere, beside = free
        return np.array([offset, slanted - acute, acute, elsewhere, beside])

    def loss(free: NDArray[np.float64]) -> float:
        weights = weighed(free)
        logits = seen @ weights
        return float(share @ (np.logaddexp(0, logits) - true * logits)) + PENALTY * float(weights @ weights)

    bounds = [(None, None), (None, 0.0), (0.0, None), (None, 0.0), (0.0, None)]
    found = weighed(minimize(loss, np.array([1.0, -1.0, 0.0, 0.0, 0.0]), bounds=bounds).x)
    copy = (copies_right + 1) / (copies_seen + 2)
    return AdjacencyWeights(*(round(float(value), 4) for value in (*found, *usual, copy, *absence)))


def _row(one: Signs) -> tuple[float, ...]:
    """1, and the numbers that the weights are of; NaN where there are no other edges."""
    angle, acute = (float("nan") if isnan(value) else log(value + ANGLE_FLOOR) for value in (one.angle, one.acute))
    return 1.0, angle, acute, one.elsewhere, one.beside


def copies_found(models: Mapping[str, Mapping[str, Any]], families: Sequence[Family]) -> tuple[int, int]:
    """How many copies are given to whom they were made from (or to an exact duplicate of it), and how many all are."""
    right = seen = 0
    for measures, names in families:
        groups = duplicates(measures)
        again = {one for group in groups for one in group[1:]}
        alike = {one: group for group in groups for one in group}
        for cluster in clusters(measures, members=[one for one in range(len(names)) if one not in again]):
            for copy, source in copies(measures, cluster).source.items():
                parents = {up for one in alike.get(copy, (copy,)) for up in models[names[one]]["parents"]}
                right += any(names[one] in parents for one in alike.get(source, (source,)))
                seen += 1
    return right, seen


def left_out(zoos: Mapping[str, Seen], kinds: Mapping[str, str]) -> str:
    """Calibration where each zoo is judged by what was learnt from all others, and each kind from all other kinds.

    `kinds` are the zoos' architectures. Of each: the error, mean stated probability and share of true edges.
    """
    lines = []
    for what, label in (("zoo", {name: name for name in zoos}), ("architecture", kinds)):
        stated: dict[str, list[float]] = {}
        for out in dict.fromkeys(label[name] for name in zoos):
            weights = learn_adjacency([seen for name, seen in zoos.items() if label[name] != out])
            own = [one for name, seen in zoos.items() if label[name] == out for one, _ in seen]
            stated[out] = [one.probability(weights) for one in own]
        true = {
            out: [right for name, seen in zoos.items() if label[name] == out for _, right in seen] for out in stated
        }
        every = calibration(list(chain(*stated.values())), list(chain(*true.values()))).error
        errors = {out: calibration(stated[out], true[out]).error for out in stated}
        told = [f"{out} {errors[out]:.3f} ({np.mean(stated[out]):.2f}, {np.mean(true[out]):.2f})" for out in stated]
        lines.append(f"each {what} left out: {every:.3f} of all edges; {', '.join(told)}")
    return "\n".join(lines)
