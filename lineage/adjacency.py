"""Whether two members that a skeleton joins are parent and child at all, in either direction.

Three signs say so. The angles at its ends: in a tree whose steps are independent every member sees its neighbours at
right angles, so an edge that is not at right angles to the others at its ends lies where siblings share a drift, where
a parent is missing or where the tree is wrong. And the angles of the tree's other edges: where siblings share a drift
they do so all over a tree, so that an edge which looks clear among skewed ones is less sure than one among straight
ones. And the steps beside it: where one is far shorter, chance decides which of that step's ends the edge hangs on
(uneven.py). The logistic regression on the logs of all three is learnt on zoos (benchmarks/learn_adjacency.py). The
margin, how much dearer than the edge the best pair is that could replace it, is told with an edge, but has no say
beside them: it helped on no kind of network that it was learnt on, and misled on those that it was not. Copies are no
part of it: they stand in their sources' nodes, and a source would seem to compete with its own copies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, log, nan

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from lineage.drift import cosine
from lineage.learnt import AdjacencyWeights
from lineage.preorder import Preorder, preorder
from lineage.replacement import dense_replacements
from lineage.skeleton import Skeleton
from lineage.uneven import steps_beside
from lineage.walk import outward

LARGEST_MARGIN = 3.0
ANGLE_FLOOR = 0.02  # of a cosine; what small networks scatter by


@dataclass(frozen=True)
class Signs:
    """What is seen of an edge between two sources."""

    margin: float  # log of the squared distance of the best replacement over the edge's own, within 0 .. LARGEST_MARGIN
    angle: float  # largest |cosine| between the edge and others at its ends, within 0 .. 1; NaN: there are no others
    acute: float  # largest cosine there, 0 if none is positive: siblings with a drift see their parent's others so
    elsewhere: float = nan  # mean of the logs of the other edges' angles, see `logs_elsewhere`; NaN: there are none
    beside: float = 0.0  # how short the steps at its ends are, see `lineage.uneven.steps_beside`; 0: none is shorter

    def probability(self, weights: AdjacencyWeights) -> float:
        """That the edge is true."""
        angle, acute = weights.usual_angle, weights.usual_acute
        if not isnan(self.angle):
            angle, acute = log(self.angle + ANGLE_FLOOR), log(self.acute + ANGLE_FLOOR)
        elsewhere = weights.usual_elsewhere if isnan(self.elsewhere) else self.elsewhere
        odds = weights.offset + weights.angle * angle + weights.acute * acute
        odds += weights.elsewhere * elsewhere + weights.beside * self.beside
        return float(expit(odds))


def core_signs(found: Skeleton) -> dict[tuple[int, int], Signs]:
    """The signs of every edge of the core, by its two ends in both orders."""
    if not found.core:
        return {}
    place = {member: index for index, member in enumerate(found.sources)}
    directed = outward(found.core[0][0], found.core)  # neither sign has a direction: any root does
    pairs = np.array([(place[a], place[b]) for a, b in directed], dtype=np.intp)
    margins = edge_margins(found.core_squared, pairs, preorder(len(place), pairs, int(pairs[0, 0])))
    angles = edge_angles(found.core_squared, pairs)
    others = logs_elsewhere(angles[:, 0]).tolist()
    beside = steps_beside(found.core_squared, pairs).tolist()
    signs: dict[tuple[int, int], Signs] = {}
    seen = zip(directed, margins.tolist(), angles.tolist(), others, beside, strict=True)
    for (a, b), margin, (angle, acute), other, short in seen:
        signs[a, b] = signs[b, a] = Signs(max(margin, 0.0), angle, acute, other, short)
    return signs


def core_steps_beside(found: Skeleton) -> NDArray[np.float64]:
    """(e,) how short the steps beside the core's edges are (`lineage.uneven`), but for edges between clear siblings."""
    place = {member: index for index, member in enumerate(found.sources)}
    inside = [edge for edge in found.core if edge not in found.clear]
    pairs = np.array([(place[a], place[b]) for a, b in inside], dtype=np.intp).reshape(-1, 2)
    return steps_beside(found.core_squared, pairs)


def logs_elsewhere(angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """(e,) mean log of all other edges' angles (e,), with the floor that logs of angles have; NaN without any."""
    logs = np.log(angles + ANGLE_FLOOR)
    known = ~np.isnan(logs)
    others = known.sum() - known
    left = np.where(known, logs, 0.0).sum() - np.where(known, logs, 0.0)
    found: NDArray[np.float64] = np.where(others > 0, left / np.maximum(others, 1), np.nan)
    return found


def edge_margins(squared: NDArray[np.float64], edges: NDArray[np.intp], tree: Preorder) -> NDArray[np.float64]:
    """(e,) log of the squared distance of the best pair that could replace an edge over the edge's own.

    `edges` are (e, 2) parents and children of the tree, as rows of `squared`. Clipped; the largest where nothing could
    replace an edge.
    """
    own = squared[edges[:, 0], edges[:, 1]]
    second = dense_replacements(squared, tree)[tree.place[edges[:, 1]]]
    found = np.full(len(edges), LARGEST_MARGIN)
    known = np.isfinite(second) & (own > 0)
    found[known] = np.clip(np.log(second[known] / own[known]), -LARGEST_MARGIN, LARGEST_MARGIN)
    return found


def edge_angles(squared: NDArray[np.float64], edges: NDArray[np.intp]) -> NDArray[np.float64]:
    """(e, 2) largest |cosine| and largest cosine above 0 of the angles between an edge and the others at its ends.

    NaN without any others; at most 1, which distances over different elements can exceed.

    `edges` (e, 2) are a tree's, as rows of `squared`. Time goes with the sum of squared degrees, memory with the
    largest degree.
    """
    ends = np.concatenate([edges, edges[:, ::-1]])
    order = np.argsort(ends[:, 0], kind="stable")
    groups = np.split(ends[order, 1], np.cumsum(np.bincount(ends[:, 0], minlength=len(squared)))[:-1])
    found = np.array([_steepest(squared, groups, int(a), int(b)) for a, b in ends]).reshape(2, -1, 2)
    angles: NDArray[np.float64] = np.fmax(found[0], found[1])
    return angles


def _steepest(
    squared: NDArray[np.float64], neighbours: Sequence[NDArray[np.intp]], at: int, other: int
) -> tuple[float, float]:
    """The largest |cosine| and cosine at one end of an edge; NaN where no other neighbour is at a known distance."""
    others = neighbours[at][neighbours[at] != other]
    others = others[np.isfinite(squared[at, others]) & np.isfinite(squared[other, others])]
    if not len(others) or not np.isfinite(squared[at, other]):
        return nan, nan
    ones = np.ones(len(others), dtype=np.int64)
    cosines = cosine(squared, at * ones, others.astype(np.int64), other * ones)
    return float(min(np.abs(cosines).max(), 1.0)), float(np.clip(cosines.max(), 0.0, 1.0))
