"""Spanning trees, rooted orders and replacements of large families: equal to what brute force gives."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lineage.preorder import preorder
from lineage.replacement import dense_replacements
from lineage.skeleton import spanning_tree
from lineage.span import dense_tree, parts, rectangle_tree, sparse_tree
from lineage.walk import sides

SEEDS = st.integers(0, 2**32 - 1)


def costs(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    drawn = np.triu(rng.random((size, size)), 1)
    return drawn + drawn.T


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, size=st.integers(1, 25))
def test_the_dense_tree_is_the_sorted_one(seed: int, size: int) -> None:
    cost = costs(np.random.default_rng(seed), size)
    assert tuple(map(tuple, dense_tree(cost).tolist())) == spanning_tree(cost)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, size=st.integers(1, 25), kinds=st.integers(1, 4))
def test_trees_of_ties_and_of_separate_parts_cost_the_least(seed: int, size: int, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    cost = costs(rng, size).round(1)
    kind = rng.integers(kinds, size=size)
    cost[kind[:, None] != kind] = np.inf
    i, j = np.triu_indices(size, 1)
    pairs = np.column_stack([i, j])
    allowed = np.isfinite(cost[i, j])
    graph: nx.Graph[int] = nx.Graph()
    graph.add_nodes_from(range(size))
    graph.add_weighted_edges_from(zip(i[allowed], j[allowed], cost[i, j][allowed], strict=True))
    least = sum(data["weight"] for _, _, data in nx.minimum_spanning_edges(graph))
    dense = dense_tree(cost)
    sparse = pairs[allowed][sparse_tree(size, pairs[allowed], cost[i, j][allowed])]
    for edges in (dense, sparse):
        assert len(edges) == size - len(set(kind.tolist()))
        assert cost[edges[:, 0], edges[:, 1]].sum() == pytest.approx(least)
        label = parts(size, edges)
        assert (np.equal.outer(label, label) == np.equal.outer(kind, kind)).all()
        assert np.unique(label, return_index=True)[1].tolist() == sorted(
            np.unique(label, return_index=True)[1].tolist()
        )


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, size=st.integers(2, 20))
def test_candidates_may_be_named_twice_and_either_way_round(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    cost = costs(rng, size)
    i, j = np.triu_indices(size, 1)
    pairs = np.concatenate([np.column_stack([i, j]), np.column_stack([j, i]), np.column_stack([i, i])])
    price = np.concatenate([cost[i, j], cost[i, j], -np.ones(len(i))])
    order = rng.permutation(len(pairs))
    chosen = pairs[order][sparse_tree(size, pairs[order], price[order])]
    assert tuple(sorted(map(tuple, np.sort(chosen, axis=1).tolist()))) == spanning_tree(cost)


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, size=st.integers(2, 20), rows=st.integers(1, 8), share=st.floats(0, 1))
def test_the_tree_of_a_rectangle_is_that_of_its_pairs(seed: int, size: int, rows: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    one, other = np.sort(rng.permutation(size)[:rows]), np.sort(rng.permutation(size)[: rng.integers(size) + 1])
    cost = costs(rng, size).astype(np.float32)[np.ix_(one, other)]
    cost[(one[:, None] == other) | (rng.random(cost.shape) > share)] = np.inf
    row, column = rectangle_tree(cost, one, other, size)
    i, j = np.nonzero(np.isfinite(cost))
    pairs = np.column_stack([one[i], other[j]])
    expected = pairs[sparse_tree(size, pairs, cost[i, j])]
    found = np.sort(np.column_stack([one[row], other[column]]), axis=1)
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, np.sort(expected, axis=1).tolist()))


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, size=st.integers(1, 25), strangers=st.integers(0, 3))
def test_those_below_a_member_are_a_stretch_of_the_order(seed: int, size: int, strangers: int) -> None:
    rng = np.random.default_rng(seed)
    edges = np.array([(rng.integers(k), k) for k in range(1, size)], dtype=np.intp).reshape(-1, 2)
    name = rng.permutation(size + strangers)[:size]
    tree = preorder(size + strangers, name[edges], int(name[rng.integers(size)]))
    assert sorted(tree.order.tolist()) == sorted(name.tolist())
    assert (tree.place >= 0).sum() == size
    values = rng.random(size)
    below, above = tree.below(values), tree.above(values)
    for place in range(size):
        held = list(range(place, place + int(tree.size[place])))
        assert below[place] == pytest.approx(values[held].sum())
        inside = [one for one in range(size) if tree.parent[one] in held]
        assert set(inside) <= set(held)
        way = [place]
        while way[-1] > 0:
            way.append(int(tree.parent[way[-1]]))
        assert above[place] == pytest.approx(values[way].sum())
    joined = {frozenset((int(tree.order[k]), int(tree.order[tree.parent[k]]))) for k in range(1, size)}
    assert joined == {frozenset(edge) for edge in name[edges].tolist()}


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, size=st.integers(2, 25), share=st.floats(0, 1))
def test_replacements_are_the_cheapest_other_pairs_across_each_cut(seed: int, size: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    cost = costs(rng, size)
    edges = dense_tree(cost)
    kept = np.triu(rng.random((size, size)) < share, 1)
    kept[edges[:, 0], edges[:, 1]] = True
    sparse = np.where(kept | kept.T, cost, np.inf)
    tree = preorder(size, edges, int(rng.integers(size)))
    across = sides(list(range(size)), list(map(tuple, edges.tolist())))
    whole, few = dense_replacements(cost, tree), dense_replacements(sparse, tree)
    for (a, b), side in zip(edges.tolist(), across, strict=True):
        place = max(int(tree.place[a]), int(tree.place[b]))
        for matrix, found in ((cost, whole), (sparse, few)):
            others = matrix.copy()
            others[a, b] = others[b, a] = np.inf
            assert found[place] == others[np.ix_(side, ~side)].min()
    assert whole[0] == few[0] == np.inf


def test_a_tree_within_a_family_is_replaced_from_its_own_members_only() -> None:
    cost = costs(np.random.default_rng(0), 12)
    inside = np.array([7, 2, 9, 4, 11])
    local = cost[np.ix_(inside, inside)]
    edges = dense_tree(local)
    here = dense_replacements(local, preorder(5, edges, 0))
    there = dense_replacements(cost, preorder(12, inside[edges], 7))
    assert sorted(here.tolist()) == sorted(there.tolist())
