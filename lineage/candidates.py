"""Which older members new ones are measured against exactly: those that estimates from sketches place nearest.

Near are the nearest few of each new member, and those that it is joined to in the minimum spanning tree of all: a new
parent of many old children is joined to each of them. The tree is kept from batch to batch. A tree of the old members
and all pairs of the new ones hold the tree of all, as an edge that a part of the pairs can do without the whole can do
without too; so m new members of n cost m n pairs. Where old members went, those of the smaller parts that are left are
compared with all again, as new ones are; where no tree is known everybody is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lineage.span import parts, rectangle_tree, sparse_tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lineage.span import Edges

_FAR = 4.0  # beyond any relative squared distance: of pairs that share no layer
_ROWS = 256  # members that are compared with all at once


class Estimated:
    """Squared distances of n members, estimated from their sketches: 32 KiB of each are held."""

    def __init__(self, members: int, buckets: Sequence[int]) -> None:
        """Of layers with so many buckets."""
        self._ends = np.cumsum([0, *buckets]).tolist()
        self._sketch = np.zeros((members, self._ends[-1]))
        self._own = np.zeros((members, len(buckets)))  # squared norms of the layers, as sketched
        self._spread = np.zeros((members, len(buckets)))  # the same of the differences from the mean
        self._known = np.zeros((members, len(buckets)))  # 1 where a member has the layer
        self._layers = 0

    def __len__(self) -> int:
        """The number of members."""
        return len(self._sketch)

    def add(self, sketches: NDArray[np.float64]) -> None:
        """Add the next layer's (n, k) CountSketches, whose norms estimate the tensors'; NaN where one is missing."""
        layer, self._layers = self._layers, self._layers + 1
        known: NDArray[np.bool_] = np.asarray(np.isfinite(sketches).all(axis=1))
        self._known[:, layer] = known
        if not known.any():
            return
        values = np.where(known[:, None], sketches, 0.0)
        self._own[:, layer] = np.vecdot(values, values)
        values -= values.sum(axis=0) / known.sum()  # differences are small beside weights
        values[~known] = 0.0
        self._spread[:, layer] = np.vecdot(values, values)
        self._sketch[:, self._ends[layer] : self._ends[layer + 1]] = values

    def relative(self, some: NDArray[np.intp]) -> NDArray[np.float32]:
        """(r, n) squared distances of some members (positions) from all, over the sums of squared norms.

        Over the layers that both have; 4 where they share none.
        """

        def both(norms: NDArray[np.float64]) -> NDArray[np.float64]:
            return norms[some] @ self._known.T + self._known[some] @ norms.T

        squared = both(self._spread)
        squared -= 2 * (self._sketch[some] @ self._sketch.T)
        norms = both(self._own)
        far = np.full(squared.shape, _FAR)
        np.divide(np.maximum(squared, 0.0), norms, out=far, where=norms > 0)
        return far.astype(np.float32)


@dataclass(frozen=True)
class Spanning:
    """A minimum spanning forest: pairs of members and the estimates that join them."""

    edges: Edges  # (e, 2) positions
    squared: NDArray[np.float32]  # (e,) squared relative distances

    @staticmethod
    def none() -> Spanning:
        """No pair is known."""
        return Spanning(np.empty((0, 2), dtype=np.intp), np.empty(0, dtype=np.float32))


@dataclass(frozen=True)
class Near:
    """What new members are near to."""

    chosen: frozenset[int]  # old members (positions)
    spanning: Spanning  # of all


def nearest(estimated: Estimated, new: int, neighbours: int, known: Spanning) -> Near:
    """The old members that new ones, which are the first `new`, are to be measured against, and the tree of all.

    For each new one they are its `neighbours` nearest, and those that it is joined to in the minimum spanning tree.
    `known` is the minimum spanning tree of any members, of which edges of new ones and of such as are gone are left
    out: what it is good for is time alone.
    """
    members = len(estimated)
    chosen: set[int] = set()
    tree = known
    rows = _compared(members, new, known)
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        relative = estimated.relative(some)
        for row in relative[some < new]:
            chosen.update((new + np.argsort(row[new:], kind="stable")[:neighbours]).tolist())
        tree = _grown(tree, some, relative)
    ends = tree.edges[(tree.edges < new).sum(axis=1) == 1]
    return Near(frozenset(chosen | set(ends.max(axis=1).tolist())), tree)


def _compared(members: int, new: int, known: Spanning) -> NDArray[np.intp]:
    """Who is compared with all: new members, and all old ones but those of the largest part of what is known."""
    part = parts(members, known.edges)
    largest = np.bincount(part[new:]).argmax() if members > new else -1
    compared = part != largest
    compared[:new] = True
    return np.flatnonzero(compared)


def _grown(tree: Spanning, some: NDArray[np.intp], relative: NDArray[np.float32]) -> Spanning:
    """The minimum spanning tree of what a tree joins and of all pairs of some members."""
    members = relative.shape[1]
    relative[np.arange(len(some)), some] = np.inf
    row, column = rectangle_tree(relative, some, np.arange(members), members)
    edges = np.concatenate([tree.edges, np.column_stack([some[row], column])])
    squared = np.concatenate([tree.squared, relative[row, column]])
    kept = sparse_tree(members, edges, squared)
    return Spanning(edges[kept], squared[kept])
