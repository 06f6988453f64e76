"""The paper's method against a slow and literal rendering of its equations, from the tensors on."""

from __future__ import annotations

import math
from dataclasses import replace

import builders
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lineage.family import FamilyMeasures, Layer, LayerKind
from lineage.mother import (
    Metric,
    fine_tune_distance,
    kurtosis_order,
    kurtosis_sum,
    low_rank_distance,
    objective,
    recover,
    stage_of_edges,
)

Model = dict[str, NDArray[np.float64]]

LAYERS = (
    Layer("embed", (10, 6), LayerKind.TRUNK),
    Layer("conv", (4, 3, 2, 2), LayerKind.TRUNK),
    Layer("dense", (8, 6), LayerKind.TRUNK),
    Layer("bias", (8,), LayerKind.VECTOR),
    Layer("head", (6, 3), LayerKind.HEAD),
    Layer("steps", (2,), LayerKind.BUFFER),
)


def measured(models: list[Model], layers: tuple[Layer, ...] = LAYERS) -> FamilyMeasures:
    return builders.measured(models, layers)


def family(rng: np.random.Generator, trees: int, members: int, kind: Metric = Metric.FINE_TUNE) -> list[Model]:
    """Random trees of random models, with a tree's members next to one another and the root first."""
    models: list[Model] = []
    for _ in range(trees):
        start = len(models)
        models.append({layer.name: rng.normal(size=layer.shape) for layer in LAYERS})
        for _ in range(members - 1):
            child = dict(models[int(rng.integers(start, len(models)))])
            child["head"], child["steps"] = rng.normal(size=(6, 3)), rng.normal(size=2)
            if kind is Metric.FINE_TUNE:
                for name in ("embed", "conv", "dense", "bias"):
                    child[name] = child[name] + 0.1 * rng.normal(size=child[name].shape)
            else:
                rank = int(rng.integers(1, 3))
                child["dense"] = child["dense"] + 0.1 * rng.normal(size=(8, rank)) @ rng.normal(size=(rank, 6))
            models.append(child)
    return models


def literal_objective(models: list[Model], kind: Metric, stage: list[bool], c: float) -> list[list[float]]:
    """Equations 1 to 6, one number at a time, in float64."""
    n = len(models)
    distance = [[0.0] * n for _ in range(n)]
    scores = []
    for u in models:
        total = 0.0
        for name in ["embed", "dense"] if kind is Metric.FINE_TUNE else ["dense"]:
            values = [float(x) for x in u[name].ravel()]
            mean = math.fsum(values) / len(values)
            variance = math.fsum((x - mean) ** 2 for x in values) / len(values)
            total += math.fsum((x - mean) ** 4 for x in values) / len(values) / variance**2
        scores.append(total)
    for i, u in enumerate(models):
        for j, v in enumerate(models):
            if kind is Metric.FINE_TUNE:
                lengths = [
                    math.sqrt(math.fsum(float(x) ** 2 for x in (u[name] - v[name]).ravel()))
                    for name in ("embed", "conv", "dense", "bias")
                ]
                distance[i][j] = math.fsum(lengths) / len(lengths)
            else:
                distance[i][j] = sum(1.0 for s in np.linalg.svd(u["dense"] - v["dense"])[1] if s > 1e-9)
    penalty = c * math.fsum(math.fsum(row) for row in distance) / n**2
    matrix = [[math.inf] * n for _ in range(n)]
    for i in range(n):
        for j in range(n):
            if i != j:
                k = 1 if scores[i] < scores[j] else 0
                t = 1 if stage[j] else 0
                matrix[i][j] = distance[i][j] + penalty * (k ^ t)
    return matrix


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    members=st.integers(2, 7),
    kind=st.sampled_from(Metric),
    c=st.sampled_from([0.0, 0.01, 0.3, 2.0]),
)
def test_equations_agree_with_a_literal_rendering_and_trees_are_the_best_by_it(
    seed: int, members: int, kind: Metric, c: float
) -> None:
    rng = np.random.default_rng(seed)
    models = family(rng, 1, members, kind)
    stage = [bool(rng.integers(2)) for _ in models]
    literal = np.array(literal_objective(models, kind, stage, c))
    measures = measured(models)
    (tree,) = recover(measures, metric=kind, trees=1, generalisation=stage, c=c)

    squared = measures.squared_distance
    if kind is Metric.FINE_TUNE:
        distance, scores = fine_tune_distance(squared[[0, 1, 2, 3]]), kurtosis_sum(measures.kurtosis[[0, 2]])
    else:
        rank = np.where(squared[[2]] > 0, measures.rank[[2]], 0)
        distance, scores = low_rank_distance(rank, measures.full_rank[[2]]), kurtosis_sum(measures.kurtosis[[2]])
    ours = objective(distance, kurtosis_order(scores), stage_of_edges(np.array(stage)), c)
    np.testing.assert_allclose(ours, literal, rtol=1e-9, atol=0)
    np.testing.assert_allclose(tree.kurtosis, scores, rtol=1e-12)

    assert tree.arborescence.cost == pytest.approx(math.fsum(literal[u, v] for u, v in tree.edges), rel=1e-9)
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_weighted_edges_from((i, j, literal[i, j]) for i in range(members) for j in range(members) if i != j)
    best = nx.minimum_spanning_arborescence(graph).size("weight")
    assert tree.arborescence.cost == pytest.approx(best, rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), trees=st.integers(1, 3), told=st.booleans())
