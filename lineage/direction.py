"""Which end of each edge of a skeleton is the parent: evidence from every edge, and one root per tree.

No single score is right everywhere (docs/method.md has the table), and a wrong vote on one edge must not turn that edge
alone: an edge's evidence is a weighted sum of several scores, and the root of a tree is where the sum over all of its
edges, each pointing away from the root, is largest. Scores are antisymmetric: exchanging the two models changes the
sign. The weights are learnt on zoos that are not reported on (benchmarks/learn.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr

from lineage.family import FamilyMeasures, LayerKind
from lineage.learnt import learnt
from lineage.walk import outward, sides

SCORES = ("slope", "kurtosis", "norm", "vectors", "start", "zeros", "stand_in", "side")
STEADIEST = 4.0  # standard deviations; beyond, layers are no longer independent witnesses
ALONE = 0.5  # what one layer by itself says, of which nobody knows how steady it is
UNLIKE = 0.1  # shares of zeros that differ by more make moments and slopes of two members incomparable

StandIns = Mapping[tuple[int, int], int]  # as `lineage.skeleton.Skeleton.stand_in` has them


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
    stand_in: StandIns | None = None,
) -> Rooted:
    """Choose the root of the tree that `edges` make of `members` (positions in the family).

    `prior` adds evidence from outside of the weights to a member's being the root (log-odds); ties fall to the first.
    `stand_in` names, by (c, x), the copy of x that c is joined to in x's place.
    """
    evidence = edge_scores(measures, members, edges, stand_in)
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
    measures: FamilyMeasures,
    members: Sequence[int],
    edges: Sequence[tuple[int, int]],
    stand_in: StandIns | None = None,
) -> dict[tuple[int, int], dict[str, float]]:
    """The scores of every edge (i, j) of the tree that `edges` make of `members`, for "i is the parent of j"."""
    return {
        edge: scores(measures, edge, int(side.sum()), len(members), stand_in)
        for edge, side in zip(edges, sides(members, edges), strict=True)
    }


def scores(
    measures: FamilyMeasures, edge: tuple[int, int], side: int, members: int, stand_in: StandIns | None = None
) -> dict[str, float]:
    """The scores of SCORES for "edge[0] is the parent of edge[1]"; 0 says nothing.

    `side` of the tree's members are on the side of edge[0] when the edge is cut: a root has many descendants.
    """
    i, j = edge
    moved = measures.squared_distance[:, i, j] > 0
    trunk = moved & _of_kind(measures, LayerKind.TRUNK)
    vectors = moved & _of_kind(measures, LayerKind.VECTOR)
    alike = trunk & (np.abs(_zero_share(measures, j) - _zero_share(measures, i)) <= UNLIKE)
    known = stand_in or {}
    return {
        "slope": steadiness(measures.slope[alike, i, j].astype(np.float64)),
        "kurtosis": steadiness(_log_ratio(measures.kurtosis[alike], i, j)),
        "norm": steadiness(_log_ratio(measures.squared_norm[alike], j, i)),
        "vectors": steadiness(_log_ratio(measures.variance[vectors], j, i)),
        "start": steadiness(_log_ratio(_from_start(measures, vectors), j, i)),
        "zeros": _zeros(measures, trunk, j, i),
        "stand_in": float((j, i) in known) - float((i, j) in known),
        "side": float(np.log(side / (members - side))),
    }


def steadiness(values: NDArray[np.float64]) -> float:
    """How steadily layers speak for one direction, in standard deviations of a normal distribution, within +-4.

    It is the t statistic of their mean, as the normal deviate that is as improbable: with few layers a large t is no
    rarity. The size of an effect goes with the size of a fine-tune's step; whether layers agree on its sign does not.
    """
    known = values[np.isfinite(values)]
    if len(known) < 2:
        return ALONE * float(np.sign(known).sum())
    error = known.std(ddof=1) / np.sqrt(len(known))
    mean = float(known.mean())
    if error == 0:
        return float(np.sign(mean)) * STEADIEST
    tail = float(stdtr(len(known) - 1, -abs(mean) / error))
    return float(np.sign(mean)) * min(STEADIEST, -float(ndtri(tail)))


def _of_kind(measures: FamilyMeasures, kind: LayerKind) -> NDArray[np.bool_]:
    return np.array([layer.kind is kind for layer in measures.layers], dtype=bool)


def _log_ratio(values: NDArray[np.float64], above: int, below: int) -> NDArray[np.float64]:
    """Per layer, how much larger a positive number is for one member than for the other."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: NDArray[np.float64] = np.log(values[:, above] / values[:, below])
    return ratio


def _from_start(measures: FamilyMeasures, layers: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(layers, N) mean squared distance of vectors from their initialisation: scales begin at 1, biases at 0.

    A vector whose mean is above a half is taken for a scale. A child has been trained for longer than its parent
    (Neural Phylogeny Detection); of vectors, other than of matrices, the initialisation is known.
    """
    spread = measures.variance[layers]
    mean = np.sqrt(np.maximum(measures.squared_norm[layers] / np.maximum(measures.count[layers], 1) - spread, 0.0))
    start: NDArray[np.float64] = spread + (mean - (mean > _SCALE)) ** 2
    return start


_SCALE = 0.5


def _zero_share(measures: FamilyMeasures, member: int) -> NDArray[np.float64]:
    """(L,) shares of zeros in the layers of a member."""
    share: NDArray[np.float64] = measures.zeros[:, member] / np.maximum(measures.count[:, member], 1)
    return share


def _zeros(measures: FamilyMeasures, layers: NDArray[np.bool_], more: int, fewer: int) -> float:
    """By how much the share of zeros differs, where it does by more than quantising makes: pruning is seldom undone."""
    here, other = (
        measures.zeros[layers, member].sum() / max(1, measures.count[layers, member].sum()) for member in (more, fewer)
    )
    differ = float(here - other)
    return differ if abs(differ) > UNLIKE else 0.0


def _root_gains(members: Sequence[int], odds: dict[tuple[int, int], float]) -> dict[int, float]:
    """For every member, how much likelier (in log) the edges' evidence is with the root there than with the first.

    Moving the root across an edge turns that edge alone, so one walk over the tree gives all of them.
    """
    gains = {members[0]: 0.0}
    for node, other in outward(members[0], list(odds)):
        # The edge speaks for node -> other with these log-odds; a root at `other` turns it.
        gains[other] = gains[node] - (odds[node, other] if (node, other) in odds else -odds[other, node])
    return gains
