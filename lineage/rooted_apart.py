"""The roots of a tree in which clear siblings are joined to one another, see siblings.py."""

from __future__ import annotations

from collections.abc import Mapping

from lineage.between import CLEAR
from lineage.direction import Rooted, edge_scores, rooted
from lineage.family import FamilyMeasures
from lineage.siblings import apart
from lineage.skeleton import Skeleton


def rooted_apart(
    measures: FamilyMeasures, found: Skeleton, whole: Rooted, prior: Mapping[int, float] | None = None
) -> Rooted:
    """Who is the root where clear siblings are: one of them, and what descends from each has a root of its own.

    Probabilities then sum to 1 among those who descend from one sibling, so that mass below an edge there says how
    likely it is turned; an edge between siblings has no direction. `whole` is the tree rooted as if nobody were absent.
    """
    clear = [found.between.get(edge, 0.0) >= CLEAR for edge in found.core]
    if not any(clear):
        return whole
    joined = {one for edge, cut in zip(found.core, clear, strict=True) if cut for one in edge}
    likely: dict[int, float] = {}
    for group, edges in zip(*apart(found.sources, found.core, clear), strict=True):
        own = edge_scores(measures, group, edges, found.stand_in)
        scores = {edge: whole.evidence[edge] | {"side": told["side"]} for edge, told in own.items()}
        likely |= rooted(group, scores, {one: (prior or {}).get(one, 0.0) for one in group}).probabilities
    root = max(sorted(joined), key=lambda one: whole.probabilities[one])
    return Rooted(root, likely, whole.evidence)
