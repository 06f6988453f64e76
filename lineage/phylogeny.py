"""Neural Phylogeny Detection without learning: who was trained from whom, by the distance from where a network began.

A child has been optimised for longer than its parent, so it lies farther from initialisation, of which a fake one is
drawn (`lineage.initialisation`). Joined with traditional clustering (`lineage.partition`):

1. groups: members are clustered in weight space, on relative distances over the trunk;
2. along the distance: within a group, the member that is nearest to the fake initialisation is the first generation,
   alone, and the others' distances are clustered in one dimension, by the same algorithm: a cluster is a generation;
3. pairs: a member's parent is the nearest, in weight space, of all generations before its own.

What the publication leaves open is decided here: the score is the root mean square of what separates a model from the
initialisation, over the tensors that all of a group have if these hold half of its parameters, else over the model's
own; the number of generations is that of the best silhouette; the parent is sought in all earlier generations, since a
generation that was cut in two would else make parents of siblings. Exact copies are collapsed first. With `order`, a
variant of our own, every member is its own generation: its parent is the nearest that lies nearer to initialisation.

No probability is part of the publication. Those stated here are logistic in the steadiness over layers of the log ratio
of both distances (direction), times the share of pairs that were found to be adjacent, both learnt from zoos for each
clustering (`lineage.phylogeny_odds`). The margin to the next candidate had a weight of the wrong sign, as the first
generation has one candidate, and has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from lineage.cluster import SHARED_SHARE, duplicates, relative_distance, trunk_sums
from lineage.direction import steadiness
from lineage.family import FamilyMeasures
from lineage.initialisation import Scheme, distances
from lineage.partition import Clustering, along, groups
from lineage.phylogeny_odds import odds
from lineage.trees import Heritage, InferredEdge, Tree

Sketches = Sequence[NDArray[np.float64]]  # per layer the (N, k) CountSketches of all members, NaN where one has none
Relation = Callable[[FamilyMeasures, int, int], str]  # how a parent and a child differ


@dataclass(frozen=True)
class Settings:
    """What steers the detection."""

    clustering: Clustering = Clustering.KMEANS
    initialisation: Scheme = Scheme.ARCHITECTURE
    threshold: float = 0.7  # relative distance below which models are related
    trees: int | None = None  # None: as many as the threshold gives
    decide: float = 0.5  # confidence from which on an edge counts as decided
    decide_direction: float = 0.7


_LARGEST_MARGIN = 3.0


def phylogeny(
    measures: FamilyMeasures, settings: Settings, relation: Relation, sketches: Sketches | None = None
) -> Heritage:
    """The trees of a family. Without `sketches` the draw orders members by norm alone, which is said in a note.

    Raises ValueError for a number of trees below one, or any for DBSCAN.
    """
    copies = duplicates(measures)
    hidden = {copy for group in copies for copy in group[1:]}
    shown = [position for position in range(len(measures.members)) if position not in hidden]
    others = {group[0]: group[1:] for group in copies}
    apart = relative_distance(trunk_sums(measures, shown, related=settings.threshold, kindred_share=0.0))
    found = groups(apart, settings.clustering, settings.threshold, settings.trees)
    trees = [
        _tree(
            measures,
            settings,
            relation,
            [shown[index] for index in group],
            apart[np.ix_(group, group)],
            sketches,
            others,
        )
        for group in found
    ]
    drawn = any(len(group) > 1 and scheme_of(group, settings.initialisation) is not Scheme.CENTROID for group in found)
    notes = ("no sketches are stored: distances from the initialisation are ordered by norm alone",)
    return Heritage(
        tuple(sorted(trees, key=lambda tree: tree.members)),
        tuple(_ids(measures, group) for group in copies),
        notes if drawn and sketches is None else (),
    )


def parents(
    distance: NDArray[np.float64], scores: NDArray[np.float64], clustering: Clustering
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The k-means "along the distance" and its kin: (n,) parents, -1 for the root, and (n,) generations from 0 on.

    `distance` is (n, n) between members and `scores` (n,) from the fake initialisation. Ties fall to the first.
    """
    root = int(np.argmin(scores))
    others = np.array([member for member in range(len(scores)) if member != root], dtype=np.intp)
    generation = np.zeros(len(scores), dtype=np.intp)
    generation[others] = 1 + along(scores[others], clustering)
    found = np.full(len(scores), -1, dtype=np.intp)
    for member in others:
        before = np.flatnonzero(generation < generation[member])
        found[member] = before[int(np.argmin(distance[member, before]))]
    return found, generation


