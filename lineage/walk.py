"""Walks over an undirected tree, given as its edges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Edges = Sequence[tuple[int, int]]


def outward(root: int, edges: Edges) -> list[tuple[int, int]]:
    """(parent, child) of every edge of the tree that holds `root`, seen from there, nearest first."""
    neighbours: dict[int, list[int]] = {}
    for a, b in edges:
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    found: list[tuple[int, int]] = []
    reached, order = {root}, [root]
    for node in order:
        for other in neighbours.get(node, ()):
            if other not in reached:
                reached.add(other)
                order.append(other)
                found.append((node, other))
    return found


def sides(members: Sequence[int], edges: Edges) -> NDArray[np.bool_]:
    """(edges, members): who is on the side of edge[0] when the edge is cut, in a tree that spans the members."""
    place = {member: index for index, member in enumerate(members)}
    under = np.eye(len(members), dtype=bool)  # [node, member]: member is node or below it, seen from the first member
    walked = outward(members[0], edges)
    for parent, child in reversed(walked):
        under[place[parent]] |= under[place[child]]
    children = {(parent, child) for parent, child in walked}
    rows = [~under[place[b]] if (a, b) in children else under[place[a]] for a, b in edges]
    return np.array(rows, dtype=bool).reshape(len(edges), len(members))
