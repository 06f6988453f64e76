"""Our method: from a family's measures to its model trees. It is told neither stages nor the number of trees.

Duplicates are collapsed first, and merges are taken out; clusters are cut at a relative distance; each cluster's
skeleton is a minimum spanning tree; then one root is chosen per tree by the evidence of all its edges; merges, with
those who were trained from them, and duplicates are attached last. The direction is asked after the skeleton is there:
a per-edge penalty, as in equation 6 of the paper, corrupts edges that distance alone places rightly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from lineage import mother
from lineage.absent import absent_parents
from lineage.adjacency import core_steps_beside
from lineage.cluster import clusters, duplicates
from lineage.dated import oldest_first
from lineage.detector_direction import with_detector
from lineage.detector_siblings import sibling_odds
from lineage.detector_trees import detector_heritage
from lineage.direction import edge_scores, root_tree, rooted
from lineage.edges import copy_edge, directed_edges, relation
from lineage.family import FamilyMeasures
from lineage.initialisation import Scheme
from lineage.large import large_heritage
from lineage.merge_edges import merge_edges, merges_apart
from lineage.merges import Merges
from lineage.mother import Metric
from lineage.pair_store import AllPairs, PairStore
from lineage.parameters import Parameters
from lineage.partition import Clustering
from lineage.phylogeny import Settings, Sketches, phylogeny
from lineage.root_prior import root_prior
from lineage.rooted_apart import rooted_apart
from lineage.skeleton import Unjoined, skeleton
from lineage.trees import Heritage, InferredEdge, Tree
from lineage.uneven import sureness
from lineage.walk import outward


def heritage(
    measures: FamilyMeasures | PairStore,
    parameters: Parameters,
    created: Mapping[int, float] | None = None,
    sketches: Sketches | None = None,
) -> Heritage:
    """The trees of a family by the method that the parameters name. Raises ValueError for an unknown one.

    `created` (seconds, by position) is the one evidence that is not from weights; None keeps the inference free of it.
    `sketches` are what phylogeny compares with initialisations, see there. Of a large family by our method, a
    `PairStore` is enough.
    """
    store = AllPairs(measures) if isinstance(measures, FamilyMeasures) else measures
    if in_pieces(store.family, parameters):
        return large_heritage(store, parameters, created or {})
    if not isinstance(measures, FamilyMeasures):
        (measures,) = measures.pieces([range(len(measures.family.members))])
    if not measures.members:
        return Heritage((), ())
    if parameters.method == "mother":
        return _by_mother(measures, parameters)
    if parameters.method == "phylogeny":
        return phylogeny(measures, _settings(parameters), relation, sketches)
    if parameters.method == "detector":
        thresholds = parameters.threshold, parameters.decide, parameters.decide_direction
        return detector_heritage(measures, *thresholds, relation)
    if parameters.method != "recover":
        raise ValueError(f"unknown method {parameters.method!r}, expected recover, mother, phylogeny or detector")
    return _by_recover(measures, parameters, created or {})


def in_pieces(measures: FamilyMeasures, parameters: Parameters) -> bool:
    """Whether a family is too large to be inferred at once, see `lineage.large`. No pair's measures are asked for."""
    return parameters.method == "recover" and len(measures.members) > parameters.whole


def _settings(parameters: Parameters) -> Settings:
    return Settings(
        Clustering(parameters.clustering),
        Scheme(parameters.initialisation),
        parameters.threshold,
        parameters.trees,
        parameters.decide,
        parameters.decide_direction,
    )


def _by_recover(measures: FamilyMeasures, parameters: Parameters, created: Mapping[int, float]) -> Heritage:
    copies = [oldest_first(group, created) for group in duplicates(measures)]
    hidden = {copy for group in copies for copy in group[1:]}
    shown = [position for position in range(len(measures.members)) if position not in hidden]
    merged, notes = _merged(measures, shown, parameters)
    aside = {member for clade in merged.clades.values() for member in clade}
    plants = [
        plant
        for cluster in clusters(
            measures, parameters.threshold, members=[member for member in shown if member not in aside]
        )
        for plant in _all_grown(measures, cluster, parameters, created)
    ]
    home = {member: plant for plant in plants for member in plant.members}
    for merge in merged.found:
        plant, clade = home[merge.parents[0]], merged.clades[merge.child]
        plant.members += clade
        plant.edges += merge_edges(measures, merge, parameters.decide)
        plant.edges += _below(measures, merge.child, clade, parameters, created)
        home |= dict.fromkeys(clade, plant)
    for original, *others in copies:
        home[original].members += others
        home[original].edges += [copy_edge(measures, original, copy, created) for copy in others]
    trees = sorted((_tree(measures, plant) for plant in plants), key=lambda tree: tree.members)
    return Heritage(tuple(trees), tuple(_ids(measures, group) for group in copies), notes)


