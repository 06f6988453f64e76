"""Trees that were made here, with steps that are known to be told apart, must be recovered exactly."""

from __future__ import annotations

from dataclasses import replace

import builders
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lineage.family import FamilyMeasures, Layer, LayerKind
from lineage.parameters import Parameters
from lineage.recover import heritage
from lineage.trees import Heritage, Tree

Model = dict[str, NDArray[np.float64]]

LAYERS = (*(Layer(f"w{n}", (24, 20), LayerKind.TRUNK) for n in range(5)), Layer("bias", (24,), LayerKind.VECTOR))
BY_WEIGHTS = {"direction", "adjacency", "margin", "angle", "acute", "beside", "squared_distance"} | {
    "slope", "kurtosis", "norm", "vectors", "start", "zeros", "stand_in", "side", "between", "stage: generalisation"
}  # fmt: skip
SURE = 0.9


def root(rng: np.random.Generator) -> Model:
    """Rows and columns have scales of their own, so that the noise of a child drowns some and hardly moves others."""
    model = {
        layer.name: np.exp(1.5 * rng.normal(size=(24, 1)) + rng.normal(size=(1, 20))) * rng.normal(size=(24, 20))
        for layer in LAYERS[:-1]
    }
    return {**model, "bias": 0.01 * rng.normal(size=24)}


def child(rng: np.random.Generator, parent: Model) -> Model:
    """A parent and noise. Were it shrunk as well, siblings would share a drift."""
    step = rng.uniform(0.04, 0.08)
    return {name: values + step * rng.normal(size=values.shape) for name, values in parent.items()}


def family(rng: np.random.Generator, trees: list[int]) -> tuple[list[Model], list[int | None]]:
    """Trees of so many members, and each member's parent."""
    models: list[Model] = []
    parents: list[int | None] = []
    for members in trees:
        start = len(models)
        models.append(root(rng))
        parents.append(None)
        for index in range(1, members):
            parent = start + int(rng.integers(index))
            models.append(child(rng, models[parent]))
            parents.append(parent)
    return models, parents


def measured(models: list[Model]) -> FamilyMeasures:
    return builders.measured(models, LAYERS, slopes=True)


def edges(found: Heritage, *, copies: bool = False) -> set[tuple[int, int]]:
    return {
        (edge.parent, edge.child)
        for tree in found.trees
        for edge in tree.edges
        if (edge.relation == "duplicate") == copies
    }


def true_edges(parents: list[int | None]) -> set[tuple[int, int]]:
    return {(parent, child) for child, parent in enumerate(parents) if parent is not None}


def permuted(measures: FamilyMeasures, order: list[int]) -> FamilyMeasures:
    """The same members at other positions, each with its own id."""
    pairs = {name: getattr(measures, name)[:, order][:, :, order] for name in ("squared_distance", "slope", "rank")}
    each = {
        name: getattr(measures, name)[:, order] for name in ("count", "zeros", "squared_norm", "variance", "kurtosis")
    }
    return replace(
        measures,
        members=tuple(measures.members[i] for i in order),
        digest=tuple(tuple(layer[i] for i in order) for layer in measures.digest),
        **each,
        **pairs,
    )


def unordered(found: Heritage) -> list[tuple[object, ...]]:
    """Trees without the order in which they are given."""
    return sorted(
        (sorted(tree.members), tree.root, sorted((edge.parent, edge.child, edge.relation) for edge in tree.edges))
        for tree in found.trees
    )


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), trees=st.lists(st.integers(1, 7), min_size=1, max_size=3))
def test_trees_strangers_and_roots_are_recovered_exactly(seed: int, trees: list[int]) -> None:
    models, parents = family(np.random.default_rng(seed), trees)
    found = heritage(measured(models), Parameters())
    assert {frozenset(edge) for edge in edges(found)} == {frozenset(edge) for edge in true_edges(parents)}
    for tree in found.trees:  # a single edge may have too little evidence for its direction, and then says so
        assert parents[tree.root] is None or tree.root_confidence < SURE
        sure = {(edge.parent, edge.child) for edge in tree.edges if edge.evidence["direction"] >= SURE}
        assert sure <= true_edges(parents)
    assert sorted(len(tree.members) for tree in found.trees) == sorted(trees)
    assert found.duplicates == ()
    for tree in found.trees:
        assert 0 <= tree.root_confidence <= 1
        for edge in tree.edges:
            assert 0 <= edge.confidence <= 1
            sure = edge.confidence >= Parameters().decide
            assert edge.decided == (sure and edge.evidence["direction"] >= Parameters().decide_direction)
            assert set(edge.evidence) == (BY_WEIGHTS if len(tree.members) > 2 else BY_WEIGHTS - {"angle", "acute"})


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_order_of_members_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    models, _ = family(rng, [6, 2, 1])
    straight = measured(models)
    turned = permuted(straight, [int(i) for i in rng.permutation(len(models))])
    for method in ("recover", "mother"):
        parameters = Parameters(method=method)
        assert unordered(heritage(turned, parameters)) == unordered(heritage(straight, parameters))


def test_members_are_known_by_their_ids_and_by_nothing_else() -> None:
    models, _ = family(np.random.default_rng(0), [5, 3])
    straight = measured(models)
    renamed = replace(straight, members=tuple(900 - 7 * index for index in straight.members))
    found, other = heritage(straight, Parameters()), heritage(renamed, Parameters())
    assert {(900 - 7 * a, 900 - 7 * b) for a, b in edges(found)} == edges(other)


