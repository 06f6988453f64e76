"""Which end of each edge of a skeleton is the parent: evidence from every edge, and one root per tree.

No single score is right everywhere (docs/method.md has the table), and a wrong vote on one edge must not turn that edge
alone: an edge's evidence is a weighted sum of several scores, and the root of a tree is where the sum over all of its
edges, each pointing away from the root, is largest. Scores are antisymmetric: exchanging the two models changes the
sign. The weights are learnt on zoos that are not reported on (benchmarks/learn.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lineage.family import FamilyMeasures, LayerKind
from lineage.learnt import learnt
from lineage.walk import outward, sides

SCORES = ("slope", "kurtosis", "norm", "vectors", "zeros", "side")
_STEADIEST = 6.0


@dataclass(frozen=True)
class Rooted:
    """The root of a tree of n members and how sure it is."""

    root: int  # position in the family
    probabilities: dict[int, float]  # of every member to be the root; their sum is 1
    evidence: dict[tuple[int, int], dict[str, float]]  # of every edge of the skeleton: what `edge_scores` gives


def root_tree(
    measures: FamilyMeasures,
    members: Sequence[int],
    edges: Sequence[tuple[int, int]],
    prior: dict[int, float] | None = None,
) -> Rooted:
    """Choose the root of the tree that `edges` make of `members` (positions in the family).

    `prior` adds evidence from outside of the weights to a member's being the root (log-odds); ties fall to the first.
    """
    evidence = edge_scores(measures, members, edges)
    weights = learnt().direction
    odds = {edge: sum(weights[name] * value for name, value in found.items()) for edge, found in evidence.items()}
    gains = _root_gains(members, odds)
    for member, gain in (prior or {}).items():
        gains[member] += gain
    logits = np.array([gains[member] for member in members])
    likely = np.exp(logits - logits.max())
    likely /= likely.sum()
    root = members[int(np.argmax(likely))]
    return Rooted(root, dict(zip(members, map(float, likely), strict=True)), evidence)


def edge_scores(
    measures: FamilyMeasures, members: Sequence[int], edges: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], dict[str, float]]:
    """The scores of every edge (i, j) of the tree that `edges` make of `members`, for "i is the parent of j"."""
    return {
        edge: scores(measures, edge, int(side.sum()), len(members))
        for edge, side in zip(edges, sides(members, edges), strict=True)
    }


def scores(measures: FamilyMeasures, edge: tuple[int, int], side: int, members: int) -> dict[str, float]:
    """The scores of SCORES for "edge[0] is the parent of edge[1]"; 0 says nothing.

    `side` of the tree's members are on the side of edge[0] when the edge is cut: a root has many descendants.
    """
    i, j = edge
    moved = measures.squared_distance[:, i, j] > 0
    trunk = moved & _of_kind(measures, LayerKind.TRUNK)
    vectors = moved & _of_kind(measures, LayerKind.VECTOR)
    return {
        "slope": _steadiness(measures.slope[trunk, i, j].astype(np.float64)),
        "kurtosis": _steadiness(_log_ratio(measures.kurtosis, trunk, i, j)),
        "norm": _steadiness(_log_ratio(measures.squared_norm, trunk, j, i)),
        "vectors": _steadiness(_log_ratio(measures.variance, vectors, j, i)),
        "zeros": _zeros(measures, trunk, j) - _zeros(measures, trunk, i),
        "side": float(np.log(side / (members - side))),
    }


def _of_kind(measures: FamilyMeasures, kind: LayerKind) -> NDArray[np.bool_]:
    return np.array([layer.kind is kind for layer in measures.layers], dtype=bool)


def _log_ratio(values: NDArray[np.float64], layers: NDArray[np.bool_], above: int, below: int) -> NDArray[np.float64]:
    """Per layer, how much larger a positive number is for one member than for the other."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: NDArray[np.float64] = np.log(values[layers, above] / values[layers, below])
    return ratio


def _steadiness(values: NDArray[np.float64]) -> float:
    """How steadily layers speak for one direction: their mean over its standard error, within +-6.

    The size of an effect goes with the size of a fine-tune's step; whether layers agree on its sign does not.
    """
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return float(np.sign(known).sum())
    error = known.std(ddof=1) / np.sqrt(len(known))
    mean = known.mean()
    return float(np.clip(mean / error, -_STEADIEST, _STEADIEST)) if error > 0 else float(np.sign(mean)) * _STEADIEST


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
