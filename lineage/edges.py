"""The edges that inference states: a skeleton pointed away from its root, with evidence and confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan

import numpy as np

from lineage.absent import absence
from lineage.adjacency import Signs, core_signs
from lineage.direction import Rooted
from lineage.family import FamilyMeasures, LayerKind
from lineage.learnt import learnt
from lineage.preorder import preorder
from lineage.skeleton import LOW_RANK, Skeleton
from lineage.stage import EVIDENCE as STAGE
from lineage.stage import generalisation
from lineage.trees import InferredEdge
from lineage.uneven import sharing


def directed_edges(
    measures: FamilyMeasures,
    found: Skeleton,
    directed: Sequence[tuple[int, int]],
    rooted: Rooted,
    absent: Sequence[Sequence[int]],
    decide: float,
    decide_direction: float,
    created: Mapping[int, float],
) -> list[InferredEdge]:
    """The skeleton's edges `directed`, (parent, child) by position and a parent's own edge before its children's.

    An edge's confidence is the probability of its direction, which is that of all roots on the parent's side, whoever
    hangs on which of its ends (uneven.py), times that of the two being joined at all (adjacency.py), and that of no
    parent of both being absent where one may be (absent.py). From `decide` and `decide_direction` on an edge is
    decided, unless it lies within one of the groups `absent`.
    """
    if not directed:
        return []
    lacking = absence(found, rooted.root, absent)
    place = {member: index for index, member in enumerate(found.members)}
    pairs = np.array([(place[parent], place[child]) for parent, child in directed], dtype=np.intp)
    tree = preorder(len(place), pairs, place[directed[0][0]])
    likely = np.array([rooted.probabilities.get(member, 0.0) for member in found.members])
    above = 1 - tree.below(likely[tree.order])
    signs = core_signs(found)
    towards = _directions(found, {child: float(above[tree.place[place[child]]]) for _, child in directed}, directed)
    stages = generalisation(measures, directed).tolist()
    inferred = []
    for (parent, child), stage in zip(directed, stages, strict=True):
        node = found.copies.source.get(parent, parent)
        ends = node, found.copies.source.get(child, child)
        seen = signs.get(ends)
        direction = towards.get(ends, float(above[tree.place[place[child]]]))
        own = float(found.squared[place[parent], place[child]])
        adjacency = seen.probability(learnt().adjacency) if seen else learnt().adjacency.copy
        orphaned = lacking.get(ends)
        if orphaned is not None:
            adjacency *= 1 - orphaned
        if ends in found.clear:
            direction = 0.5
        if found.copies.source.get(child) == parent:
            direction, relationship = 1.0, "pruned" if child in found.copies.pruned else "cast"
        else:
            relationship = relation(measures, parent, child)
        share = found.share.get((child, node))  # of the parent in its node
        if share is not None:
            adjacency *= share
        confidence = float(np.clip(direction * adjacency, 0.0, 1.0))
        inferred.append(
            InferredEdge(
                measures.members[parent],
                measures.members[child],
                relationship,
                confidence,
                confidence >= decide and direction >= decide_direction and orphaned is None,
                {
                    "direction": direction,
                    "adjacency": adjacency,
                    **(_signs(seen) if seen else {}),
                    "squared_distance": own,
                    **({} if share is None else {"share_among_copies": share}),
                    **({"between": found.between[ends]} if ends in found.between else {}),
                    **({} if orphaned is None else {"parent absent": orphaned}),
                    **_scores(rooted, node, child),
                    **({STAGE: stage} if relationship in TRAINED else {}),
                    **dates(parent, child, created),
                    **_estimated(measures, parent, child),
                },
            )
        )
    return inferred


def _directions(
    found: Skeleton, above: Mapping[int, float], directed: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], float]:
    """Of the core's edges, by sources: how likely they are to be so directed, as nobody knows who hangs on whom.

    `above` is the chance of the root to be on the parent's side of each child in the tree as it is.
    """
    inner = [edge for edge in found.core if edge not in found.clear]  # between siblings nobody is above
    core = {pair for edge in inner for pair in (edge, edge[::-1])}
    nodes = [(found.copies.source.get(parent, parent), child) for parent, child in directed]
    inside = [edge for edge in nodes if edge in core]
    if not inside:
        return {}
    at = {member: index for index, member in enumerate(found.sources)}
    pairs = np.array([(at[parent], at[child]) for parent, child in inside], dtype=np.intp)
    below = np.array([1 - above[child] for _, child in inside])
    return dict(zip(inside, sharing(found.core_squared, pairs).above(below).tolist(), strict=True))


def _signs(seen: Signs) -> dict[str, float]:
    angles = {} if isnan(seen.angle) else {"angle": seen.angle, "acute": seen.acute}
    return {"margin": seen.margin, **angles, "beside": seen.beside}


def _scores(rooted: Rooted, parent: int, child: int) -> dict[str, float]:
    """The scores of an edge for this direction; none for the edge to a copy, which needs none."""
    if (parent, child) in rooted.evidence:
        return rooted.evidence[parent, child]
    return {name: -value for name, value in rooted.evidence.get((child, parent), {}).items()}


def relation(measures: FamilyMeasures, parent: int, child: int) -> str:
    """How the two differ: "lora" if most layers that moved did so by a low rank, else "finetune"."""
    trunk = np.array([layer.kind is LayerKind.TRUNK for layer in measures.layers], dtype=bool)
    moved = trunk & (measures.squared_distance[:, parent, child] > 0)
    rank = measures.rank[moved, parent, child]
    low = (rank >= 0) & (rank < LOW_RANK * measures.full_rank[moved])
    return "lora" if len(rank) and low.mean() > _MOSTLY else "finetune"


_MOSTLY = 0.5
TRAINED = ("finetune", "lora")  # relations to which a stage of training belongs


def dates(parent: int, child: int, created: Mapping[int, float]) -> dict[str, float]:
    """Evidence from metadata, named so: 1 if the parent's repository is the older one, -1 if it is the younger."""
    if parent not in created or child not in created or created[parent] == created[child]:
        return {}
    return {"metadata: created before": 1.0 if created[parent] < created[child] else -1.0}


def _estimated(measures: FamilyMeasures, parent: int, child: int) -> dict[str, float]:
    """Says of an edge that its distance was not measured but estimated from sketches."""
    return {"estimated": 1.0} if measures.estimated is not None and measures.estimated[parent, child] else {}


def copy_edge(measures: FamilyMeasures, original: int, copy: int, created: Mapping[int, float]) -> InferredEdge:
    """Of two equal members, by positions."""
    return duplicate_edge(measures.members[original], measures.members[copy], dates(original, copy, created))


def duplicate_edge(original: int, copy: int, known: dict[str, float]) -> InferredEdge:
    """Weights do not tell which of two equal models came first; what is `known` of their dates may."""
    return InferredEdge(original, copy, "duplicate", 0.9 if known else 0.5, bool(known), known)
