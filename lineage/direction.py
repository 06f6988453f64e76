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
from lineage.leaves import trusted
from lineage.preorder import preorder
from lineage.walk import outward

SCORES = ("slope", "kurtosis", "norm", "vectors", "start", "zeros", "stand_in", "side")
STEADIEST = 4.0  # standard deviations; beyond, layers are no longer independent witnesses
ASKED = {"detector": 0.5}  # the weight of a score that is only there where it was asked for (detector_direction.py)
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
    return rooted(members, edge_scores(measures, members, edges, stand_in), prior)


def rooted(
    members: Sequence[int],
    evidence: dict[tuple[int, int], dict[str, float]],
    prior: Mapping[int, float] | None = None,
    sure: float = 1.0,
) -> Rooted:
    """The root of a tree of `members` by the scores of all its edges, as `edge_scores` gives them.

    Of the log-odds that scores give, `sure` counts (`lineage.uneven.sureness`); of `prior` all do.
    """
    weights = learnt().direction | ASKED
    odds = {
        edge: sure * sum(weights[name] * value for name, value in found.items()) for edge, found in evidence.items()
    }
    gains = root_gains(members, odds)
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
    """The scores of every edge (i, j) of the tree that `edges` make of `members`, for "i is the parent of j".

    Slopes count as much as those of the tree's leaves deserve (leaves.py).
    """
    return trusting(plain_scores(measures, members, edges, stand_in), step_lengths(measures, edges))


def plain_scores(
    measures: FamilyMeasures,
    members: Sequence[int],
    edges: Sequence[tuple[int, int]],
    stand_in: StandIns | None = None,
) -> dict[tuple[int, int], dict[str, float]]:
    """The same of a part of a tree, before its leaves are known."""
    if not edges:
        return {}
    found = _scores(measures, np.array(edges, dtype=np.intp), _sides(members, edges), len(members), stand_in)
    return dict(zip(edges, found, strict=True))


def trusting(
    scores: Mapping[tuple[int, int], dict[str, float]], lengths: Mapping[tuple[int, int], float]
) -> dict[tuple[int, int], dict[str, float]]:
    """The scores of a whole tree's edges with slopes trusted as its leaves say; `lengths` are those of the steps."""
    slopes = np.array([told.get("slope", 0.0) for told in scores.values()])
    trust = trusted(list(scores), slopes, np.array([lengths.get(edge, 0.0) for edge in scores])).tolist()
    return {
        edge: {**told, "slope": told["slope"] * worth} if told else {}
        for (edge, told), worth in zip(scores.items(), trust, strict=True)
    }


def step_lengths(measures: FamilyMeasures, edges: Sequence[tuple[int, int]]) -> dict[tuple[int, int], float]:
    """How long the steps of edges are beside the norm: the median of trunk layers that moved; 0 if none did."""
    i, j = np.array(edges, dtype=np.intp).reshape(-1, 2).T
    norms = (measures.squared_norm[:, i] + measures.squared_norm[:, j]) / 2
    moved = (measures.squared_distance[:, i, j] > 0) & (norms > 0) & _of_kind(measures, LayerKind.TRUNK)[:, None]
    square = np.divide(measures.squared_distance[:, i, j], norms, out=np.full(moved.shape, np.nan), where=moved)
    length, known = np.zeros(len(edges)), moved.any(axis=0)
    length[known] = np.sqrt(np.nanmedian(square[:, known], axis=0))
    return dict(zip(edges, length.tolist(), strict=True))


def weighed(
    members: Sequence[int], scores: Mapping[tuple[int, int], dict[str, float]]
) -> dict[tuple[int, int], dict[str, float]]:
    """The scores of a tree's edges with the members on both sides of each counted anew; none where none were given."""
    if not scores:
        return {}
    side = _sides(members, list(scores))
    weights = np.log(side / (len(members) - side)).tolist()
    return {
        edge: {**told, "side": weight} if told else {}
        for (edge, told), weight in zip(scores.items(), weights, strict=True)
    }


def _sides(members: Sequence[int], edges: Sequence[tuple[int, int]]) -> NDArray[np.intp]:
    """(e,) how many members of the tree that edges (i, j) make are on the side of i when the edge is cut."""
    place = {member: index for index, member in enumerate(members)}
    placed = np.array([(place[i], place[j]) for i, j in edges], dtype=np.intp)
    tree = preorder(len(members), placed, 0)
    one, other = tree.place[placed].T
    below = tree.size[np.maximum(one, other)]  # in preorder the later of the two is the one farther down
    side: NDArray[np.intp] = np.where(one > other, below, len(members) - below)
    return side


def scores(
    measures: FamilyMeasures, edge: tuple[int, int], side: int, members: int, stand_in: StandIns | None = None
) -> dict[str, float]:
    """The scores of SCORES for "edge[0] is the parent of edge[1]"; 0 says nothing.

    `side` of the tree's members are on the side of edge[0] when the edge is cut: a root has many descendants.
    """
    return _scores(measures, np.array([edge], dtype=np.intp), np.array([side]), members, stand_in)[0]


def scores_apart(measures: FamilyMeasures, edges: NDArray[np.intp]) -> list[dict[str, float]]:
    """The scores of (e, 2) edges, each of them as a tree of its own."""
    return _scores(measures, edges, np.ones(len(edges), dtype=np.intp), 2, None)


