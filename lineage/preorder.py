"""A rooted tree as arrays: members in preorder, so that those below a member are a stretch of the order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import depth_first_order


@dataclass(frozen=True)
class Preorder:
    """A tree of n members. Those below and including `order[k]` are `order[k : k + size[k]]`."""

    order: NDArray[np.intp]  # (n,) members, the root first
    place: NDArray[np.intp]  # (size of the family,) where each member stands in the order; -1: not in this tree
    parent: NDArray[np.intp]  # (n,) the place of each one's parent, by place; -1 at the root
    size: NDArray[np.intp]  # (n,) how many are below each, itself included, by place

    def below(self, values: NDArray[Any]) -> NDArray[Any]:
        """(n,) sums over all below each one, itself included, by place; `values` are (n,) by place."""
        sums = np.concatenate([[0], np.cumsum(values)])
        found: NDArray[Any] = sums[np.arange(len(self.size)) + self.size] - sums[:-1]
        return found

    def above(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """(n,) sums over all from the root down to each one, itself included, by place; `values` are (n,) by place."""
        sums = values.astype(np.float64).tolist()
        for place, parent in enumerate(self.parent[1:].tolist(), 1):
            sums[place] += sums[parent]
        return np.array(sums)


def preorder(members: int, edges: NDArray[np.intp], root: int) -> Preorder:
    """Root the tree of `edges` (e, 2) that holds `root`; members are 0 .. `members` - 1. Time O(e log e)."""
    pairs = (edges[:, 0], edges[:, 1])
    graph = coo_array((np.ones(len(edges)), pairs), shape=(members, members)).tocsr()
    found, before = depth_first_order(graph, root, directed=False)
    order = found.astype(np.intp)
    place = np.full(members, -1, dtype=np.intp)
    place[order] = np.arange(len(order))
    parent = np.full(len(order), -1, dtype=np.intp)
    parent[1:] = place[before[order[1:]]]
    size = [1] * len(order)
    for child, above in zip(range(len(order) - 1, 0, -1), parent[:0:-1].tolist(), strict=True):
        size[above] += size[child]
    return Preorder(order, place, parent, np.array(size, dtype=np.intp))
