"""Minimum spanning trees of large families: dense in O(n²) time without sorting, and of a few candidates per member.

`lineage.skeleton.spanning_tree` sorts all pairs by several costs; with one cost and 10,000 members, Prim's algorithm on
rows is faster and takes no memory to speak of. Both cut to clusters: the single linkage of a threshold is what is left
of the tree of the same distances without its edges at or above it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

Edges = NDArray[np.intp]  # (e, 2)


def dense_tree(cost: NDArray[np.floating[Any]]) -> Edges:
    """Return the minimum spanning forest of (n, n) symmetric costs: its edges (i, j) with i < j, ascending.

    inf says that there is no such pair; costs of any sign, no NaN. One tree per connected part; ties fall to the lower
    index. The diagonal is not read.
    """
    size = len(cost)
    left = np.ones(size, dtype=bool)
    nearest = np.full(size, np.inf, dtype=cost.dtype)  # of those left, to the tree so far
    source = np.full(size, -1, dtype=np.intp)
    edges = []
    current = 0
    for _ in range(size):
        left[current] = False
        nearest[current] = np.inf
        row = cost[current]
        nearer = row < nearest
        nearer &= left
        np.copyto(nearest, row, where=nearer)
        source[nearer] = current
        current = int(nearest.argmin())
        if nearest[current] == np.inf:  # another part begins
            current = int(left.argmax())
            continue
        edges.append((source[current], current))
    return _ascending(np.array(edges, dtype=np.intp).reshape(-1, 2))


def sparse_tree(size: int, pairs: Edges, cost: NDArray[np.floating[Any]]) -> NDArray[np.intp]:
    """Return the minimum spanning forest of (e, 2) candidate pairs of `size` members, as ascending indices of pairs.

    A pair may be named more than once and either way round; ties fall to the first. Time O(e log e).
    """
    order = np.argsort(cost, kind="stable")
    low, high = pairs.min(axis=1)[order], pairs.max(axis=1)[order]
    first = np.unique(low * size + high, return_index=True)[1]  # the cheapest of each pair
    first = first[low[first] != high[first]]
    # Places in the order are distinct and above 0, which csgraph would read as no edge.
    graph = coo_array((first + 1.0, (low[first], high[first])), shape=(size, size)).tocsr()
    tree = minimum_spanning_tree(graph)
    return np.sort(order[tree.data.astype(np.intp) - 1])


def parts(size: int, edges: Edges) -> NDArray[np.int32]:
    """(size,) the connected part of each member, numbered from 0 by their first members."""
    graph = coo_array((np.ones(len(edges), dtype=np.int8), (edges[:, 0], edges[:, 1])), shape=(size, size))
    label = connected_components(graph, directed=False)[1]
    _, first, inverse = np.unique(label, return_index=True, return_inverse=True)
    place = np.empty(len(first), dtype=np.int32)
    place[np.argsort(first)] = np.arange(len(first))
    return place[inverse]


def _ascending(edges: Edges) -> Edges:
    edges = np.sort(edges, axis=1)
    return edges[np.lexsort((edges[:, 1], edges[:, 0]))]
