"""Walks over random trees against networkx."""

from __future__ import annotations

import networkx as nx
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.walk import outward, sides


def random_tree(seed: int, members: int) -> tuple[list[int], list[tuple[int, int]]]:
    """Names that are no positions, and edges with their ends in any order."""
    rng = np.random.default_rng(seed)
    names = [int(name) for name in rng.choice(1_000, size=members, replace=False)]
    edges = [(names[i], names[int(rng.integers(i))]) for i in range(1, members)]
    edges = [edge if rng.random() < 0.5 else edge[::-1] for edge in edges]
    rng.shuffle(edges)
    return names, [(int(a), int(b)) for a, b in edges]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), members=st.integers(1, 20))
def test_a_walk_points_every_edge_away_from_the_root_nearest_first(seed: int, members: int) -> None:
    names, edges = random_tree(seed, members)
    graph = nx.Graph(edges)
    graph.add_nodes_from(names)
    for root in names:
        found = outward(root, edges)
        assert {frozenset(edge) for edge in found} == {frozenset(edge) for edge in edges}
        depth = nx.single_source_shortest_path_length(graph, root)
        assert all(depth[parent] + 1 == depth[child] for parent, child in found)
        assert [depth[child] for _, child in found] == sorted(depth[child] for _, child in found)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), members=st.integers(1, 20))
def test_the_sides_of_an_edge_are_the_components_without_it(seed: int, members: int) -> None:
    names, edges = random_tree(seed, members)
    found = sides(names, edges)
    assert found.shape == (members - 1, members)
    for row, (a, b) in zip(found, edges, strict=True):
        graph = nx.Graph(edges)
        graph.remove_edge(a, b)
        assert {name for name, on in zip(names, row, strict=True) if on} == nx.node_connected_component(graph, a)


def test_a_walk_stays_in_the_tree_of_its_root() -> None:
    assert outward(5, [(1, 2), (5, 4), (3, 4)]) == [(5, 4), (4, 3)]
    assert outward(9, [(1, 2)]) == []
