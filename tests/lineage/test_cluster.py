"""Clusters and copies, on families built from small tensors."""

from __future__ import annotations

from typing import Any

import builders
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lineage.cluster import clusters, duplicates, linked_below, linked_into, relative_distance, trunk_sums
from lineage.family import FamilyMeasures, Layer, LayerKind

Model = dict[str, NDArray[np.floating[Any]]]

LAYERS = (
    Layer("a", (20, 10), LayerKind.TRUNK),
    Layer("b", (12, 5, 2), LayerKind.TRUNK),
    Layer("c", (10, 10), LayerKind.TRUNK),
    Layer("bias", (30,), LayerKind.VECTOR),
    Layer("table", (4,), LayerKind.BUFFER),
)


def measured(models: list[Model]) -> FamilyMeasures:
    return builders.measured(models, LAYERS, first_id=10)


def root(rng: np.random.Generator) -> Model:
    return {layer.name: rng.normal(size=layer.shape) for layer in LAYERS}


def child(rng: np.random.Generator, parent: Model, step: float = 0.2) -> Model:
    return {name: tensor + step * rng.normal(size=tensor.shape) for name, tensor in parent.items()}


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), trees=st.integers(1, 4))
def test_trees_are_found_without_their_number_in_any_order(seed: int, trees: int) -> None:
    rng = np.random.default_rng(seed)
    models: list[Model] = []
    label: list[int] = []
    for tree in range(trees):
        members = [root(rng)]
        for _ in range(int(rng.integers(0, 5))):
            members.append(child(rng, members[int(rng.integers(len(members)))]))
        models += members
        label += [tree] * len(members)
    order = rng.permutation(len(models))
    found = clusters(measured([models[i] for i in order]))
    assert sorted(sorted(order[list(cluster)].tolist()) for cluster in found) == [
        [i for i, tree in enumerate(label) if tree == number] for number in range(trees)
    ]
    assert list(found) == sorted(found)
    assert all(list(cluster) == sorted(cluster) for cluster in found)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(0.01, 100))
def test_relative_distance_is_symmetric_zero_on_the_diagonal_and_free_of_scale(seed: int, scale: float) -> None:
    rng = np.random.default_rng(seed)
    models = [root(rng), root(rng)]
    models += [child(rng, models[0]), {name: scale * tensor for name, tensor in models[1].items()}]
    distance = relative_distance(trunk_sums(measured(models)))
    np.testing.assert_array_equal(distance, distance.T)
    assert (np.diag(distance) == 0).all()
    scaled = [{name: scale * tensor for name, tensor in model.items()} for model in models]
    np.testing.assert_allclose(relative_distance(trunk_sums(measured(scaled))), distance, rtol=1e-9)


def test_relative_distance_is_over_trunk_layers_only() -> None:
    rng = np.random.default_rng(0)
    first, second = root(rng), root(rng)
    flat = [np.concatenate([model[name].ravel() for name in "abc"]) for model in (first, second)]
    expected = np.linalg.norm(flat[0] - flat[1]) / np.sqrt((flat[0] ** 2).sum() + (flat[1] ** 2).sum())
    assert relative_distance(trunk_sums(measured([first, second])))[0, 1] == pytest.approx(expected)
    assert expected == pytest.approx(1, abs=0.1)


def test_a_layer_that_few_parameters_lie_in_may_be_missing() -> None:
    rng = np.random.default_rng(0)
    parent = root(rng)
    models = [parent, child(rng, parent), child(rng, parent)]
    del models[2]["c"]
    sums = trunk_sums(measured(models))
    assert (sums.elements == 320).all()  # a and b, for the pairs that have c as well
    assert clusters(measured(models)) == ((0, 1, 2),)


def test_where_one_member_leaves_too_little_to_share_each_pair_is_measured_on_what_both_have() -> None:
    rng = np.random.default_rng(0)
    parent = root(rng)
    models = [parent, child(rng, parent), {name: tensor for name, tensor in child(rng, parent).items() if name == "c"}]
    sums = trunk_sums(measured(models))
    assert sums.elements.tolist() == [[420, 420, 100], [420, 420, 100], [100, 100, 100]]
    assert sums.squared_distance[0, 2] == pytest.approx(((parent["c"] - models[2]["c"]) ** 2).sum())
    assert sums.squared_norms[0, 2] == pytest.approx((parent["c"] ** 2).sum() + (models[2]["c"] ** 2).sum())
    assert clusters(measured(models)) == ((0, 1, 2),)
    assert (trunk_sums(measured(models), [0, 1]).elements == 420).all()


