"""Our method: from a family's measures to its model trees. It is told neither stages nor the number of trees.

Duplicates are collapsed first, and merges are taken out; clusters are cut at a relative distance; each cluster's
skeleton is a minimum spanning tree; then one root is chosen per tree by the evidence of all its edges; merges, with
those who were trained from them, and duplicates are attached last. The direction is asked after the skeleton is there:
a per-edge penalty, as in equation 6 of the paper, corrupts edges that distance alone places rightly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import isnan

import numpy as np

from lineage import mother
from lineage.absent import absent_parents
from lineage.adjacency import Signs, core_signs
from lineage.cluster import THRESHOLD, clusters, duplicates
from lineage.detector_trees import detector_heritage
from lineage.direction import Rooted, root_tree
from lineage.family import FamilyMeasures, LayerKind
from lineage.initialisation import Scheme
from lineage.learnt import learnt
from lineage.merge_edges import merge_edges, merges_apart
from lineage.merges import Merges
from lineage.mother import Metric
from lineage.partition import Clustering
from lineage.phylogeny import Settings, Sketches, phylogeny
from lineage.preorder import preorder
from lineage.skeleton import LOW_RANK, Skeleton, skeleton
from lineage.trees import Heritage, InferredEdge, Tree
from lineage.walk import outward


@dataclass(frozen=True)
class Parameters:
    """All that steers an inference; stored with the run."""

    method: str = "recover"  # or "mother", "phylogeny" or "detector"
    threshold: float = THRESHOLD  # relative distance below which models are related
    decide: float = 0.5  # confidence from which on an edge counts as decided
    decide_direction: float = 0.7  # and the probability of its direction, whose better half is never below 0.5
    merges: int = 1000  # the most members of a family among which merges are sought; 0: none are
    metric: str = Metric.FINE_TUNE.value  # of the paper's method
    c: float = mother.PENALTY  # of the paper's method
    trees: int | None = None  # of the paper's method and of phylogeny; None: as many as the threshold gives
    clustering: str = Clustering.KMEANS.value  # of phylogeny
    initialisation: str = Scheme.ARCHITECTURE.value  # of phylogeny

    def relevant(self) -> dict[str, object]:
        """The parameters that the method uses, fit for JSON."""
        return {name: value for name, value in asdict(self).items() if self.method in _USED_BY.get(name, METHODS)}


METHODS = ("recover", "mother", "phylogeny", "detector")
_USED_BY = {  # what is not here, all of them use
    "decide": ("recover", "phylogeny", "detector"),
    "decide_direction": ("recover", "phylogeny", "detector"),
    "merges": ("recover",),
    "metric": ("mother",),
    "c": ("mother",),
    "trees": ("mother", "phylogeny"),
    "clustering": ("phylogeny",),
    "initialisation": ("phylogeny",),
}


def heritage(
    measures: FamilyMeasures,
    parameters: Parameters,
    created: Mapping[int, float] | None = None,
    sketches: Sketches | None = None,
) -> Heritage:
    """The trees of a family by the method that the parameters name. Raises ValueError for an unknown one.

    `created` (seconds, by position) is the one evidence that is not from weights; None keeps the inference free of it.
    `sketches` are what phylogeny compares with initialisations, see there.
    """
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
    copies = [_oldest_first(group, created) for group in duplicates(measures)]
    hidden = {copy for group in copies for copy in group[1:]}
    shown = [position for position in range(len(measures.members)) if position not in hidden]
    merged, notes = _merged(measures, shown, parameters)
    aside = {member for clade in merged.clades.values() for member in clade}
    plants = [
        _grown(measures, cluster, parameters, created)
        for cluster in clusters(
            measures, parameters.threshold, members=[member for member in shown if member not in aside]
        )
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
        home[original].edges += [_copy_edge(measures, original, copy, created) for copy in others]
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


def _grown(
    measures: FamilyMeasures, cluster: Sequence[int], parameters: Parameters, created: Mapping[int, float]
) -> _Plant:
    """The tree of a cluster without merges and duplicates."""
    found = skeleton(measures, cluster)
    prior = _prior(found.sources, found.core, created)
    rooted = root_tree(measures, found.sources, found.core, prior, stand_in=found.stand_in)
    directed = found.outward(rooted.root)
    absent = absent_parents(found.members, directed, found.squared)
    edges = _edges(measures, found, directed, rooted, absent, parameters, created)
    return _Plant(list(cluster), rooted.root, rooted.probabilities[rooted.root], edges, absent)


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
    rooted = replace(guessed, root=merge, probabilities={**dict.fromkeys(guessed.probabilities, 0.0), merge: 1.0})
    return _edges(measures, found, outward(merge, found.edges), rooted, (), parameters, created)


def _oldest_first(group: Sequence[int], created: Mapping[int, float]) -> tuple[int, ...]:
    return tuple(sorted(group, key=lambda position: (created.get(position, np.inf), position)))


def _prior(members: Sequence[int], edges: Sequence[tuple[int, int]], created: Mapping[int, float]) -> dict[int, float]:
    """Dates as evidence, only where they are known: a root is seldom younger than a model that it is joined to."""
    strength = 1.0  # log-odds per neighbour; dates of upload are no dates of training
    prior = dict.fromkeys(members, 0.0)
    for a, b in edges:
        for older in _dates(a, b, created).values():
            prior[b if older > 0 else a] -= strength
    return prior


def _estimated(measures: FamilyMeasures, parent: int, child: int) -> dict[str, float]:
    """Says of an edge that its distance was not measured but estimated from sketches."""
    return {"estimated": 1.0} if measures.estimated is not None and measures.estimated[parent, child] else {}


def _dates(parent: int, child: int, created: Mapping[int, float]) -> dict[str, float]:
    """Evidence from metadata, named so: 1 if the parent's repository is the older one, -1 if it is the younger."""
    if parent not in created or child not in created or created[parent] == created[child]:
        return {}
    return {"metadata: created before": 1.0 if created[parent] < created[child] else -1.0}


