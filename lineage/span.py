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

from lineage.compiled import compiled

Edges = NDArray[np.intp]  # (e, 2)
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]
Singles = NDArray[np.float32]


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


def rectangle_tree(cost: Singles, rows: Ints, columns: Ints, nodes: int) -> tuple[Ints, Ints]:
    """Return the minimum spanning forest of a graph whose edges are all between rows and columns: its edges as entries.

    `rows` (r,) and `columns` (c,) say which of the nodes they are, and may name the same ones; inf in (r, c) `cost`
    says that there is no such edge, as it must where a row meets itself. Time O(nodes²), memory O(nodes).
    """
    row_of, column_of = (np.full(nodes, -1, dtype=np.intp) for _ in range(2))
    row_of[rows], column_of[columns] = np.arange(len(rows)), np.arange(len(columns))
    found = np.empty((max(nodes - 1, 0), 2), dtype=np.intp)
    number = _prim(cost, rows.astype(np.intp), columns.astype(np.intp), row_of, column_of, found)
    return found[:number, 0], found[:number, 1]


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


@compiled
def _prim(cost: Singles, rows: Ints, columns: Ints, row_of: Ints, column_of: Ints, found: Ints) -> int:
    """Fill `found` with (row, column) entries and return their number. Time O(nodes²)."""
    nodes = len(row_of)
    far = np.float32(np.inf)
    nearest = np.full(nodes, far, dtype=np.float32)
    by_row, by_column = np.zeros(nodes, dtype=np.int64), np.zeros(nodes, dtype=np.int64)
    left = np.ones(nodes, dtype=np.bool_)
    number, begin, current = 0, 0, 0
    for _ in range(nodes):
        left[current] = False
        nearest[current] = far
        row = row_of[current]
        if row >= 0:
            for c in range(len(columns)):
                node = columns[c]
                if left[node] and cost[row, c] < nearest[node]:
                    nearest[node] = cost[row, c]
                    by_row[node], by_column[node] = row, c
        column = column_of[current]
        if column >= 0:
            for r in range(len(rows)):
                node = rows[r]
                if left[node] and cost[r, column] < nearest[node]:
                    nearest[node] = cost[r, column]
                    by_row[node], by_column[node] = r, column
        current = _least(nearest)
        if current >= 0:
            found[number, 0], found[number, 1] = by_row[current], by_column[current]
            number += 1
        else:  # another part begins
            begin = _first(left, begin)
            current = begin
    return number


@compiled
def _least(values: Singles) -> int:
    """Where the first of the least of them is; -1 if all are infinite."""
    best, least = -1, np.float32(np.inf)
    for place in range(len(values)):
        if values[place] < least:
            best, least = place, values[place]
    return best


@compiled
def _first(left: Bools, begin: int) -> int:
    """The first from `begin` on; the last where there is none."""
    while begin < len(left) - 1 and not left[begin]:
        begin += 1
    return begin
