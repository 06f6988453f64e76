"""A parent that is not at hand is seen by three of its children or more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_drift import drifting, squared

from lineage.absent import absent_parents
from lineage.skeleton import spanning_tree
from lineage.walk import outward

SIZE = 20_000


@pytest.mark.parametrize("number", [3, 4, 7])
@pytest.mark.parametrize("seed", range(3))
def test_children_of_a_missing_parent_are_one_group(seed: int, number: int) -> None:
    rng = np.random.default_rng(seed)
    parent = rng.normal(size=SIZE)
    distances = squared(drifting(rng, parent, list(rng.uniform(0.09, 0.11, number)), 0.0))
    found = absent_parents(range(number), outward(0, spanning_tree(distances)), distances)
    assert [sorted(group) for group in found] == [list(range(number))]


def test_grandchildren_are_not_of_the_group() -> None:
    rng = np.random.default_rng(0)
    parent = rng.normal(size=SIZE)
    children = drifting(rng, parent, [0.1, 0.11, 0.12], 0.0)
    distances = squared([*children, *drifting(rng, children[0], [0.05, 0.06], 0.0)])
    found = absent_parents([10, 11, 12, 13, 14], [(10, 11), (10, 12), (10, 13), (10, 14)], distances)
    assert found == ((10, 11, 12),)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), correlation=st.floats(0.0, 0.2))
def test_nobody_is_missing_where_all_are_there(seed: int, correlation: float) -> None:
    rng = np.random.default_rng(seed)
    top = rng.normal(size=SIZE)
    models = [top, *drifting(rng, top, list(rng.uniform(0.05, 0.2, 4)), correlation)]
    models += drifting(rng, models[1], [0.1, 0.15], correlation)
    edges = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 5), (1, 6)]
    assert absent_parents(range(7), edges, squared(models)) == ()


def test_two_siblings_of_one_strong_drift_are_no_orphans_where_their_grandparent_is_seen_at_a_right_angle() -> None:
    rng = np.random.default_rng(0)
    top = rng.normal(size=SIZE)
    middle = top + 0.1 * rng.normal(size=SIZE)
    distances = squared([top, middle, *drifting(rng, middle, [0.1, 0.1], 0.5)])
    assert absent_parents(range(4), [(0, 1), (1, 2), (1, 3)], distances) == ()