def _scores(
    measures: FamilyMeasures,
    edges: NDArray[np.intp],
    side: NDArray[np.intp],
    members: int,
    stand_in: StandIns | None,
) -> list[dict[str, float]]:
    """Of (e, 2) edges; all at once, as a family has thousands."""
    i, j = edges.T
    moved = measures.squared_distance[:, i, j] > 0
    trunk = moved & _of_kind(measures, LayerKind.TRUNK)[:, None]
    vectors = moved & _of_kind(measures, LayerKind.VECTOR)[:, None]
    share = measures.zeros / np.maximum(measures.count, 1)
    alike = trunk & (np.abs(share[:, j] - share[:, i]) <= UNLIKE)
    known = stand_in or {}
    columns = {
        "slope": _steadiest(measures.slope[:, i, j].astype(np.float64), alike),
        "kurtosis": _steadiest(_log_ratio(measures.kurtosis, i, j), alike),
        "norm": _steadiest(_log_ratio(measures.squared_norm, j, i), alike),
        "vectors": _steadiest(_log_ratio(measures.variance, j, i), vectors),
        "start": _steadiest(_log_ratio(_from_start(measures), j, i), vectors),
        "zeros": _zeros(measures, trunk, j, i),
        "stand_in": np.array([float((b, a) in known) - float((a, b) in known) for a, b in edges.tolist()]),
        "side": np.log(side / (members - side)),
    }
    return [dict(zip(columns, row, strict=True)) for row in np.column_stack(list(columns.values())).tolist()]


def steadiness(values: NDArray[np.float64]) -> float:
    """How steadily layers speak for one direction, in standard deviations of a normal distribution, within +-4.

    It is the t statistic of their mean, as the normal deviate that is as improbable: with few layers a large t is no
    rarity. The size of an effect goes with the size of a fine-tune's step; whether layers agree on its sign does not.
    """
    return float(_steadiest(values[:, None], np.ones((len(values), 1), dtype=bool))[0])


def _steadiest(values: NDArray[np.float64], told: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(e,) steadiness of each column of (L, e), over the layers that are `told` (L, e) and known."""
    told = told & np.isfinite(values)
    number = told.sum(axis=0)
    values = np.where(told, values, 0.0)
    mean = values.sum(axis=0) / np.maximum(number, 1)
    spread = np.where(told, values - mean, 0.0)
    variance = np.square(spread).sum(axis=0) / np.maximum(number - 1, 1)
    # What is spread by less than rounding is not spread.
    error = np.where(
        np.abs(spread).max(axis=0, initial=0.0) > _ROUNDED * np.abs(mean),
        np.sqrt(variance / np.maximum(number, 1)),
        0.0,
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        tail = stdtr(np.maximum(number - 1, 1), -np.abs(mean) / error)
    size = np.where(error > 0, np.minimum(STEADIEST, -ndtri(np.where(error > 0, tail, 0.5))), STEADIEST)
    found: NDArray[np.float64] = np.sign(mean) * np.where(number < 2, ALONE, size)
    return found


_ROUNDED = 1e-15


def _of_kind(measures: FamilyMeasures, kind: LayerKind) -> NDArray[np.bool_]:
    return np.array([layer.kind is kind for layer in measures.layers], dtype=bool)


def _log_ratio(values: NDArray[np.float64], above: NDArray[np.intp], below: NDArray[np.intp]) -> NDArray[np.float64]:
    """(L, e) how much larger a positive number is for some members than for others."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: NDArray[np.float64] = np.log(values[:, above] / values[:, below])
    return ratio


def _from_start(measures: FamilyMeasures) -> NDArray[np.float64]:
    """(L, N) mean squared distance of vectors from their initialisation: scales begin at 1, biases at 0.

    A vector whose mean is above a half is taken for a scale. A child has been trained for longer than its parent
    (Neural Phylogeny Detection); of vectors, other than of matrices, the initialisation is known.
    """
    spread = measures.variance
    mean = np.sqrt(np.maximum(measures.squared_norm / np.maximum(measures.count, 1) - spread, 0.0))
    start: NDArray[np.float64] = spread + (mean - (mean > _SCALE)) ** 2
    return start


_SCALE = 0.5


def _zeros(
    measures: FamilyMeasures, layers: NDArray[np.bool_], more: NDArray[np.intp], fewer: NDArray[np.intp]
) -> NDArray[np.float64]:
    """(e,) by how much shares of zeros differ, where by more than quantising makes: pruning is seldom undone."""
    here, other = (
        np.where(layers, measures.zeros[:, chosen], 0).sum(axis=0)
        / np.maximum(1, np.where(layers, measures.count[:, chosen], 0).sum(axis=0))
        for chosen in (more, fewer)
    )
    differ: NDArray[np.float64] = here - other
    return np.where(np.abs(differ) > UNLIKE, differ, 0.0)


def root_gains(members: Sequence[int], odds: Mapping[tuple[int, int], float]) -> dict[int, float]:
    """For every member, how much likelier (in log) the edges' evidence is with the root there than with the first.

    Moving the root across an edge turns that edge alone, so one walk over the tree gives all of them.
    """
    gains = {members[0]: 0.0}
    for node, other in outward(members[0], list(odds)):
        # The edge speaks for node -> other with these log-odds; a root at `other` turns it.
        gains[other] = gains[node] - (odds[node, other] if (node, other) in odds else -odds[other, node])
    return gains
