"""The roots of a tree in which clear siblings are joined to one another, see siblings.py."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from lineage.direction import Rooted, rooted, weighed
from lineage.siblings import Pair, apart


def rooted_apart(whole: Rooted, clear: Collection[Pair], prior: Mapping[int, float], sure: float = 1.0) -> Rooted:
    """Who is the root where clear siblings are: one of them, and what descends from each has a root of its own.

    Probabilities then sum to 1 among those who descend from one sibling, so that mass below an edge there says how
    likely it is turned; an edge between siblings, one of `clear`, has no direction. `whole` is the tree rooted as if
    nobody were absent, with the scores of all its edges.
    """
    if not clear:
        return whole
    edges = list(whole.evidence)
    likely: dict[int, float] = {}
    for group, inside in zip(*apart(list(whole.probabilities), edges, [edge in clear for edge in edges]), strict=True):
        scores = weighed(group, {edge: whole.evidence[edge] for edge in inside})
        likely |= rooted(group, scores, {one: prior.get(one, 0.0) for one in group}, sure).probabilities
    joined = sorted({one for edge in clear for one in edge})
    root = max(joined, key=lambda one: whole.probabilities[one])
    return Rooted(root, likely, whole.evidence)