def test_members_without_a_common_layer_are_strangers() -> None:
    rng = np.random.default_rng(0)
    parent = root(rng)
    models: list[Model] = [{"a": parent["a"]}, {"b": parent["b"]}, {"a": parent["a"], "bias": parent["bias"]}, {}]
    distance = relative_distance(trunk_sums(measured(models)))
    assert distance[0, 1] == np.inf
    assert distance[0, 2] == 0
    assert clusters(measured(models)) == ((0, 2), (1,), (3,))


def test_networks_of_zeros_are_equal_and_far_from_all_others() -> None:
    zeros: Model = {layer.name: np.zeros(layer.shape) for layer in LAYERS}
    measures = measured([zeros, zeros, root(np.random.default_rng(0))])
    assert clusters(measures) == ((0, 1), (2,))


def test_a_single_member_is_a_cluster_and_no_duplicate() -> None:
    assert clusters(measured([root(np.random.default_rng(0))])) == ((0,),)
    assert linked_into(np.zeros((1, 1)), 1) == ((0,),)
    assert duplicates(measured([root(np.random.default_rng(0))])) == ()


def test_two_members_are_joined_strictly_below_the_threshold() -> None:
    distance = np.array([[0.0, 0.7], [0.7, 0.0]])
    assert linked_below(distance, 0.7) == ((0,), (1,))
    assert linked_below(distance, 0.71) == ((0, 1),)


def test_the_threshold_is_a_parameter() -> None:
    rng = np.random.default_rng(0)
    parent = root(rng)
    measures = measured([parent, child(rng, parent)])
    assert clusters(measures) == ((0, 1),)
    assert clusters(measures, 0.05) == ((0,), (1,))


def test_links_chain() -> None:
    line = np.abs(np.subtract.outer(np.arange(5.0), np.arange(5.0)))
    assert linked_below(line, 1.5) == ((0, 1, 2, 3, 4),)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), members=st.integers(2, 12))
def test_a_given_number_of_clusters_is_made_and_they_nest(seed: int, members: int) -> None:
    points = np.random.default_rng(seed).normal(size=(members, 2))
    distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
    coarser: list[set[int]] = [set(range(members))]
    for number in range(1, members + 1):
        found = [set(cluster) for cluster in linked_into(distance, number)]
        assert len(found) == number
        assert all(any(cluster <= whole for whole in coarser) for cluster in found)
        coarser = found


def test_members_that_cannot_be_compared_are_parted_first() -> None:
    distance = np.array([[0.0, 9.0, np.inf], [9.0, 0.0, np.inf], [np.inf, np.inf, 0.0]])
    assert linked_into(distance, 2) == ((0, 1), (2,))
    with pytest.raises(ValueError, match="3 members cannot form 4"):
        linked_into(distance, 4)


def test_duplicates_are_equal_in_every_layer_that_is_trained_and_in_what_tables_both_have() -> None:
    rng = np.random.default_rng(0)
    first, second = root(rng), root(rng)
    other_bias = {**first, "bias": first["bias"] + 1}
    other_table = {**second, "table": second["table"] + 1}
    without = {name: tensor for name, tensor in first.items() if name != "table"}
    lossy: Model = {name: tensor.astype(np.float32) for name, tensor in first.items()}
    models: list[Model] = [
        second,
        first,
        other_bias,
        dict(first),
        other_table,
        dict(second),
        without,
        lossy,
        dict(first),
        {},
        {},
    ]
    assert duplicates(measured(models)) == ((0, 5), (1, 3, 6, 8))


def test_a_head_that_is_tied_to_the_embeddings_may_be_written_once_or_twice() -> None:
    rng = np.random.default_rng(0)
    layers = (
        Layer("wte.weight", (8, 5), LayerKind.TRUNK),
        Layer("block.weight", (6, 6), LayerKind.TRUNK),
        Layer("lm_head.weight", (8, 5), LayerKind.HEAD),
    )
    once = {layer.name: rng.normal(size=layer.shape) for layer in layers[:2]}
    twice = {**once, "lm_head.weight": once["wte.weight"].copy()}
    untied = {**once, "lm_head.weight": rng.normal(size=(8, 5))}
    assert duplicates(builders.measured([untied, twice, once, dict(untied)], layers)) == ((0, 3), (1, 2))
