"""What each method answers on the families of a zoo, by names: ours, the paper's, and what they are held against.

The paper's method is told what it asks for and the others are not: which models were pre-trained. No method is told the
number of trees.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.recovery_zoos import Family, Truth
from lineage import mother
from lineage.cluster import clusters, duplicates, trunk_layers, trunk_sums
from lineage.family import FamilyMeasures
from lineage.mother import Metric
from lineage.parameters import Parameters
from lineage.recover import heritage
from lineage.span import dense_tree
from lineage.trees import InferredEdge
from lineage.walk import outward


@dataclass(frozen=True)
class Given:
    """An inferred edge; `evidence` is what its method says of it."""

    parent: str
    child: str
    decided: bool = True
    confidence: float = 1.0
    evidence: Mapping[str, float] = field(default_factory=dict)

    @property
    def pair(self) -> tuple[str, str]:
        """(parent, child)."""
        return self.parent, self.child


@dataclass(frozen=True)
class Answer:
    """All that a method says of a zoo."""

    trees: tuple[tuple[str, tuple[str, ...]], ...]  # root, members
    edges: tuple[Given, ...]
    duplicates: tuple[tuple[str, ...], ...] = ()

    @property
    def merges(self) -> dict[str, dict[str, float]]:
        """Models with several parents, and the weight of each; NaN where none is stated."""
        parents: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for edge in self.edges:
            parents[edge.child][edge.parent] = float(edge.evidence.get("weight", np.nan))
        return {child: weights for child, weights in parents.items() if len(weights) > 1}


def recover(families: Sequence[Family], parameters: Parameters | None = None, *, detector: bool = False) -> Answer:
    """Our method with its defaults, unless others are given; `detector`: the learned one is asked too."""
    trees, edges, groups = [], [], []
    for measures, names in families:
        name = dict(zip(measures.members, names, strict=True))
        found = heritage(measures, parameters or Parameters(detector=detector))
        trees += [(name[tree.root], tuple(name[one] for one in tree.members)) for tree in found.trees]
        edges += [_given(edge, name) for tree in found.trees for edge in tree.edges if edge.relation != "duplicate"]
        groups += [tuple(name[one] for one in group) for group in found.duplicates]
    return Answer(tuple(trees), tuple(edges), tuple(groups))


def _given(edge: InferredEdge, name: Mapping[int, str]) -> Given:
    return Given(name[edge.parent], name[edge.child], edge.decided, edge.confidence, edge.evidence)


def paper(metric: Metric) -> Callable[[Sequence[Family], Truth], Answer]:
    """The paper's method with one of its distances and the stages of all models."""

    def answer(families: Sequence[Family], truth: Truth) -> Answer:
        trees, edges = [], []
        for measures, names in families:
            stages = [name in truth.generalisation for name in names]
            for tree in mother.recover(measures, metric=metric, generalisation=stages):
                trees.append((names[tree.root], tuple(names[one] for one in tree.members)))
                edges += [Given(names[parent], names[child]) for parent, child in tree.edges]
        return Answer(tuple(trees), tuple(edges), _equal(families))

    return answer


def kurtosis_tree(families: Sequence[Family], _: Truth) -> Answer:
    """Minimum spanning trees of squared distances over the trunk, each rooted at its highest sum of kurtosis."""
    trees, edges = [], []
    for measures, names in families:
        for cluster in clusters(measures):
            squared = trunk_sums(measures, cluster).squared_distance
            tree = [(cluster[int(i)], cluster[int(j)]) for i, j in dense_tree(squared)]
            root = cluster[int(np.argmax(_kurtosis(measures, cluster)))]
            trees.append((names[root], tuple(names[one] for one in cluster)))
            edges += [Given(names[parent], names[child]) for parent, child in outward(root, tree)]
    return Answer(tuple(trees), tuple(edges), _equal(families))


def _kurtosis(measures: FamilyMeasures, cluster: Sequence[int]) -> NDArray[np.float64]:
    everywhere = trunk_layers(measures, cluster).all(axis=1)
    return mother.kurtosis_sum(measures.kurtosis[everywhere][:, list(cluster)])


def _equal(families: Iterable[Family]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(names[one] for one in group) for measures, names in families for group in duplicates(measures))


def with_true_roots(answer: Answer, truth: Truth) -> Answer:
    """The same skeletons, each rooted at a true root where it holds one: the ceiling of any choice of direction."""
    below: defaultdict[str, set[str]] = defaultdict(set)
    for child, parents in truth.parents.items():
        for parent in parents:
            below[parent].add(child)
    trees, edges = [], []
    for root, members in answer.trees:
        mine = [edge for edge in answer.edges if edge.child in set(members)]
        true = [one for one in members if not truth.parents[one] and below[one]]
        top = max(true, key=lambda one: len(below[one] & set(members)), default=root)
        trees.append((top, members))
        edges += _turned(top, mine)
    return replace(answer, trees=tuple(trees), edges=tuple(edges))


def _turned(root: str, edges: Sequence[Given]) -> list[Given]:
    """Edges pointed away from `root`; of several parents of one child, all but the heaviest stay as they are."""
    main: dict[str, Given] = {}
    for edge in edges:
        other = main.get(edge.child)
        if other is None or abs(edge.evidence.get("weight", 0)) > abs(other.evidence.get("weight", 0)):
            main[edge.child] = edge
    tree = list(main.values())
    number = {name: place for place, name in enumerate(dict.fromkeys([root, *(n for e in edges for n in e.pair)]))}
    name = {place: one for one, place in number.items()}
    turned = outward(0, [(number[edge.parent], number[edge.child]) for edge in tree])
    given = [Given(name[parent], name[child]) for parent, child in turned]
    return given + [replace(edge, decided=True) for edge in edges if edge not in tree]


def with_twins(answer: Answer, twins: Mapping[str, str]) -> Answer:
    """Models whose files equal those of another join its tree and its group of duplicates, as in the main job."""
    copies: defaultdict[str, list[str]] = defaultdict(list)
    for copy, original in twins.items():
        copies[original].append(copy)
    trees = [(root, (*members, *(copy for one in members for copy in copies[one]))) for root, members in answer.trees]
    groups = {group[0]: group for group in answer.duplicates}
    stands_for = {one: group[0] for group in answer.duplicates for one in group}
    for original, mine in copies.items():
        if mine:
            first = stands_for.get(original, original)
            groups[first] = (*groups.get(first, (first,)), *mine)
    return Answer(tuple(trees), answer.edges, tuple(groups.values()))


OURS = "recover"
DETECTOR = "recover with the detector"
CEILING = "recover, true roots"
OTHERS: dict[str, Callable[[Sequence[Family], Truth], Answer]] = {
    "mother": paper(Metric.FINE_TUNE),
    "mother, low-rank": paper(Metric.LOW_RANK),
    "MST, kurtosis root": kurtosis_tree,
}
METHODS = (OURS, DETECTOR, CEILING, *OTHERS)


def answers(families: Sequence[Family], truth: Truth, twins: Mapping[str, str]) -> dict[str, Answer]:
    """What every method says of one zoo."""
    ours = recover(families)
    found = {OURS: ours, DETECTOR: recover(families, detector=True), CEILING: with_true_roots(ours, truth)}
    found |= {name: method(families, truth) for name, method in OTHERS.items()}
    return {name: with_twins(answer, twins) for name, answer in found.items()}