def group_scores(measures: FamilyMeasures, members: Sequence[int], squared: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) root mean squares of the distances from initialisation, of (L, n) squares by layer; NaN for none."""
    sizes = np.array([layer.size for layer in measures.layers], dtype=np.float64)
    has = np.isfinite(squared)
    everywhere: NDArray[np.bool_] = np.asarray(has.all(axis=1))
    if sizes[everywhere].sum() >= SHARED_SHARE * sizes[np.asarray(has.any(axis=1))].sum():
        has = has & everywhere[:, None]
    elements = sizes @ has
    total = np.where(has, squared, 0.0).sum(axis=0)
    mean: NDArray[np.float64] = np.divide(total, elements, out=np.full(len(members), np.nan), where=elements > 0)
    return np.sqrt(mean)


def scheme_of(group: Sequence[int], scheme: Scheme) -> Scheme:
    """Where a group is taken to have begun: two members are equally far from their centroid, so they are drawn for."""
    return Scheme.ARCHITECTURE if scheme is Scheme.CENTROID and len(group) == _PAIR else scheme


_PAIR = 2


def _tree(
    measures: FamilyMeasures,
    settings: Settings,
    relation: Relation,
    group: Sequence[int],
    distance: NDArray[np.float64],
    sketches: Sketches | None,
    copies: Mapping[int, Sequence[int]],
) -> Tree:
    settings = replace(settings, initialisation=scheme_of(group, settings.initialisation))
    squared = distances(measures, group, settings.initialisation, sketches)
    scores = group_scores(measures, group, squared)
    scored = np.where(np.isfinite(scores), scores, np.inf)  # what cannot be compared with anybody is no root
    above, generation = parents(distance, scored, settings.clustering) if np.isfinite(scored).any() else _alone(group)
    edges = [
        _edge(measures, settings, relation, group, distance, squared, scores, (int(parent), child), generation)
        for child, parent in enumerate(above)
        if parent >= 0
    ]
    original = {copy: one for one in group for copy in copies.get(one, ())}
    edges += [
        InferredEdge(measures.members[one], measures.members[copy], "duplicate", 0.5, decided=False)
        for copy, one in original.items()
    ]
    members = sorted([*group, *original])
    root = int(np.argmin(scored))
    return Tree(
        _ids(measures, members),
        measures.members[group[root]],
        _root_confidence(squared, scored, root, odds(settings.clustering, settings.initialisation).direction),
        tuple(sorted(edges, key=lambda edge: (edge.parent, edge.child))),
    )


def _alone(group: Sequence[int]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Nobody has a tensor that counts: no pairs."""
    return np.full(len(group), -1, dtype=np.intp), np.zeros(len(group), dtype=np.intp)


def _edge(
    measures: FamilyMeasures,
    settings: Settings,
    relation: Relation,
    group: Sequence[int],
    distance: NDArray[np.float64],
    squared: NDArray[np.float64],
    scores: NDArray[np.float64],
    edge: tuple[int, int],
    generation: NDArray[np.intp],
) -> InferredEdge:
    parent, child = edge
    steady = farther(squared, parent, child)
    margin = nearer(distance, parent, child, np.flatnonzero(generation < generation[child]))
    known = odds(settings.clustering, settings.initialisation)
    direction = float(expit(known.direction * steady))
    adjacency = float(expit(known.adjacency))
    confidence = direction * adjacency
    return InferredEdge(
        measures.members[group[parent]],
        measures.members[group[child]],
        relation(measures, group[parent], group[child]),
        confidence,
        confidence >= settings.decide and direction >= settings.decide_direction,
        {
            "direction": direction,
            "adjacency": adjacency,
            "margin": margin,
            "farther": steady,
            "parent_score": float(scores[parent]),
            "child_score": float(scores[child]),
            "parent_generation": float(generation[parent]),
            "child_generation": float(generation[child]),
        },
    )


def farther(squared: NDArray[np.float64], parent: int, child: int) -> float:
    """How steadily layers, of (L, n) squared distances, say that the child is farther from initialisation; ± 4.

    Layers in which both are equally far say nothing: they were not trained.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(squared[:, child] / squared[:, parent])
    told = ratio[np.isfinite(ratio) & (ratio != 0)]
    return steadiness(told) if len(told) else 0.0


def nearer(distance: NDArray[np.float64], parent: int, child: int, candidates: NDArray[np.intp]) -> float:
    """Log of the next candidate's squared distance from the child over the parent's, in 0 .. 3; 3 if there is none."""
    rest = distance[child, candidates[candidates != parent]]
    if not len(rest) or not np.isfinite(rest).any():
        return _LARGEST_MARGIN
    own, second = float(distance[child, parent]), float(rest.min())
    if own == 0:
        return _LARGEST_MARGIN if second else 0.0
    return float(np.clip(2 * np.log(second / own), 0.0, _LARGEST_MARGIN)) if np.isfinite(own) else 0.0


def _root_confidence(squared: NDArray[np.float64], scores: NDArray[np.float64], root: int, direction: float) -> float:
    """The probability of its direction against the member that is next to the initialisation; 1 for one alone."""
    if len(scores) < 2:
        return 1.0
    order = np.argsort(scores, kind="stable")
    return float(expit(direction * farther(squared, root, int(order[order != root][0]))))


def _ids(measures: FamilyMeasures, positions: Sequence[int]) -> tuple[int, ...]:
    return tuple(measures.members[position] for position in positions)
