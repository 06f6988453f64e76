"""A parent that is not at hand is seen by its children: by three and more at acute angles, by two from long steps."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import nan

import builders
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import expit
from test_drift import drifting

from lineage.absent import Group, absence, absent_parents, clear_siblings, distances_to_absent, seen_groups
from lineage.between import CLEAR
from lineage.family import Layer, LayerKind
from lineage.learnt import learnt
from lineage.parameters import Parameters
from lineage.recover import heritage
from lineage.skeleton import Skeleton, skeleton

Values = NDArray[np.float64]
SIZE = 20_000
LAYERS = tuple(Layer(f"w{n}", (50, 80), LayerKind.TRUNK) for n in range(5))
STRONGEST = Group(frozenset((0, 1, 2)), 0.5, 0.01, 0.0, 0.0)


def tree(models: list[Values]) -> Skeleton:
    """The skeleton of models that are vectors of SIZE numbers, cut into layers."""
    parts = [
        {layer.name: part.reshape(layer.shape) for layer, part in zip(LAYERS, np.split(one, len(LAYERS)), strict=True)}
        for one in models
    ]
    return skeleton(builders.measured(parts, LAYERS), range(len(models)))


@pytest.mark.parametrize("number", [3, 4, 7])
@pytest.mark.parametrize("seed", range(3))
def test_children_of_a_missing_parent_are_one_group(seed: int, number: int) -> None:
    rng = np.random.default_rng(seed)
    parent = rng.normal(size=SIZE)
    found = tree(drifting(rng, parent, list(rng.uniform(0.09, 0.11, number)), 0.0))
    assert absent_parents(found, 0) == (tuple(range(number)),)


def test_grandchildren_are_not_of_the_group() -> None:
    rng = np.random.default_rng(0)
    parent = rng.normal(size=SIZE)
    children = drifting(rng, parent, [0.1, 0.11, 0.12], 0.0)
    found = tree([*children, *drifting(rng, children[0], [0.05, 0.06], 0.0)])
    assert absent_parents(found, 0) == ((0, 1, 2),)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), correlation=st.floats(0.0, 0.2))
def test_nobody_is_missing_where_all_are_there(seed: int, correlation: float) -> None:
    rng = np.random.default_rng(seed)
    top = rng.normal(size=SIZE)
    models = [top, *drifting(rng, top, list(rng.uniform(0.08, 0.12, 4)), correlation)]
    models += drifting(rng, models[1], [0.1, 0.12], correlation)
    assert absent_parents(tree(models), 0) == ()


def test_decay_that_siblings_share_is_no_missing_parent() -> None:
    rng = np.random.default_rng(0)
    top = rng.normal(size=SIZE)
    models = [top, *((1 - decay) * top + 0.15 * rng.normal(size=SIZE) for decay in (0.1, 0.11, 0.12, 0.1))]
    found = tree(models)
    angles = [group.acute for group in seen_groups(found, 0)]
    assert angles == []
    plain = replace(found, core_squared=found.squared, norms=np.zeros(5))  # as if nothing could be taken out
    assert [group.acute > 0.2 for group in seen_groups(plain, 0)] == [True]


def test_two_siblings_of_one_strong_drift_are_no_orphans_where_their_grandparent_is_seen_at_a_right_angle() -> None:
    rng = np.random.default_rng(0)
    top = rng.normal(size=SIZE)
    middle = top + 0.1 * rng.normal(size=SIZE)
    models = [top, middle, *drifting(rng, middle, [0.1, 0.1], 0.5)]
    found = tree(models)
    plain = replace(found, core=((0, 1), (1, 2), (1, 3)))
    assert absent_parents(plain, 0) == ()


def test_of_the_signs_of_a_group_each_has_its_direction() -> None:
    weights = learnt().absent
    rising = [
        [replace(STRONGEST, acute=value) for value in (0.1, 0.2, 0.5)],
        [replace(STRONGEST, usual=value) for value in (0.4, 0.1, 0.01)],
        [replace(STRONGEST, margin=value) for value in (1.0, 0.1, 0.0)],
        [replace(STRONGEST, between=value) for value in (0.0, 2.0, 4.0)],
    ]
    for groups in rising:
        likely = [group.probability(weights) for group in groups]
        assert all(low < high for low, high in pairwise(likely))
    assert STRONGEST.probability(weights) > 0.9
    assert 0 < replace(STRONGEST, usual=nan).probability(weights) < 1


def test_edges_of_a_group_are_stated_at_what_its_signs_leave_them_and_stay_undecided() -> None:
    rng = np.random.default_rng(0)
    parent = rng.normal(size=SIZE)
    orphans = drifting(rng, parent, [0.1, 0.1, 0.1], 0.0)
    found = tree(orphans)
    (group,) = absent_parents(found, 0)
    told = absence(found, 0, [group])
    assert set(told) == {pair for edge in found.core for pair in (edge, edge[::-1])}
    weights = learnt()
    (seen,) = seen_groups(found, 0)
    assert set(told.values()) == {float(expit(seen.log_odds(weights.absent) + weights.adjacency.rarity))}
    assert absence(found, 0, []) == {}
    parts = [
        {layer.name: part.reshape(layer.shape) for layer, part in zip(LAYERS, np.split(one, len(LAYERS)), strict=True)}
        for one in orphans
    ]
    (grown,) = heritage(builders.measured(parts, LAYERS), Parameters(decide=0.0, decide_direction=0.0)).trees
    assert not any(edge.decided for edge in grown.edges)
    assert all(edge.evidence["adjacency"] <= 1 - edge.evidence["parent absent"] for edge in grown.edges)


def folds(rng: np.random.Generator, number: int) -> list[Values]:
    """Models of one initialisation, whose layers have scales of their own, after equally long training."""
    start = np.repeat([0.6, 0.8, 1.0, 1.5, 2.0], SIZE // 5) * rng.normal(size=SIZE)
    return [start + 0.6 * rng.normal(size=SIZE) for _ in range(number)]


@pytest.mark.parametrize("number", [2, 3])
def test_folds_are_siblings_by_their_norms_alone_and_get_no_parent(number: int) -> None:
    rng = np.random.default_rng(number)
    made = folds(rng, number)
    children = [one + 0.02 * rng.normal(size=SIZE) for one in made]
    parts = [
        {layer.name: part.reshape(layer.shape) for layer, part in zip(LAYERS, np.split(one, len(LAYERS)), strict=True)}
        for one in [*made, *children]
    ]
    measures = builders.measured(parts, LAYERS)
    found = skeleton(measures, range(2 * number))
    assert [sorted(group) for group in clear_siblings(found)] == [list(range(number))]
    (grown,) = heritage(measures, Parameters()).trees
    assert grown.absent == (tuple(range(number)),)
    assert grown.root in range(number)
    assert not [edge for edge in grown.edges if edge.child < number and edge.decided]
    between = [edge for edge in grown.edges if edge.child < number]
    assert len(between) == number - 1
    assert all(edge.evidence["parent absent"] >= 1 - learnt().adjacency.clear for edge in between)
    assert all(edge.evidence["between"] >= CLEAR and edge.evidence["direction"] == 0.5 for edge in between)
    assert {edge.child: edge.parent for edge in grown.edges if edge.child >= number} == {
        number + one: one for one in range(number)
    }


def test_fewer_than_three_siblings_have_no_distance_to_their_parent() -> None:
    with pytest.raises(ValueError, match="2 siblings"):
        distances_to_absent(np.array([[0.0, 1.0], [1.0, 0.0]]))
