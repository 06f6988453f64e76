"""Skeletons of trees that were made here must be recovered exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import builders
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lineage.cluster import clusters
from lineage.family import FamilyMeasures, Layer, LayerKind
from lineage.skeleton import rank_costs, skeleton, spanning_tree

Model = dict[str, NDArray[np.float64]]
Pairs = set[tuple[int, int]]

MATRICES = ("q", "k", "v", "up")
LAYERS = (
    Layer("patch", (3, 16), LayerKind.TRUNK),
    Layer("row", (1, 16), LayerKind.TRUNK),
    *(Layer(name, (32, 32), LayerKind.TRUNK) for name in MATRICES),
    Layer("bias", (32,), LayerKind.VECTOR),
)
EXACT = 1e-9
# What a coarse dtype rounds to. A step must not be many times the rounding here: with 4,000 parameters the chance
# correlation of the two would hide on which side of the rounding a child lies.
GRID = 2.0**-4


def measured(models: list[Model], grids: list[float] | None = None) -> FamilyMeasures:
    return builders.measured(models, LAYERS, grids=grids)


def root(rng: np.random.Generator) -> Model:
    return {layer.name: rng.normal(size=layer.shape) for layer in LAYERS}


def full(rng: np.random.Generator, parent: Model, names: tuple[str, ...] | None = None) -> Model:
    """A full fine-tune, of some layers only if names are given."""
    step = rng.uniform(0.05, 0.15)
    moved = parent if names is None else names
    return {**parent, **{name: parent[name] + step * rng.normal(size=parent[name].shape) for name in moved}}


def low(rng: np.random.Generator, parent: Model, largest: float = 0.3) -> Model:
    """A low-rank fine-tune of three of the four large matrices."""
    step, rank = rng.uniform(0.02, largest), int(rng.integers(1, 4))
    deltas = {name: step * rng.normal(size=(32, rank)) @ rng.normal(size=(rank, 32)) for name in MATRICES[:3]}
    return {**parent, **{name: parent[name] + delta for name, delta in deltas.items()}}


def small(rng: np.random.Generator, parent: Model) -> Model:
    return low(rng, parent, 0.08)


def rounded(model: Model) -> Model:
    return {name: np.round(tensor / GRID) * GRID for name, tensor in model.items()}


def grown(
    rng: np.random.Generator, members: int, step: Callable[[np.random.Generator, Model], Model]
) -> tuple[list[Model], Pairs]:
    """A random tree whose members are shuffled, and its edges."""
    models, edges = [root(rng)], []
    for i in range(1, members):
        parent = int(rng.integers(i))
        models.append(step(rng, models[parent]))
        edges.append((parent, i))
    place = rng.permutation(members)
    shuffled = [models[i] for i in np.argsort(place)]
    return shuffled, {(min(place[u], place[v]), max(place[u], place[v])) for u, v in edges}


def found(models: list[Model], grids: list[float] | None = None) -> tuple[Pairs, bool]:
    tree = skeleton(measured(models, grids), range(len(models)))
    return set(tree.edges), tree.used_ranks


def either(rng: np.random.Generator, parent: Model) -> Model:
    return (full, low)[int(rng.integers(2))](rng, parent)


def partly(rng: np.random.Generator, parent: Model) -> Model:
    """Any kind of fine-tune: all layers, the last one, some, the small ones, or low-rank."""
    choice = int(rng.integers(5))
    return (
        low(rng, parent)
        if choice == 0
        else full(rng, parent, (None, ("up",), ("q", "v"), ("patch", "row", "k"), None)[choice])
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("step", [full, low, either, partly])
def test_random_trees_are_recovered_exactly(seed: int, step: Callable[[np.random.Generator, Model], Model]) -> None:
    models, edges = grown(np.random.default_rng(seed), 12, step)
    assert found(models)[0] == edges


def test_ranks_are_used_for_low_rank_children_and_not_for_full_fine_tunes() -> None:
    rng = np.random.default_rng(0)
    assert found(grown(rng, 8, low)[0])[1]
    assert not found(grown(rng, 8, full)[0])[1]


def test_one_low_rank_child_among_many_full_ones_is_left_to_the_distance() -> None:
    rng = np.random.default_rng(0)
    parent = root(rng)
    models = [parent, *(full(rng, parent) for _ in range(10)), low(rng, parent)]
    assert found(models) == ({(0, i) for i in range(1, 12)}, False)


@pytest.mark.parametrize("seed", range(4))
def test_ranks_find_the_parent_of_siblings_whose_deltas_correlate(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = root(rng)
    common = {name: rng.normal(size=(2, 32, 2)) for name in MATRICES}
    siblings = []
    for _ in range(5):
        deltas = {
            name: (left + 0.5 * rng.normal(size=left.shape)) @ (right + 0.5 * rng.normal(size=right.shape)).T
            for name, (left, right) in common.items()
        }
        siblings.append({**parent, **{name: parent[name] + 0.1 * delta for name, delta in deltas.items()}})
    models, edges = [parent, *siblings], {(0, i) for i in range(1, 6)}
    unmeasured = replace(measured(models), rank=np.full((len(LAYERS), 6, 6), -1, dtype=np.int32))
    assert set(skeleton(unmeasured, range(6)).edges) != edges
    assert found(models) == (edges, True)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("step", [full, small])
def test_a_cast_of_the_parent_does_not_steal_its_children(
    seed: int, step: Callable[[np.random.Generator, Model], Model]
) -> None:
    rng = np.random.default_rng(seed)
    parent = root(rng)
    models = [parent, *(step(rng, parent) for _ in range(4)), rounded(parent)]
    assert found(models, [0.0] * 5 + [GRID])[0] == {(0, i) for i in range(1, 6)}


@pytest.mark.parametrize("seed", range(4))
def test_a_cast_does_not_steal_children_whose_ranks_it_hides(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = root(rng)
    children = []
    for _ in range(4):
        scales = np.array([0.07, 0.004, 0.004])  # the last two singular values lie below the floor of the cast
        deltas = {name: rng.normal(size=(32, 3)) * scales @ rng.normal(size=(3, 32)) for name in MATRICES}
        children.append({**parent, **{name: parent[name] + delta for name, delta in deltas.items()}})
    models, grids = [parent, *children, rounded(parent)], [0.0] * 5 + [GRID]
    ranks = measured(models, grids).rank[2]
    assert (ranks[0, 1:5] == 3).all()
    assert (ranks[5, 1:5] == 1).all()
    assert found(models, grids) == ({(0, i) for i in range(1, 6)}, True)


@pytest.mark.parametrize("seed", range(4))
def test_children_of_a_cast_stay_with_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = root(rng)
    cast = rounded(parent)
    models = [parent, *(small(rng, parent) for _ in range(3)), cast, *(rounded(small(rng, cast)) for _ in range(3))]
    edges = {(0, 1), (0, 2), (0, 3), (0, 4), (4, 5), (4, 6), (4, 7)}
    assert found(models, [0.0] * 4 + [GRID] * 4)[0] == edges


@pytest.mark.parametrize("seed", range(4))
def test_half_frozen_children_in_a_coarse_dtype_are_not_each_others_for_their_equal_layers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = root(rng)
    halves = [rounded(full(rng, parent, ("q", "k"))) for _ in range(3)]  # v and up equal, and unlike the parent's
    models = [parent, *halves, *(low(rng, parent) for _ in range(4))]
    edges, used = found(models, [0.0, *[GRID] * 3, *[0.0] * 4])
    assert used
    assert edges == {(0, i) for i in range(1, 8)}


def test_equal_digests_are_equal_layers_even_if_the_distance_carries_rounding() -> None:
    rng = np.random.default_rng(1)
    parent = root(rng)
    models = [parent, *(low(rng, parent) for _ in range(3))]
    exact = measured(models)
    noisy = replace(exact, squared_distance=exact.squared_distance + 1e-18 * (1 - np.eye(4)), rank=exact.rank.copy())
    noisy.rank[noisy.rank == 0] = -1
    ours, theirs = rank_costs(noisy, range(4)), rank_costs(exact, range(4))
    assert ours is not None
    assert theirs is not None
    np.testing.assert_array_equal(ours, theirs)


def test_exact_copies_are_joined_first() -> None:
    rng = np.random.default_rng(2)
    parent = root(rng)
    children = [low(rng, parent) for _ in range(3)]
    edges, used = found([parent, *children, dict(children[1]), dict(children[1])])
    assert used
    assert {(0, 1), (0, 3)} < edges
    assert len(edges & {(2, 4), (2, 5), (4, 5)}) == 2


def test_members_without_some_layers_are_placed_by_those_they_have() -> None:
    rng = np.random.default_rng(3)
    models = [root(rng)]
    models += [full(rng, models[0]), full(rng, models[0])]
    models += [full(rng, models[1]), full(rng, models[2])]
    del models[3]["up"], models[4]["q"], models[4]["k"]
    edges = {(0, 1), (0, 2), (1, 3), (2, 4)}
    assert found(models)[0] == edges
    for name in MATRICES[:3]:
        del models[3][name]  # now too little is shared by all: pair by pair
    models[3]["up"] = models[1]["up"] + 0.1 * rng.normal(size=(32, 32))
    assert found(models)[0] == edges


@pytest.mark.parametrize("members", [1, 2])
def test_one_and_two_members_have_one_skeleton(members: int) -> None:
    models, edges = grown(np.random.default_rng(4), members, full)
    assert found(models)[0] == edges


def test_a_cluster_of_a_family_is_named_by_positions_in_the_family() -> None:
    rng = np.random.default_rng(5)
    parent, stranger = root(rng), root(rng)
    models = [full(rng, parent), stranger, parent, full(rng, parent)]
    tree = skeleton(measured(models), (0, 2, 3))
    assert (tree.members, tree.edges) == ((0, 2, 3), ((0, 2), (2, 3)))


def test_members_that_share_nothing_have_no_skeleton() -> None:
    rng = np.random.default_rng(6)
    with pytest.raises(ValueError, match="no tree joins all of the 2 members, which fall into 2 groups"):
        skeleton(measured([{"q": root(rng)["q"]}, {"k": root(rng)["k"]}]), (0, 1))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), nodes=st.integers(1, 15))
def test_spanning_trees_agree_with_networkx_where_costs_tie_or_are_zero(seed: int, nodes: int) -> None:
    rng = np.random.default_rng(seed)
    cost = np.triu(rng.integers(0, 4, size=(nodes, nodes)).astype(float), 1)
    cost += cost.T
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(nodes))
    graph.add_weighted_edges_from((i, j, cost[i, j]) for i in range(nodes) for j in range(i))
    tree = spanning_tree(cost)
    assert nx.is_tree(nx.Graph([*tree])) if nodes > 1 else tree == ()
    assert sum(cost[edge] for edge in tree) == nx.minimum_spanning_tree(graph).size("weight")
    assert list(tree) == sorted(tree)
    assert all(i < j for i, j in tree)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), nodes=st.integers(1, 15))
def test_renumbering_nodes_renumbers_the_spanning_tree(seed: int, nodes: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 3, size=(nodes, nodes)).astype(float), rng.normal(size=(nodes, nodes))
    first, second = np.maximum(first, first.T), second + second.T
    order = rng.permutation(nodes)
    mesh = np.ix_(order, order)
    renumbered = {tuple(sorted((int(order[i]), int(order[j])))) for i, j in spanning_tree(first[mesh], second[mesh])}
    assert renumbered == set(spanning_tree(first, second))


def test_later_costs_decide_only_between_equal_earlier_ones_and_index_between_equal_all() -> None:
    first = np.array([[0, 1, 1, 1], [1, 0, 2, 2], [1, 2, 0, 1], [1, 2, 1, 0]], dtype=float)
    second = np.array([[0, 9, 9, 3], [9, 0, 1, 1], [9, 1, 0, 4], [3, 1, 4, 0]], dtype=float)
    assert spanning_tree(first, second) == ((0, 1), (0, 3), (2, 3))
    assert spanning_tree(first) == ((0, 1), (0, 2), (0, 3))
    assert spanning_tree(np.zeros((3, 3))) == ((0, 1), (0, 2))


def test_heads_under_names_that_do_not_tell_are_known_by_their_being_strangers() -> None:
    rng = np.random.default_rng(5)
    layers = (Layer("0", (48, 48), LayerKind.TRUNK), Layer("2", (10, 48), LayerKind.TRUNK))
    parents = [-1, 0, 0, 0, 1, 1, 2, 3, -1]
    models: list[Model] = []
    for parent in parents:
        body = rng.normal(size=(48, 48)) if parent < 0 else models[parent]["0"] + rng.normal(0, 0.05, (48, 48))
        models.append({"0": body, "2": rng.normal(0, 3.0, (10, 48))})  # a new, loud head for every task
    measures = builders.measured(models, layers)
    assert clusters(measures) == (tuple(range(8)), (8,))
    found = skeleton(measures, range(8))
    assert found.edges == tuple(sorted((parent, child) for child, parent in enumerate(parents) if parent >= 0))