def test_the_order_of_members_does_not_matter(seed: int, trees: int, told: bool) -> None:
    rng = np.random.default_rng(seed)
    models = family(rng, trees, 5)
    order = rng.permutation(len(models))
    stage = rng.integers(2, size=len(models)).astype(bool)
    number = trees if told else None
    straight = recover(measured(models), trees=number, generalisation=stage)
    permuted = recover(measured([models[i] for i in order]), trees=number, generalisation=stage[order])
    assert {(order[u], order[v]) for tree in permuted for u, v in tree.edges} == {e for t in straight for e in t.edges}
    assert {int(order[tree.root]) for tree in permuted} == {tree.root for tree in straight}
    assert {tuple(sorted(order[list(t.members)].tolist())) for t in permuted} == {t.members for t in straight}


@pytest.mark.parametrize("number", [3, None])
def test_unrelated_trees_are_told_apart_with_and_without_their_number(number: int | None) -> None:
    measures = measured(family(np.random.default_rng(0), 3, 6))
    assert [tree.members for tree in recover(measures, trees=number)] == [
        tuple(range(start, start + 6)) for start in (0, 6, 12)
    ]


def test_a_stage_belongs_to_the_child_and_turns_the_penalty_round() -> None:
    distance = np.array([[0.0, 2.0], [2.0, 0.0]])
    order = kurtosis_order(np.array([4.0, 3.0]))
    assert order.tolist() == [[False, False], [True, False]]
    for stage, expected in (
        ([False, False], [2.0, 2.3]),  # fine-tuned: the lower kurtosis is no parent
        ([True, True], [2.3, 2.0]),  # pre-trained: the higher is none
        ([True, False], [2.0, 2.0]),
        ([False, True], [2.3, 2.3]),
    ):
        matrix = objective(distance, order, stage_of_edges(np.array(stage)))
        assert [matrix[0, 1], matrix[1, 0]] == pytest.approx(expected)  # lambda = .3 * (2 + 2) / 4
        assert np.isinf(np.diag(matrix)).all()


def test_roots_that_tie_are_settled_by_kurtosis() -> None:
    models = family(np.random.default_rng(0), 1, 3)
    squared = np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 1.0], [4.0, 1.0, 0.0]])  # a chain 0 - 1 - 2
    measures = replace(measured(models), squared_distance=np.broadcast_to(squared, (len(LAYERS), 3, 3)))
    for ends, root in ((4.0, 5.0), 2), ((5.0, 4.0), 0):
        kurtosis = np.broadcast_to([ends[0], 3.0, ends[1]], (len(LAYERS), 3))  # either end is against one order
        (tree,) = recover(replace(measures, kurtosis=kurtosis), trees=1)
        assert tree.arborescence.cheapest == (0, 2)
        assert tree.root == root


def test_generalisation_reverses_a_pair() -> None:
    measures = measured(family(np.random.default_rng(0), 1, 2))
    (fine_tuned,) = recover(measures)
    (pre_trained,) = recover(measures, generalisation=[True, True])
    assert fine_tuned.root == int(measures.kurtosis[[0, 2]].sum(axis=0).argmax())
    assert pre_trained.edges == tuple((child, parent) for parent, child in fine_tuned.edges)


def test_a_rank_that_was_not_measured_counts_as_full() -> None:
    rank = np.array([[[0, -1], [-1, 0]], [[0, 2], [2, 0]]], dtype=np.int32)
    assert low_rank_distance(rank, np.array([5, 7])).tolist() == [[0, 5], [5, 0]]
    assert low_rank_distance(rank[:0], np.array([], dtype=np.int64)).tolist() == [[0, 0], [0, 0]]


def test_layers_that_some_lack_are_left_out_of_their_mean_and_of_all_kurtosis() -> None:
    models = family(np.random.default_rng(1), 1, 4)
    del models[2]["conv"], models[3]["dense"]
    measures = measured(models)
    distance = fine_tune_distance(measures.squared_distance[:4])
    assert distance[0, 2] == pytest.approx(np.sqrt(measures.squared_distance[[0, 2, 3], 0, 2]).mean())
    assert distance[2, 3] == pytest.approx(np.sqrt(measures.squared_distance[[0, 3], 2, 3]).mean())
    (tree,) = recover(measures)
    np.testing.assert_array_equal(tree.kurtosis, measures.kurtosis[0])


@pytest.mark.parametrize("metric", Metric)
def test_one_member_is_a_tree_of_its_own(metric: Metric) -> None:
    (tree,) = recover(measured(family(np.random.default_rng(2), 1, 1)), metric=metric)
    assert (tree.members, tree.root, tree.edges) == ((0,), 0, ())


def test_exact_copies_are_joined_at_no_cost() -> None:
    models = family(np.random.default_rng(3), 1, 2)
    (tree,) = recover(measured([*models, models[1]]))
    assert len(tree.edges) == 2
    assert tree.arborescence.cost == pytest.approx(fine_tune_distance(measured(models).squared_distance[:4])[0, 1])


def test_a_network_without_dense_layers_is_scored_by_its_trunk() -> None:
    layers = tuple(layer for layer in LAYERS if layer.name in ("conv", "bias"))
    measures = measured(family(np.random.default_rng(4), 1, 3), layers)
    (tree,) = recover(measures)
    np.testing.assert_array_equal(tree.kurtosis, measures.kurtosis[0])


def test_stages_and_numbers_that_do_not_fit_are_refused() -> None:
    measures = measured(family(np.random.default_rng(5), 1, 3))
    with pytest.raises(ValueError, match="as many stages"):
        recover(measures, generalisation=[True])
    with pytest.raises(ValueError, match="4 clusters"):
        recover(measures, trees=4)


def test_members_may_have_any_ids() -> None:
    measures = measured(family(np.random.default_rng(6), 1, 3))
    assert recover(replace(measures, members=(5, 7, 90)))[0].edges == recover(measures)[0].edges
