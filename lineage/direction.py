"""Which end of each edge of a skeleton is the parent: evidence from every edge, and one root per tree.

No single score is right everywhere (docs/method.md has the table), and a wrong vote on one edge must not turn that edge
alone: an edge's evidence is a weighted sum of several scores, and the root of a tree is where the sum over all of its
edges, each pointing away from the root, is largest. Scores are antisymmetric: exchanging the two models changes the
sign. The weights are a logistic regression on zoos that are not reported on (benchmarks/direction.py makes them).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lineage.family import FamilyMeasures, LayerKind
from lineage.walk import outward, sides

SCORES = ("slope", "kurtosis", "norm", "vectors", "zeros", "side")
_WEIGHTS = Path(__file__).with_name("direction.json")


@dataclass(frozen=True)
class Rooted:
    """The root of a tree of n members and how sure it is."""

    root: int  # position in the family
    probabilities: dict[int, float]  # of every member to be the root; their sum is 1
    evidence: dict[
        tuple[int, int], dict[str, float]
    ]  # edge (i, j) of the skeleton -> scores for "i is the parent of j"


@cache
def weights() -> dict[str, float]:
    """The weight of each score, as learnt."""
    learnt = json.loads(_WEIGHTS.read_text())["weights"]
    return {name: float(learnt[name]) for name in SCORES}


def root_tree(
    measures: FamilyMeasures,
    members: Sequence[int],
    edges: Sequence[tuple[int, int]],
    prior: dict[int, float] | None = None,
) -> Rooted:
    """Choose the root of the tree that `edges` make of `members` (positions in the family).

    `prior` adds evidence from outside of the weights to a member's being the root (log-odds); ties fall to the first.
    """
    evidence = {
        edge: scores(measures, edge, int(side.sum()), len(members))
        for edge, side in zip(edges, sides(members, edges), strict=True)
    }
    odds = {edge: sum(weights()[name] * value for name, value in found.items()) for edge, found in evidence.items()}
    gains = _root_gains(members, odds)
    for member, gain in (prior or {}).items():
        gains[member] += gain
    logits = np.array([gains[member] for member in members])
    likely = np.exp(logits - logits.max())
    likely /= likely.sum()
    root = members[int(np.argmax(likely))]
    return Rooted(root, dict(zip(members, map(float, likely), strict=True)), evidence)


def scores(measures: FamilyMeasures, edge: tuple[int, int], side: int, members: int) -> dict[str, float]:
    """The scores of SCORES for "edge[0] is the parent of edge[1]"; 0 says nothing.

    `side` of the tree's members are on the side of edge[0] when the edge is cut: a root has many descendants.
    """
    i, j = edge
    moved = measures.squared_distance[:, i, j] > 0
    trunk = moved & _of_kind(measures, LayerKind.TRUNK)
    vectors = moved & _of_kind(measures, LayerKind.VECTOR)
    return {
        "slope": _mean(np.clip(measures.slope[trunk, i, j].astype(np.float64), -3, 3)),
        "kurtosis": _mean(np.sign(measures.kurtosis[trunk, i] - measures.kurtosis[trunk, j])),
        "norm": _mean(np.sign(measures.squared_norm[trunk, j] - measures.squared_norm[trunk, i])),
        "vectors": _mean(np.sign(_spread(measures, vectors, j) - _spread(measures, vectors, i))),
        "zeros": _zeros(measures, trunk, j) - _zeros(measures, trunk, i),
        "side": float(np.log(side / (members - side))),
    }


def _of_kind(measures: FamilyMeasures, kind: LayerKind) -> NDArray[np.bool_]:
    return np.array([layer.kind is kind for layer in measures.layers], dtype=bool)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else 0.0


def _spread(measures: FamilyMeasures, layers: NDArray[np.bool_], member: int) -> NDArray[np.float64]:
    """How far biases and normalisation parameters are from the constant that they began as: their variance."""
    spread: NDArray[np.float64] = measures.variance[layers, member]
    return spread


def _zeros(measures: FamilyMeasures, layers: NDArray[np.bool_], member: int) -> float:
    """Share of zeros: pruning is not undone by training on, unless it is meant to be."""
    count = measures.count[layers, member].sum()
    return float(measures.zeros[layers, member].sum() / count) if count else 0.0


def _root_gains(members: Sequence[int], odds: dict[tuple[int, int], float]) -> dict[int, float]:
    """For every member, how much likelier (in log) the edges' evidence is with the root there than with the first.

    Moving the root across an edge turns that edge alone, so one walk over the tree gives all of them.
    """
    gains = {members[0]: 0.0}
    for node, other in outward(members[0], list(odds)):
        # The edge speaks for node -> other with these log-odds; a root at `other` turns it.
        gains[other] = gains[node] - (odds[node, other] if (node, other) in odds else -odds[other, node])
    return gains
