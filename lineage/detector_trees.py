"""Model trees from the detector's probabilities alone: the likeliest arborescence of each group of relatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import softmax

from lineage.arborescence import minimum_arborescence
from lineage.cluster import duplicates, relative_distance, trunk_sums
from lineage.detector import RELATIONS, exchanged, relations
from lineage.family import FamilyMeasures
from lineage.trees import Heritage, InferredEdge, Tree

ALL_PAIRS = 64  # members of a family, up to which all pairs are asked ...
NEAREST = 16  # ... and above, of each member those with so many nearest ones
_UNASKED = 1e-9  # the probability of an edge that was not asked, or is as good as none
_PARENT = RELATIONS.index("parent")
_UNRELATED = RELATIONS.index("unrelated")

Kind = Callable[[FamilyMeasures, int, int], str]


@dataclass(frozen=True)
class Judged:
    """What the detector says of n members: of [i, j] the relation of i to j."""

    members: tuple[int, ...]  # positions in the family
    likely: NDArray[np.float64]  # (n, n, len(RELATIONS)); zeros where a pair was not asked
    related: NDArray[np.bool_]  # (n, n)

    def parts(self) -> list[Judged]:
        """The groups of relatives."""
        number, label = connected_components(self.related, directed=False)
        found = []
        for one in range(number):
            here = np.flatnonzero(label == one)
            pairs = np.ix_(here, here)
            found.append(Judged(tuple(self.members[at] for at in here), self.likely[pairs], self.related[pairs]))
        return found


def detector_heritage(
    measures: FamilyMeasures, threshold: float, decide: float, decide_direction: float, kind: Kind
) -> Heritage:
    """The trees of a family, by the detector's classes of pairs.

    Models are relatives where they are likelier related than not, and nearer than the relative distance `threshold`. In
    each group the arborescence of greatest product of parent-child probabilities is taken; an edge is decided if its
    probability reaches `decide`, and that of its direction `decide_direction`. Members equal to the last bit stand
    aside and are joined to the first of them. `kind` names how a child differs from its parent.
    """
    groups = duplicates(measures)
    hidden = {copy for group in groups for copy in group[1:]}
    shown = tuple(place for place in range(len(measures.members)) if place not in hidden)
    trees = []
    for part in judged(measures, shown, threshold).parts():
        root, confidence, edges = _tree(measures, part, decide, decide_direction, kind)
        members = list(part.members)
        for original, *copies in (group for group in groups if group[0] in part.members):
            members += copies
            edges += [
                InferredEdge(measures.members[original], measures.members[copy], "duplicate", 0.5, decided=False)
                for copy in copies
            ]
        ids = tuple(measures.members[member] for member in sorted(members))
        edges.sort(key=lambda edge: (edge.parent, edge.child))
        trees.append(Tree(ids, measures.members[root], confidence, tuple(edges)))
    named = tuple(tuple(measures.members[one] for one in group) for group in groups)
    return Heritage(tuple(sorted(trees, key=lambda tree: tree.members)), named)


def judged(measures: FamilyMeasures, members: Sequence[int], threshold: float) -> Judged:
    """Ask the detector of the members' pairs: of all of them, or in a large family of those that are near.

    Pairs at a relative distance of `threshold` or more are not asked: they are no relatives.
    """
    distance = relative_distance(trunk_sums(measures, members, related=threshold, kindred_share=0.0))
    near = distance < threshold
    np.fill_diagonal(near, val=False)
    if len(members) > ALL_PAIRS:
        rank = np.where(near, distance, np.inf).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
        near &= (rank < NEAREST) | (rank.T < NEAREST)
    i, j = np.nonzero(np.triu(near, 1))
    positions = np.array(members, dtype=np.intp)
    likely = np.zeros((len(members), len(members), len(RELATIONS)))
    likely[i, j] = relations(measures, list(zip(positions[i].tolist(), positions[j].tolist(), strict=True)))
    likely[j, i] = exchanged(likely[i, j])
    related = near & (likely[:, :, _UNRELATED] < 0.5)
    return Judged(tuple(members), likely, related)


def _tree(
    measures: FamilyMeasures, part: Judged, decide: float, decide_direction: float, kind: Kind
) -> tuple[int, float, list[InferredEdge]]:
    """Root, its probability and edges of a group of relatives."""
    likely = np.where(part.related, part.likely[:, :, _PARENT], 0.0)
    found = minimum_arborescence(-np.log(np.maximum(likely, _UNASKED)))
    edges = []
    for i, j in found.edges:
        forth, back = float(likely[i, j]), float(likely[j, i])
        adjacency = forth + back
        direction = forth / adjacency if adjacency > 0 else 0.5
        parent, child = part.members[i], part.members[j]
        edges.append(
            InferredEdge(
                measures.members[parent],
                measures.members[child],
                kind(measures, parent, child),
                min(1.0, forth),
                forth >= decide and direction >= decide_direction,
                {
                    "direction": direction,
                    "adjacency": adjacency,
                    **{
                        f"detector: {name}": float(part.likely[i, j, place])
                        for place, name in enumerate(RELATIONS)
                        if part.likely[i, j, place] >= _WORTH_SAYING
                    },
                },
            )
        )
    confidence = float(softmax(-found.prices)[found.root])
    return part.members[found.root], confidence, edges


_WORTH_SAYING = 0.01