def test_copies_stand_aside_while_the_tree_is_found_and_are_attached_afterwards() -> None:
    models, parents = family(np.random.default_rng(1), [5, 1])
    for original in (0, 3, 3, 5):
        models.append({name: values.copy() for name, values in models[original].items()})
    found = heritage(measured(models), Parameters())
    assert found.duplicates == ((0, 6), (3, 7, 8), (5, 9))
    assert edges(found) == true_edges(parents)
    assert edges(found, copies=True) == {(0, 6), (3, 7), (3, 8), (5, 9)}
    copied = [edge for tree in found.trees for edge in tree.edges if edge.relation == "duplicate"]
    assert not any(edge.decided for edge in copied)
    assert [set(tree.members) for tree in found.trees] == [{0, 1, 2, 3, 4, 6, 7, 8}, {5, 9}]


def test_two_models_make_a_tree_of_one_edge() -> None:
    models, _ = family(np.random.default_rng(2), [2])
    for order in ([0, 1], [1, 0]):
        (tree,) = heritage(permuted(measured(models), order), Parameters()).trees
        assert (tree.root, [(edge.parent, edge.child) for edge in tree.edges]) == (0, [(0, 1)])


def test_a_model_alone_is_its_own_root_and_no_models_make_no_trees() -> None:
    models, _ = family(np.random.default_rng(3), [1])
    assert heritage(measured(models), Parameters()).trees == (Tree((0,), 0, 1.0, ()),)
    assert heritage(measured([]), Parameters()) == Heritage((), ())


def test_a_low_rank_child_is_said_to_be_one() -> None:
    rng = np.random.default_rng(4)
    parent = root(rng)
    delta = {layer.name: 0.3 * rng.normal(size=(24, 2)) @ rng.normal(size=(2, 20)) for layer in LAYERS[:-1]}
    adapted = {name: values + delta.get(name, 0.0) for name, values in parent.items()}
    tuned = child(rng, parent)
    (tree,) = heritage(measured([parent, adapted, tuned]), Parameters()).trees
    relation = {frozenset((edge.parent, edge.child)): edge.relation for edge in tree.edges}
    assert relation == {frozenset((0, 1)): "lora", frozenset((0, 2)): "finetune"}


def test_dates_are_evidence_only_where_they_are_given_and_say_so() -> None:
    models, _ = family(np.random.default_rng(5), [4])
    models.append(models[2])
    measures = measured(models)
    without = heritage(measures, Parameters())
    assert not any("metadata" in name for tree in without.trees for edge in tree.edges for name in edge.evidence)
    assert heritage(measures, Parameters(), {}) == without
    (tree,) = heritage(measures, Parameters(), {0: 10.0, 1: 20.0, 2: 40.0, 4: 30.0}).trees
    for edge in tree.edges:
        dated = 3 not in (edge.parent, edge.child)
        assert ("metadata: created before" in edge.evidence) == dated
        if dated:
            assert edge.evidence["metadata: created before"] == 1.0
    (copy,) = [edge for edge in tree.edges if edge.relation == "duplicate"]
    assert (copy.parent, copy.child, copy.decided) == (4, 2, True)


def test_dates_settle_what_weights_leave_open() -> None:
    rng = np.random.default_rng(6)
    parent = root(rng)
    # Two steps from a middle that is not there: nothing in the weights tells the two apart.
    pair = [{name: values + sign * 0.05 * rng.normal(size=values.shape) for name, values in parent.items()}
            for sign in (1, -1)]  # fmt: skip
    measures = replace(measured(pair), slope=np.full((len(LAYERS), 2, 2), np.nan, dtype=np.float32))
    measures = replace(measures, kurtosis=np.full((len(LAYERS), 2), 3.0), variance=np.ones((len(LAYERS), 2)))
    measures = replace(measures, squared_norm=np.ones((len(LAYERS), 2)) * measures.squared_norm.mean())
    for older in (0, 1):
        (tree,) = heritage(measures, Parameters(), {older: 1.0, 1 - older: 2.0}).trees
        assert tree.root == older
        assert tree.root_confidence > 0.5
    (undated,) = heritage(measures, Parameters()).trees
    assert undated.root_confidence == pytest.approx(0.5)


def test_the_method_of_the_paper_gives_its_trees_in_the_same_form() -> None:
    models, _ = family(np.random.default_rng(7), [4, 3])
    models.append(models[5])
    found = heritage(measured(models), Parameters(method="mother"))
    assert [set(tree.members) for tree in found.trees] == [{0, 1, 2, 3}, {4, 5, 6, 7}]
    assert all(len(tree.edges) == len(tree.members) - 1 for tree in found.trees)
    assert found.duplicates == ((5, 7),)
    assert {edge.decided for tree in found.trees for edge in tree.edges} == {True}


def test_an_unknown_method_is_refused() -> None:
    models, _ = family(np.random.default_rng(8), [2])
    with pytest.raises(ValueError, match="unknown method 'best'"):
        heritage(measured(models), Parameters(method="best"))


def test_parameters_are_stored_where_they_matter() -> None:
    ours = {"method", "threshold", "decide", "decide_direction", "merges", "whole", "piece"}
    assert set(Parameters().relevant()) == ours
    assert set(Parameters(method="mother").relevant()) == {"method", "threshold", "metric", "c", "trees"}
