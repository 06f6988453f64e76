"""Steps of very different length in one tree, of which neither the skeleton nor the root is sure.

Let i be at a short way s from h, and j at a long way l from both. Whether j hangs on i or on h is told by
||j - h||² - ||j - i||² = s² - 2 s l cos, so by a cosine at i that is below s / 2 l: where s is small beside l, what
cosines scatter by decides, and every drift. So an edge is the less sure the shorter the steps beside it are. Where that
is so all over a tree, as after training at rates over three decades, short edges have gathered children that are not
theirs, and what speaks for a root is mostly how many hang on it: all of that evidence is made less of.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from lineage.learnt import learnt

SCATTER = 0.05  # of cosines between steps at one member
BESIDE_FLOOR = 0.01  # of a step's length: shorter ones say no less
USUAL = -1.0  # mean of a tree's `steps_beside` from which on downwards its steps are uneven: others have -0.2 to -1.0


def steps_beside(squared: NDArray[np.float64], edges: NDArray[np.intp]) -> NDArray[np.float64]:
    """(e,) the log of how long the shortest step beside an edge is, over its own, both ends added; at most about 0.

    `edges` (e, 2) are a tree's, as rows of `squared` (n, n). An end counts 0 where no shorter step is at it; steps that
    were not measured do not count.
    """
    ends = np.concatenate([edges, edges[:, ::-1]])
    own = squared[ends[:, 0], ends[:, 1]]
    known = np.where(np.isfinite(own), own, np.inf)
    order = np.lexsort((known, ends[:, 0]))
    first = np.full(len(squared), -1)
    second = np.full(len(squared), np.inf)
    starts = np.flatnonzero(np.diff(ends[order, 0], prepend=-1))
    first[ends[order[starts], 0]] = order[starts]  # the shortest step at each member, and the length of the next
    follows = starts + 1
    follows = follows[(follows < len(order)) & ~np.isin(follows, starts)]
    second[ends[order[follows], 0]] = known[order[follows]]
    shortest = np.where(first[ends[:, 0]] == np.arange(len(ends)), second[ends[:, 0]], known[first[ends[:, 0]]])
    told = np.isfinite(shortest) & np.isfinite(own) & (shortest < own)
    length = np.sqrt(np.divide(shortest, own, out=np.ones(len(ends)), where=told))
    logs = np.log((length + BESIDE_FLOOR) / (1 + BESIDE_FLOOR))
    found: NDArray[np.float64] = logs[: len(edges)] + logs[len(edges) :]
    return found


def sureness(beside: Iterable[float], weight: float | None = None) -> float:
    """By how much a tree's evidence for its root counts, within 0 .. 1, by the steps beside its edges.

    1 where they are as usual, or there are none; `weight` is what was learnt unless it is given.
    """
    seen = list(beside)
    uneven = max(0.0, USUAL - float(np.mean(seen))) if seen else 0.0
    return exp(-(learnt().uneven if weight is None else weight) * uneven)


@dataclass(frozen=True)
class Sharing:
    """What of the root's mass beyond the edges beside an edge is on the other side than the tree has it."""

    always: NDArray[np.float64]  # (e,)
    of_below: NDArray[np.float64]  # (e, e)

    def above(self, below: NDArray[np.float64]) -> NDArray[np.float64]:
        """(e,) that the root is on the parent's side of each edge; `below` (e,) is what the tree has on the child's."""
        return np.clip(1 - below + self.always + self.of_below @ below, 0.0, 1.0)


def sharing(squared: NDArray[np.float64], directed: NDArray[np.intp]) -> Sharing:
    """Who hangs on which end of each edge (parent, child), `directed` (e, 2) as rows of `squared` (n, n).

    Of an edge of length l that hangs on one end of another, of length s, the end is right with the probability that a
    cosine is below s / 2 l, of a normal distribution with the deviation SCATTER. Where the root lies beyond it, so
    likely is the direction of the other. Memory goes with the square of the edges, time with that of degrees.
    """
    length = np.sqrt(squared[directed[:, 0], directed[:, 1]])
    always, of_below = np.zeros(len(directed)), np.zeros((len(directed), len(directed)))
    ends = directed.reshape(-1)
    order = np.argsort(ends, kind="stable")
    for at in np.split(order, np.flatnonzero(np.diff(ends[order])) + 1):
        here, upper = at // 2, at % 2 == 0  # the edges at a member, and of which of them it is the parent
        with np.errstate(divide="ignore", invalid="ignore"):
            wrong = 1 - ndtr(length[here][:, None] / (2 * SCATTER * length[here]))
        wrong = np.where(np.isfinite(wrong) & np.isfinite(length[here])[:, None], wrong, 0.0)
        np.fill_diagonal(wrong, 0.0)
        moved = np.where(upper, -1.0, 1.0)[:, None] * wrong
        of_below[np.ix_(here, here)] += moved * np.where(upper, 1.0, -1.0)
        always[here] += moved @ np.where(upper, 0.0, 1.0)
    return Sharing(always, of_below)
