"""Siblings that drift alike are given back to their parent, and chains are left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lineage.drift import cosine, settle

Values = NDArray[np.float64]
SIZE = 20_000


def squared(models: list[Values]) -> Values:
    values = np.array(models)
    gram = values @ values.T
    own = np.diag(gram)
    return np.asarray(own[:, None] + own - 2 * gram)


def drifting(rng: np.random.Generator, parent: Values, steps: list[float], correlation: float) -> list[Values]:
    """Children whose differences from the parent correlate with one another."""
    common = rng.normal(size=SIZE)
    return [
        parent + step * (np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.normal(size=SIZE))
        for step in steps
    ]


@pytest.mark.parametrize("seed", range(3))
def test_children_that_a_sibling_of_a_short_step_has_stolen_go_back_to_their_parent(seed: int) -> None:
    rng = np.random.default_rng(seed)
    top = rng.normal(size=SIZE)
    models = [top, *drifting(rng, top, [0.03, 0.1, 0.1, 0.11, 0.09], 0.2)]
    distances = squared(models)
    assert distances[1, 3] < distances[0, 3]
    stolen = [(0, 1), (0, 2), (1, 3), (0, 4), (0, 5)]
    assert settle(range(6), stolen, distances, 0) == ((0, 1), (0, 2), (0, 3), (0, 4), (0, 5))


def test_continued_training_that_turns_back_towards_its_grandparent_becomes_the_grandparents_child() -> None:
    rng = np.random.default_rng(0)
    top = rng.normal(size=SIZE)
    first, second = drifting(rng, top, [0.1, 0.11], 0.6)
    assert settle([4, 7, 9], [(4, 7), (7, 9)], squared([top, first, second]), 4) == ((4, 7), (4, 9))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_trees_of_independent_steps_stay_as_they_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    models, edges = [rng.normal(size=SIZE)], []
    for child in range(1, 12):
        parent = int(rng.integers(child))
        models.append(models[parent] + rng.uniform(0.05, 0.2) * rng.normal(size=SIZE))
        edges.append((parent, child))
    assert settle(range(12), edges, squared(models), 0) == tuple(sorted(edges))


def test_pairs_that_are_sure_keep_their_edge() -> None:
    rng = np.random.default_rng(0)
    top = rng.normal(size=SIZE)
    first, second = drifting(rng, top, [0.1, 0.11], 0.6)
    sure = np.ones((3, 3), dtype=bool)
    chain = [(0, 1), (1, 2)]
    assert settle(range(3), chain, squared([top, first, second]), 0, sure=sure) == ((0, 1), (1, 2))


def test_members_of_unlike_sparsity_make_no_triangle() -> None:
    rng = np.random.default_rng(0)
    top = rng.normal(size=SIZE)
    first, second = drifting(rng, top, [0.1, 0.11], 0.6)
    zeros = np.array([0.0, 0.5, 0.5])
    chain = [(0, 1), (1, 2)]
    assert settle(range(3), chain, squared([top, first, second]), 0, zeros=zeros) == ((0, 1), (1, 2))


def test_a_right_angle_has_cosine_zero_and_equal_members_have_none() -> None:
    distances = np.array([[0.0, 1.0, 1.0, 0.0], [1.0, 0.0, 2.0, 1.0], [1.0, 2.0, 0.0, 1.0], [0.0, 1.0, 1.0, 0.0]])
    at, a, b = np.array([0, 1, 0]), np.array([1, 0, 3]), np.array([2, 2, 1])
    np.testing.assert_allclose(cosine(distances, at, a, b), [0.0, np.sqrt(0.5), 0.0])


STAR = [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (1, 6)]


def turned_back(rng: np.random.Generator, by: float, correlation: float = 0.4) -> Values:
    """Distances of a parent (0), five children (1 to 5), and 6, a child of 1 that turns back towards 0."""
    top = rng.normal(size=SIZE)
    children = drifting(rng, top, [0.1] * 5, correlation)
    return squared([top, *children, children[0] + 0.1 * rng.normal(size=SIZE) - by * (children[0] - top)])


@pytest.mark.parametrize(("says", "parent"), [(50.0, 0), (-50.0, 1)])
def test_another_witness_is_heard_where_angles_do_not_tell(says: float, parent: int) -> None:
    chains: list[list[list[int]]] = []

    def asked(some: NDArray[np.intp]) -> Values:
        chains.append(some.tolist())
        return np.full(len(some), says)

    members = range(10, 17)
    edges = [(10 + a, 10 + b) for a, b in STAR]
    found = settle(members, edges, turned_back(np.random.default_rng(0), 0.1), 10, asked=asked)
    assert (10 + parent, 16) in found
    assert chains[0] == [[10, 11, 16]]  # by position in the family


@pytest.mark.parametrize(
    ("by", "correlation"), [(0.0, 0.4), (0.3, 0.4), (0.1, 0.0)], ids=["child", "sibling", "straight"]
)
def test_nobody_else_is_asked_where_angles_are_clear_or_the_tree_is_straight(by: float, correlation: float) -> None:
    def asked(some: NDArray[np.intp]) -> Values:
        raise AssertionError(f"asked about {some}")

    distances = turned_back(np.random.default_rng(0), by, correlation)
    assert settle(range(7), STAR, distances, 0, asked=asked) == settle(range(7), STAR, distances, 0)


def test_nobody_else_is_asked_where_the_lengths_of_steps_skew_the_angles() -> None:
    def asked(some: NDArray[np.intp]) -> Values:
        raise AssertionError(f"asked about {some}")

    rng = np.random.default_rng(0)
    top = rng.normal(size=SIZE)
    first, *others = drifting(rng, top, [0.1, 0.1, 0.1, 0.003, 0.003], 0.4)
    last = first + 0.1 * rng.normal(size=SIZE) - 0.1 * (first - top)
    settle(range(7), STAR, squared([top, first, *others, last]), 0, asked=asked)
