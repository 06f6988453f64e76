"""Cuts a tree of many members into connected pieces of a few hundred that share single members and no edge.

Numbers that are known of a piece alone are enough for the piece's edges; and where pieces meet in one member only,
trees of the pieces make a tree of all.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lineage.preorder import preorder

_FEW = 4  # what is left over at the top joins another piece if it is smaller than a piece by this factor


def pieces(
    edges: Sequence[tuple[int, int]], limit: int, together: Sequence[tuple[int, int]] = ()
) -> tuple[tuple[int, ...], ...]:
    """Return connected pieces of the tree that `edges` make, each ascending: every edge lies in one of them.

    They have about `limit` members at the most and, but for the last, half of that at the least, if nobody's group is
    large. The ends of the edges in `together`, which are some of `edges`, stay together: where a piece meets another in
    one of a group, it has the whole group; a group of more than a quarter of the limit is none.
    """
    if not edges:
        return ()
    names, ends = np.unique(np.array(edges, dtype=np.intp).ravel(), return_inverse=True)
    pairs = ends.reshape(-1, 2)
    group = _groups(names, together, limit // 4)
    weight = np.bincount(group)
    across = group[pairs]
    across = across[across[:, 0] != across[:, 1]]
    members = [names[some].tolist() for some in np.split(np.argsort(group, kind="stable"), np.cumsum(weight)[:-1])]
    found = _cut(weight, across, limit) if len(across) else [[0]]
    return tuple(tuple(sorted(one for node in nodes for one in members[node])) for nodes in found)


def _groups(names: NDArray[np.intp], together: Sequence[tuple[int, int]], most: int) -> NDArray[np.intp]:
    """(n,) the group of each member, numbered from 0."""
    place = {name: index for index, name in enumerate(names.tolist())}
    top = list(range(len(names)))
    size = [1] * len(names)

    def first(one: int) -> int:
        while top[one] != one:
            top[one] = top[top[one]]
            one = top[one]
        return one

    for a, b in together:
        one, other = sorted((first(place[a]), first(place[b])))
        if one != other and size[one] + size[other] <= most:
            top[other] = one
            size[one] += size[other]
    found: NDArray[np.intp] = np.unique([first(one) for one in range(len(names))], return_inverse=True)[1]
    return found


def _cut(weight: NDArray[np.intp], edges: NDArray[np.intp], limit: int) -> list[list[int]]:
    """The nodes of each piece: from the leaves upwards, branches are packed until another would be too much."""
    tree = preorder(len(weight), edges, _middle(len(weight), edges))
    heavy = weight[tree.order].tolist()
    branches: list[list[tuple[int, list[int]]]] = [[] for _ in heavy]  # of each place: members left over below, and who
    found: list[list[int]] = []
    for place in range(len(heavy) - 1, -1, -1):
        own, parent = heavy[place], int(tree.parent[place])
        left: list[int] = []
        size = own
        for more, branch in sorted(branches[place], key=lambda one: -one[0]):
            if left and size + more > limit:
                found.append([place, *left])
                left, size = [], own
            left += branch
            size += more
        branches[place] = []
        if parent >= 0 and left and size + heavy[parent] > limit:
            found.append([place, *left])
            left, size = [], own
        if parent >= 0:
            branches[parent].append((size, [place, *left]))
        elif left:
            _last(found, [place, *left], heavy, limit)
    return [[int(tree.order[one]) for one in nodes] for nodes in found]


def _last(found: list[list[int]], rest: list[int], heavy: list[int], limit: int) -> None:
    """Add what is left over at the top; little of it joins the smallest piece that it touches."""
    if sum(heavy[one] for one in rest) * _FEW < limit:
        touching = [piece for piece in found if not set(rest).isdisjoint(piece)]
        if touching:
            smallest = min(touching, key=len)
            smallest += sorted(set(rest) - set(smallest))
            return
    found.append(rest)


def _middle(nodes: int, edges: NDArray[np.intp]) -> int:
    """A node none of whose branches holds more than half of all."""
    tree = preorder(nodes, edges, int(edges[0, 0]))
    return int(tree.order[np.flatnonzero(2 * tree.size >= nodes)[-1]])  # the one farthest down that holds half
