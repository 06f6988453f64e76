"""Edges between siblings that norms alone tell from parents and children, see between.py: where they belong.

No edge between siblings is true; in a tree they hold together what descends from each. A child that decay has drawn in
is nearer to its parent's siblings than its parent is, and is joined to them. So such an edge is led from root to root
of what it joins, each of which is found by its own edges alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lineage.between import CLEAR, told_between
from lineage.direction import root_tree
from lineage.family import FamilyMeasures
from lineage.span import parts

Pair = tuple[int, int]


def joined_by_roots(measures: FamilyMeasures, sources: Sequence[int], core: tuple[Pair, ...]) -> tuple[Pair, ...]:
    """The tree `core` of `sources` with its edges between clear siblings led from root to root; ascending."""
    clear = (told_between(measures, core) >= CLEAR).tolist()
    if not any(clear):
        return core
    members, inside = apart(sources, core, clear)
    top = {
        one: root_tree(measures, group, edges).root
        for group, edges in zip(members, inside, strict=True)
        for one in group
    }
    led = [(top[a], top[b]) for (a, b), cut in zip(core, clear, strict=True) if cut]
    return tuple(sorted((min(edge), max(edge)) for edges in [*inside, led] for edge in edges))


def apart(
    sources: Sequence[int], core: Sequence[Pair], clear: Sequence[bool]
) -> tuple[list[list[int]], list[list[Pair]]]:
    """The parts that are left of the tree without its edges between clear siblings: their members and edges."""
    place = {member: index for index, member in enumerate(sources)}
    kept = [edge for edge, cut in zip(core, clear, strict=True) if not cut]
    rows = np.array([(place[a], place[b]) for a, b in kept], dtype=np.intp).reshape(-1, 2)
    label = parts(len(place), rows).tolist()
    members: list[list[int]] = [[] for _ in range(max(label) + 1)]
    inside: list[list[Pair]] = [[] for _ in members]
    for one in sources:
        members[label[place[one]]].append(one)
    for edge in kept:
        inside[label[place[edge[0]]]].append(edge)
    return members, inside
