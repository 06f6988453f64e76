"""Squared distances against differences that are taken one by one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lineage.pairs import SquaredDistances, squared_distances

Models = NDArray[np.float64]


def direct(models: Models, members: int | None = None) -> NDArray[np.float64]:
    return np.array([[((a - b) ** 2).sum() for b in models] for a in models[:members]])


def found(models: Models, members: int | None = None, cuts: tuple[int, ...] = ()) -> NDArray[np.float64]:
    sums = SquaredDistances(len(models) if members is None else members, len(models), torch.device("cpu"))
    for block in np.split(models, cuts, axis=1):
        sums.add(torch.from_numpy(block))
    return sums.total.numpy()


def forest(rng: np.random.Generator, members: int, size: int, steps: tuple[float, ...]) -> Models:
    """Random trees with steps of very different sizes, equal models among them, in any order."""
    models = [rng.normal(size=size), rng.normal(size=size)]
    while len(models) < members:
        parent = models[int(rng.integers(len(models)))]
        step = float(rng.choice([*steps, 0.0, 5.0]))
        models.append(parent + step * rng.normal(size=size) if step else parent.copy())
    return np.stack(models)[rng.permutation(members)]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    members=st.integers(2, 14),
    size=st.integers(1, 800),
    cut=st.floats(0, 1),
    new=st.floats(0, 1),
)
def test_distances_are_those_of_direct_differences(seed: int, members: int, size: int, cut: float, new: float) -> None:
    models = forest(np.random.default_rng(seed), members, size, (0.6, 1e-2, 1e-4))
    first = max(1, round(new * members))
    answer = found(models, first, (round(cut * size),))
    np.testing.assert_allclose(answer, direct(models, first), rtol=1e-6)
    assert ((answer == 0) == (direct(models, first) == 0)).all()


@pytest.mark.parametrize("step", [1e-3, 1e-4, 1e-6])
def test_models_that_hardly_differ_beside_unrelated_ones_are_measured_exactly(step: float) -> None:
    rng = np.random.default_rng(2)
    near, far = rng.normal(size=(2, 100_000))
    half = near + 0.6 * rng.normal(size=near.size)
    models = [near, far, half, *(base + step * rng.normal(size=near.size) for base in (near, near, half, half, far))]
    for order in ([*range(8)], [*range(8)][::-1], [2, 0, 5, 6, 3, 1, 7, 4]):
        chosen = np.stack([models[i] for i in order])
        np.testing.assert_allclose(found(chosen), direct(chosen), rtol=1e-9)


def test_equal_models_are_at_exactly_nothing_from_each_other_old_or_new() -> None:
    rng = np.random.default_rng(3)
    parent, other = rng.normal(size=(2, 5_000))
    child = parent + 1e-3 * rng.normal(size=parent.size)
    models = np.stack([parent, child, other, child, parent, other, child])
    answer = found(models, 3, (1_234, 2_000))
    assert ((answer == 0) == (direct(models, 3) == 0)).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(1, 399), max_size=5))
def test_the_cut_into_blocks_and_the_order_of_models_do_not_matter(seed: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    models = forest(rng, 8, 400, (0.3, 1e-4))
    order = rng.permutation(8)
    answer = found(models)
    np.testing.assert_allclose(found(models, cuts=tuple(sorted(cuts))), answer, rtol=1e-9)
    np.testing.assert_allclose(found(models[order]), answer[np.ix_(order, order)], rtol=1e-9)
    np.testing.assert_allclose(answer, answer.T, rtol=1e-12)


def test_a_nan_or_infinity_stays_with_its_model() -> None:
    rng = np.random.default_rng(4)
    models = forest(rng, 8, 300, (1e-2, 1e-4))
    broken = models.copy()
    broken[2, 5], broken[5, 77] = np.nan, np.inf
    sound = [0, 1, 3, 4, 6, 7]
    np.testing.assert_allclose(found(broken)[np.ix_(sound, sound)], direct(models)[np.ix_(sound, sound)], rtol=1e-9)


def test_models_of_zeros_are_measured() -> None:
    models = np.stack([np.zeros(50), np.ones(50), np.zeros(50), np.full(50, 1e-3)])
    np.testing.assert_allclose(squared_distances(torch.from_numpy(models), 4).numpy(), direct(models), rtol=1e-9)