@dataclass
class _Plant:
    """A tree while it grows, in positions."""

    members: list[int]
    root: int
    root_confidence: float
    edges: list[InferredEdge]
    absent: tuple[tuple[int, ...], ...]


def _merged(measures: FamilyMeasures, shown: Sequence[int], parameters: Parameters) -> tuple[Merges, tuple[str, ...]]:
    if len(shown) <= parameters.merges:
        return merges_apart(measures, shown), ()
    note = f"merges were not sought: {len(shown)} different members, more than {parameters.merges}"
    return Merges((), {}), (note,) if parameters.merges else ()


def _all_grown(
    measures: FamilyMeasures, cluster: Sequence[int], parameters: Parameters, created: Mapping[int, float]
) -> list[_Plant]:
    """The tree of a cluster, or several where too little is left of its members to join them all."""
    try:
        return [_grown(measures, cluster, parameters, created)]
    except Unjoined as apart:
        return [plant for part in apart.parts for plant in _all_grown(measures, part, parameters, created)]


def _grown(
    measures: FamilyMeasures, cluster: Sequence[int], parameters: Parameters, created: Mapping[int, float]
) -> _Plant:
    """The tree of a cluster without merges and duplicates."""
    found = skeleton(measures, cluster, asked=sibling_odds(measures, cluster))
    evidence = edge_scores(measures, found.sources, found.core, found.stand_in)
    if parameters.detector:
        evidence = with_detector(measures, evidence)
    prior = root_prior(measures, found.sources, found.core, created)
    clear = found.clear.intersection(found.core)
    sure = sureness(core_steps_beside(found).tolist())
    top = rooted_apart(rooted(found.sources, evidence, prior, sure), clear, prior, sure)
    directed = found.outward(top.root)
    absent = absent_parents(found, top.root)
    edges = directed_edges(
        measures, found, directed, top, absent, parameters.decide, parameters.decide_direction, created
    )
    return _Plant(list(cluster), top.root, top.probabilities[top.root], edges, absent)


def _below(
    measures: FamilyMeasures,
    merge: int,
    clade: Sequence[int],
    parameters: Parameters,
    created: Mapping[int, float],
) -> list[InferredEdge]:
    """The edges among a merge and those who were trained from it: the merge is known to be the root."""
    if len(clade) < 2:
        return []
    found = skeleton(measures, sorted(clade))
    guessed = root_tree(measures, found.sources, found.core, stand_in=found.stand_in)
    known = replace(guessed, root=merge, probabilities={**dict.fromkeys(guessed.probabilities, 0.0), merge: 1.0})
    directed = outward(merge, found.edges)
    thresholds = parameters.decide, parameters.decide_direction
    return directed_edges(measures, found, directed, known, (), *thresholds, created)


def _tree(measures: FamilyMeasures, plant: _Plant) -> Tree:
    return Tree(
        _ids(measures, sorted(plant.members)),
        measures.members[plant.root],
        plant.root_confidence,
        tuple(sorted(plant.edges, key=lambda edge: (edge.parent, edge.child))),
        tuple(_ids(measures, group) for group in plant.absent),
    )


def _ids(measures: FamilyMeasures, positions: Sequence[int]) -> tuple[int, ...]:
    return tuple(measures.members[position] for position in positions)


def _by_mother(measures: FamilyMeasures, parameters: Parameters) -> Heritage:
    """The paper's trees. It states no confidence: an edge of its arborescence counts as decided."""
    trees_asked = None if parameters.trees is None else min(parameters.trees, len(measures.members))
    found = mother.recover(measures, metric=Metric(parameters.metric), trees=trees_asked, c=parameters.c)
    trees = []
    for tree in found:
        edges = [
            InferredEdge(
                measures.members[tree.members[parent]],
                measures.members[child],
                relation(measures, tree.members[parent], child),
                1.0,
                True,
                {"kurtosis": float(tree.kurtosis[parent] - tree.kurtosis[index])},
            )
            for index, (child, parent) in enumerate(zip(tree.members, tree.arborescence.parent, strict=True))
            if parent >= 0
        ]
        root = measures.members[tree.members[tree.arborescence.root]]
        trees.append(Tree(_ids(measures, tree.members), root, 1.0, tuple(edges)))
    return Heritage(tuple(trees), tuple(_ids(measures, group) for group in duplicates(measures)))
