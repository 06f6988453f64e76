"""Squared distances against differences that are taken one by one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lineage.block import Work
from lineage.pairs import centres, squared_distances
from lineage.stored_tensor import Block, Part

Models = NDArray[np.float64]


def direct(models: Models, members: int | None = None) -> NDArray[np.float64]:
    return np.array([[((a - b) ** 2).sum() for b in models] for a in models[:members]])


def found(models: Models, members: int | None = None, cuts: tuple[int, ...] = ()) -> NDArray[np.float64]:
    """As the processor measures blocks: centres are found in the first, and used in all."""
    members = len(models) if members is None else members
    work = Work(len(models), members, torch.device("cpu"))
    total = np.zeros((members, len(models)))
    around = None
    for piece in np.split(models, cuts, axis=1):
        if not piece.shape[1]:
            continue
        part = Part(slice(0, len(models)), "F64", torch.from_numpy(piece.copy()))
        block = Block(0, piece.shape[1], len(models), (part,), ())
        around = around or work.pilot(block)
        total += work.measure(block, around, [("F64",)] * members).distances
    return total


def generic(models: Models, members: int | None = None, cuts: tuple[int, ...] = ()) -> NDArray[np.float64]:
    """As devices measure blocks."""
    members = len(models) if members is None else members
    return sum(  # type: ignore[return-value]
        squared_distances(torch.from_numpy(piece), members).numpy()
        for piece in np.split(models, cuts, axis=1)
        if piece.shape[1]
    )


Measure = Callable[..., NDArray[np.float64]]
BOTH = pytest.mark.parametrize("measure", [found, generic])


def forest(rng: np.random.Generator, members: int, size: int, steps: tuple[float, ...]) -> Models:
    """Random trees with steps of very different sizes, equal models among them, in any order."""
    models = [rng.normal(size=size), rng.normal(size=size)]
    while len(models) < members:
        parent = models[int(rng.integers(len(models)))]
        step = float(rng.choice([*steps, 0.0, 5.0]))
        models.append(parent + step * rng.normal(size=size) if step else parent.copy())
    return np.stack(models)[rng.permutation(members)]


@BOTH
@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    members=st.integers(2, 14),
    size=st.integers(1, 800),
    cut=st.floats(0, 1),
    new=st.floats(0, 1),
)
def test_distances_are_those_of_direct_differences(
    measure: Measure, seed: int, members: int, size: int, cut: float, new: float
) -> None:
    models = forest(np.random.default_rng(seed), members, size, (0.6, 1e-2, 1e-4))
    first = max(1, round(new * members))
    answer = measure(models, first, (round(cut * size),))
    np.testing.assert_allclose(answer, direct(models, first), rtol=1e-6)
    assert ((answer == 0) == (direct(models, first) == 0)).all()


@BOTH
@pytest.mark.parametrize("step", [1e-3, 1e-4, 1e-6])
def test_models_that_hardly_differ_beside_unrelated_ones_are_measured_exactly(measure: Measure, step: float) -> None:
    rng = np.random.default_rng(2)
    near, far = rng.normal(size=(2, 100_000))
    half = near + 0.6 * rng.normal(size=near.size)
    models = [near, far, half, *(base + step * rng.normal(size=near.size) for base in (near, near, half, half, far))]
    for order in ([*range(8)], [*range(8)][::-1], [2, 0, 5, 6, 3, 1, 7, 4]):
        chosen = np.stack([models[i] for i in order])
        np.testing.assert_allclose(measure(chosen), direct(chosen), rtol=1e-9)


@BOTH
def test_equal_models_are_at_exactly_nothing_from_each_other_old_or_new(measure: Measure) -> None:
    rng = np.random.default_rng(3)
    parent, other = rng.normal(size=(2, 5_000))
    child = parent + 1e-3 * rng.normal(size=parent.size)
    models = np.stack([parent, child, other, child, parent, other, child])
    answer = measure(models, 3, (1_234, 2_000))
    assert ((answer == 0) == (direct(models, 3) == 0)).all()


def test_where_the_first_block_says_nothing_of_the_others_they_are_exact_all_the_same() -> None:
    rng = np.random.default_rng(5)
    models = forest(rng, 9, 30_000, (1e-3, 1e-6))
    models[:, :8_000] = rng.normal(size=8_000)
    models[3:, 100] += 1e-3
    answer = found(models, cuts=(8_000, 20_000))
    np.testing.assert_allclose(answer, direct(models), rtol=1e-8)
    assert ((answer == 0) == (direct(models) == 0)).all()


@BOTH
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(1, 399), max_size=5))
def test_the_cut_into_blocks_and_the_order_of_models_do_not_matter(
    measure: Measure, seed: int, cuts: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    models = forest(rng, 8, 400, (0.3, 1e-4))
    order = rng.permutation(8)
    answer = measure(models)
    np.testing.assert_allclose(measure(models, cuts=tuple(sorted(cuts))), answer, rtol=1e-9)
    np.testing.assert_allclose(measure(models[order]), answer[np.ix_(order, order)], rtol=1e-9)
    np.testing.assert_allclose(answer, answer.T, rtol=1e-9)


@BOTH
def test_a_nan_or_infinity_stays_with_its_model(measure: Measure) -> None:
    rng = np.random.default_rng(4)
    models = forest(rng, 8, 300, (1e-2, 1e-4))
    broken = models.copy()
    broken[2, 5], broken[5, 77] = np.nan, np.inf
    sound = [0, 1, 3, 4, 6, 7]
    np.testing.assert_allclose(measure(broken)[np.ix_(sound, sound)], direct(models)[np.ix_(sound, sound)], rtol=1e-9)


@BOTH
def test_models_of_zeros_are_measured(measure: Measure) -> None:
    models = np.stack([np.zeros(50), np.ones(50), np.zeros(50), np.full(50, 1e-3)])
    np.testing.assert_allclose(measure(models), direct(models), rtol=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), members=st.integers(1, 20), old=st.integers(0, 10))
def test_leaders_are_new_models_that_lead_themselves(seed: int, members: int, old: int) -> None:
    models = forest(np.random.default_rng(seed), max(2, members + old), 50, (1e-1, 1e-3, 1e-5))[: members + old]
    chosen = centres(direct(models, members))
    assert (chosen.leaders < members).all()
    assert (chosen.of[chosen.leaders] == chosen.leaders).all()
    assert chosen.root in chosen.leaders
    assert set(chosen.of) == set(chosen.leaders)


def test_models_that_are_near_each_other_and_far_from_others_have_a_leader_of_their_own() -> None:
    rng = np.random.default_rng(6)
    one, another = rng.normal(size=(2, 1_000))
    models = np.stack([base + 1e-4 * rng.normal(size=1_000) for base in (one, another, one, another, another)])
    chosen = centres(direct(models))
    assert len({chosen.of[0], chosen.of[2]}) == 1
    assert len({chosen.of[1], chosen.of[3], chosen.of[4]}) == 1
    assert len(chosen.leaders) == 2
