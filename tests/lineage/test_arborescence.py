"""The arborescence against networkx, against all trees of tiny graphs, and against its own promises."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lineage.arborescence import Arborescence, NoArborescence, minimum_arborescence

Draw = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]

COSTS: dict[str, Draw] = {
    "continuous": lambda rng, shape: rng.normal(size=shape),
    "positive": lambda rng, shape: rng.uniform(0, 10, size=shape),
    "ties": lambda rng, shape: rng.integers(-2, 3, size=shape).astype(float),
    "zeros and ones": lambda rng, shape: rng.integers(0, 2, size=shape).astype(float),
    "wide": lambda rng, shape: 10.0 ** rng.uniform(-6, 6, size=shape),
}


def graph(rng: np.random.Generator, nodes: int, kind: str, density: float) -> NDArray[np.float64]:
    cost = COSTS[kind](rng, (nodes, nodes))
    cost[rng.random((nodes, nodes)) > density] = np.inf
    np.fill_diagonal(cost, np.inf)
    return cost


def cost_by_networkx(cost: NDArray[np.float64], root: int | None = None) -> float:
    """Total cost, or inf where there is no arborescence.

    networkx 3.6 minimum_spanning_arborescence overlooks trees in sparse graphs, as it adds too little to weights: two
    good edges may then outweigh three. Its maximum branching is right if each edge is worth more than all differences.
    """
    edges = [(int(u), int(v)) for u, v in np.argwhere(np.isfinite(cost)) if v not in (u, root)]
    if not edges:
        return math.inf
    costs = [cost[edge] for edge in edges]
    worth = len(cost) * (max(costs) - min(costs)) + max(costs) + 1
    digraph: nx.DiGraph[int] = nx.DiGraph()
    digraph.add_nodes_from(range(len(cost)))
    digraph.add_weighted_edges_from((u, v, worth - cost[u, v]) for u, v in edges)
    tree = nx.maximum_branching(digraph)
    return math.fsum(cost[edge] for edge in tree.edges) if nx.is_arborescence(tree) else math.inf


def is_spanning(tree: Arborescence) -> bool:
    digraph = nx.DiGraph(list(tree.edges))
    digraph.add_nodes_from(range(len(tree.parent)))
    return nx.is_arborescence(digraph) and digraph.in_degree(tree.root) == 0 and tree.parent[tree.root] == -1


def agrees_with_networkx(cost: NDArray[np.float64]) -> None:
    nodes = len(cost)
    best = cost_by_networkx(cost)
    prices = np.array([cost_by_networkx(cost, root) for root in range(nodes)])
    if math.isinf(best):
        with pytest.raises(NoArborescence):
            minimum_arborescence(cost)
        return
    scale = {"rtol": 1e-9, "atol": 1e-9 * np.abs(cost[np.isfinite(cost)]).max()}
    tree = minimum_arborescence(cost)
    assert is_spanning(tree)
    np.testing.assert_allclose(tree.cost, best, **scale)
    np.testing.assert_allclose(tree.prices, prices, **scale)
    for root in range(nodes):
        if math.isinf(prices[root]):
            with pytest.raises(NoArborescence):
                minimum_arborescence(cost, root)
        else:
            rooted = minimum_arborescence(cost, root)
            assert rooted.root == root
            assert is_spanning(rooted)
            np.testing.assert_allclose(rooted.cost, prices[root], **scale)


@pytest.mark.parametrize("kind", COSTS)
def test_agrees_with_networkx_for_every_root_of_a_hundred_random_graphs_of_each_kind(kind: str) -> None:
    rng = np.random.default_rng(list(COSTS).index(kind))
    for density in (1.0, 0.7, 0.5, 0.3):
        for _ in range(25):
            agrees_with_networkx(graph(rng, int(rng.integers(2, 8)), kind, density))


@pytest.mark.parametrize("kind", ["continuous", "ties"])
def test_agrees_with_networkx_on_larger_graphs(kind: str) -> None:
    rng = np.random.default_rng(11)
    for nodes, density in ((25, 1.0), (40, 0.1)):
        cost = graph(rng, nodes, kind, density)
        cost[np.roll(np.arange(nodes), 1), np.arange(nodes)] = 3.0  # a cycle through all: any node can be the root
        tree = minimum_arborescence(cost)
        assert is_spanning(tree)
        assert tree.cost == pytest.approx(cost_by_networkx(cost), abs=1e-9)
        for root in (0, nodes // 2):
            assert tree.prices[root] == pytest.approx(cost_by_networkx(cost, root), abs=1e-9)


def test_nested_cycles_are_expanded_to_the_best_of_all_trees() -> None:
    rng = np.random.default_rng(4)
    for _ in range(50):
        cost = rng.uniform(5, 6, size=(4, 4))
        cost[[0, 1], [1, 0]] = rng.uniform(0, 1, size=2)  # a cycle
        cost[[1, 2], [2, 0]] = rng.uniform(1, 2, size=2)  # around it another
        best = math.inf
        for parents in itertools.product(range(4), repeat=3):
            edges = [(parent, child) for parent, child in zip(parents, (1, 2, 3), strict=True) if parent != child]
            if len(edges) == 3 and nx.is_arborescence(nx.DiGraph(edges)):
                best = min(best, sum(cost[edge] for edge in edges))
        assert minimum_arborescence(cost, 0).cost == pytest.approx(best, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), nodes=st.integers(1, 30), shift=st.floats(-100, 100))
def test_renumbering_nodes_renumbers_the_tree_and_shifting_costs_leaves_it(seed: int, nodes: int, shift: float) -> None:
    rng = np.random.default_rng(seed)
    cost = rng.normal(size=(nodes, nodes))
    order = rng.permutation(nodes)
    tree = minimum_arborescence(cost)
    renumbered = minimum_arborescence(cost[np.ix_(order, order)])
    assert {(order[u], order[v]) for u, v in renumbered.edges} == set(tree.edges)
    np.testing.assert_allclose(renumbered.prices, tree.prices[order], atol=1e-10)
    assert set(minimum_arborescence(cost + shift).edges) == set(tree.edges)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), nodes=st.integers(2, 30))
def test_the_cheapest_root_is_chosen_and_the_gap_is_to_the_second(seed: int, nodes: int) -> None:
    tree = minimum_arborescence(np.random.default_rng(seed).normal(size=(nodes, nodes)))
    first, second = np.sort(tree.prices)[:2]
    assert tree.root == tree.prices.argmin()
    assert tree.cost == pytest.approx(first, abs=1e-10)
    assert tree.gap == pytest.approx(second - first, abs=1e-10)


def test_a_single_node_is_its_own_tree() -> None:
    tree = minimum_arborescence(np.array([[np.nan]]))
    assert (tree.root, tree.parent.tolist(), tree.cost, tree.prices.tolist()) == (0, [-1], 0.0, [0.0])
    assert tree.edges == ()
    assert tree.gap == math.inf


def test_of_two_nodes_the_cheaper_edge_is_taken() -> None:
    cost = np.array([[np.inf, 3.0], [1.0, np.inf]])
    tree = minimum_arborescence(cost)
    assert (tree.root, tree.edges, tree.gap) == (1, ((1, 0),), 2.0)
    assert minimum_arborescence(cost, 0).gap == -2.0


def test_equal_roots_and_edges_go_to_the_lowest_index_whatever_rounding_says() -> None:
    tree = minimum_arborescence(np.ones((5, 5)))
    assert tree.root == 0
    assert tree.cheapest == (0, 1, 2, 3, 4)
    assert tree.gap == 0.0
    symmetric = np.abs(np.subtract.outer(np.arange(9), np.arange(9))) * 0.1
    assert minimum_arborescence(symmetric).root == 0


def test_the_diagonal_is_not_read() -> None:
    cost = np.random.default_rng(0).normal(size=(6, 6))
    other = cost.copy()
    np.fill_diagonal(other, -100.0)
    assert minimum_arborescence(cost).edges == minimum_arborescence(other).edges


def test_the_costs_given_are_left_as_they_were() -> None:
    cost = np.random.default_rng(0).normal(size=(6, 6))
    kept = cost.copy()
    minimum_arborescence(cost)
    np.testing.assert_array_equal(cost, kept)


def test_a_graph_in_two_parts_has_no_arborescence() -> None:
    cost = np.full((4, 4), np.inf)
    cost[0, 1] = cost[1, 0] = cost[2, 3] = 1.0
    with pytest.raises(NoArborescence, match="two parts"):
        minimum_arborescence(cost)


def test_a_root_that_does_not_reach_all_is_refused_by_name() -> None:
    with pytest.raises(NoArborescence, match="node 1"):
        minimum_arborescence(np.array([[np.inf, 1.0], [np.inf, np.inf]]), 1)


@pytest.mark.parametrize(
    ("cost", "root", "words"),
    [
        (np.array([[0.0, np.nan], [1.0, 0.0]]), None, "NaN"),
        (np.array([[0.0, -np.inf], [1.0, 0.0]]), None, "minus infinity"),
        (np.zeros((2, 3)), None, "square"),
        (np.zeros((0, 0)), None, "one node or more"),
        (np.zeros((2, 2)), 2, "root 2"),
        (np.zeros((2, 2)), -1, "root -1"),
    ],
)
def test_misuse_is_a_value_error_that_says_what_is_wrong(
    cost: NDArray[np.float64], root: int | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        minimum_arborescence(cost, root)


def test_a_thousand_nodes_are_solved_and_all_their_roots_priced() -> None:
    cost = np.random.default_rng(0).random((1000, 1000))
    tree = minimum_arborescence(cost)
    assert is_spanning(tree)
    other = int(np.argsort(tree.prices)[1])
    assert minimum_arborescence(cost, other).cost == pytest.approx(tree.cost + tree.gap)