def _edges(
    measures: FamilyMeasures,
    found: Skeleton,
    directed: Sequence[tuple[int, int]],
    rooted: Rooted,
    absent: Sequence[Sequence[int]],
    parameters: Parameters,
    created: Mapping[int, float],
) -> list[InferredEdge]:
    """The skeleton's edges, pointed away from the root, each with its confidence."""
    if not directed:
        return []
    orphans = [set(group) for group in absent]
    place = {member: index for index, member in enumerate(found.members)}
    pairs = np.array([(place[parent], place[child]) for parent, child in directed], dtype=np.intp)
    tree = preorder(len(place), pairs, place[directed[0][0]])
    likely = np.array([rooted.probabilities.get(member, 0.0) for member in found.members])
    above = 1 - tree.below(likely[tree.order])
    signs = core_signs(found)
    inferred = []
    for parent, child in directed:
        node = found.copies.source.get(parent, parent)
        seen = signs.get((node, found.copies.source.get(child, child)))
        direction = float(above[tree.place[place[child]]])
        own = float(found.squared[place[parent], place[child]])
        adjacency = seen.probability(learnt().adjacency) if seen else learnt().adjacency.copy
        orphaned = any({parent, child} <= group for group in orphans)
        if orphaned:
            adjacency = min(adjacency, _ADJACENT_ORPHANS)
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
                confidence >= parameters.decide and direction >= parameters.decide_direction,
                {
                    "direction": direction,
                    "adjacency": adjacency,
                    **(_signs(seen) if seen else {}),
                    "squared_distance": own,
                    **({} if share is None else {"share_among_copies": share}),
                    **({"parent absent": 1.0} if orphaned else {}),
                    **_scores(rooted, node, child),
                    **_dates(parent, child, created),
                    **_estimated(measures, parent, child),
                },
            )
        )
    return inferred


def _signs(seen: Signs) -> dict[str, float]:
    return {"margin": seen.margin} | ({} if isnan(seen.angle) else {"angle": seen.angle, "acute": seen.acute})


def _scores(rooted: Rooted, parent: int, child: int) -> dict[str, float]:
    """The scores of an edge for this direction; none for the edge to a copy, which needs none."""
    if (parent, child) in rooted.evidence:
        return rooted.evidence[parent, child]
    return {name: -value for name, value in rooted.evidence.get((child, parent), {}).items()}


_ADJACENT_ORPHANS = 0.2  # siblings whose parent is absent are seldom each other's parents


def relation(measures: FamilyMeasures, parent: int, child: int) -> str:
    """How the two differ: "lora" if most layers that moved did so by a low rank, else "finetune"."""
    trunk = np.array([layer.kind is LayerKind.TRUNK for layer in measures.layers], dtype=bool)
    moved = trunk & (measures.squared_distance[:, parent, child] > 0)
    rank = measures.rank[moved, parent, child]
    low = (rank >= 0) & (rank < LOW_RANK * measures.full_rank[moved])
    return "lora" if len(rank) and low.mean() > _MOSTLY else "finetune"


_MOSTLY = 0.5


def _copy_edge(measures: FamilyMeasures, original: int, copy: int, created: Mapping[int, float]) -> InferredEdge:
    """Weights do not tell which of two equal models came first; dates may."""
    dates = _dates(original, copy, created)
    return InferredEdge(
        measures.members[original], measures.members[copy], "duplicate", 0.9 if dates else 0.5, bool(dates), dates
    )


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
