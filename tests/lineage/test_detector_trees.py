"""Trees from the detector alone."""

from __future__ import annotations

import builders
import numpy as np

from lineage.cluster import THRESHOLD
from lineage.detector_trees import ALL_PAIRS, NEAREST, detector_heritage, judged
from lineage.edges import relation
from lineage.family import FamilyMeasures, Layer, LayerKind
from lineage.parameters import Parameters
from lineage.recover import heritage

LAYERS = (
    *(Layer(f"w{n}", (16, 12), LayerKind.TRUNK) for n in range(5)),
    *(Layer(f"b{n}", (16,), LayerKind.VECTOR) for n in range(2)),
)


def star(seed: int, children: int, roots: int = 1, copies: int = 0) -> FamilyMeasures:
    """Roots, each with children that moved independently from it; copies of the first root come last."""
    rng = np.random.default_rng(seed)
    models = []
    for _ in range(roots):
        root = {layer.name: rng.normal(size=layer.shape) for layer in LAYERS}
        models.append(root)
        models += [
            {name: 0.99 * values + 0.1 * rng.normal(size=values.shape) for name, values in root.items()}
            for _ in range(children)
        ]
    models += [dict(models[0]) for _ in range(copies)]
    return builders.measured(models, LAYERS, first_id=40, slopes=True)


def test_a_model_alone_is_a_tree_by_itself() -> None:
    found = heritage(star(1, 0), Parameters(method="detector"))
    assert [(tree.members, tree.root, tree.root_confidence, tree.edges) for tree in found.trees] == [
        ((40,), 40, 1.0, ())
    ]


def test_two_identical_models_are_one_group_and_their_edge_is_not_decided() -> None:
    found = heritage(star(2, 0, copies=1), Parameters(method="detector"))
    assert found.duplicates == ((40, 41),)
    (edge,) = found.trees[0].edges
    assert (edge.relation, edge.confidence, edge.decided) == ("duplicate", 0.5, False)


def test_strangers_are_in_trees_of_their_own() -> None:
    found = heritage(star(3, 0, roots=4), Parameters(method="detector"))
    assert [tree.members for tree in found.trees] == [(40,), (41,), (42,), (43,)]


def test_roots_and_their_children_are_told_apart() -> None:
    found = heritage(star(4, 4, roots=2, copies=1), Parameters(method="detector"))
    assert [tree.members for tree in found.trees] == [(40, 41, 42, 43, 44, 50), (45, 46, 47, 48, 49)]
    joined = {frozenset((edge.parent, edge.child)) for tree in found.trees for edge in tree.edges}
    assert joined == {
        *(frozenset((40, child)) for child in (41, 42, 43, 44, 50)),
        *(frozenset((45, child)) for child in (46, 47, 48, 49)),
    }


def test_edges_are_decided_by_the_thresholds_and_say_why() -> None:
    measures = star(5, 3)
    for decide in (0.0, 1.1):
        found = detector_heritage(measures, THRESHOLD, decide, 0.0, relation)
        edges = [edge for tree in found.trees for edge in tree.edges]
        assert edges
        assert all(edge.decided is (decide == 0.0) for edge in edges)
        assert all({"direction", "adjacency"} <= edge.evidence.keys() for edge in edges)
        assert all(0 <= edge.confidence <= 1 for edge in edges)


def test_of_a_large_family_only_near_pairs_are_asked() -> None:
    measures = star(6, ALL_PAIRS + 4)
    found = judged(measures, range(len(measures.members)), THRESHOLD)
    asked = (found.likely.sum(axis=2) > 0).sum(axis=1)
    assert NEAREST <= np.median(asked) < len(measures.members) - 1
    assert (found.likely.sum(axis=2) > 0)[0].all() or asked[0] == len(measures.members) - 1  # the root: nearest to all


def test_an_empty_family_has_no_trees() -> None:
    assert heritage(builders.measured([], LAYERS), Parameters(method="detector")).trees == ()


def test_the_paper_s_options_are_no_part_of_its_provenance() -> None:
    assert Parameters(method="detector").relevant() == {
        "method": "detector",
        "threshold": THRESHOLD,
        "decide": 0.5,
        "decide_direction": 0.7,
    }
