"""Moments against float64 numpy and scipy, however the elements are cut into pieces and blocks."""

from __future__ import annotations

import dataclasses
from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lineage import moments, strides
from lineage.decoding import rows_of
from lineage.stored_tensor import DTYPES, Part
from lineage.stream import STRIDE

Values = NDArray[np.float64]


def of_blocks(values: Values, cuts: list[int]) -> moments.Moments:
    """Block by block, as they pass."""
    return reduce(moments.merge, (of_block(values[:, a:b]) for a, b in pairwise(edges(values, cuts))))


def of_block(values: Values) -> moments.Moments:
    part = Part(slice(0, len(values)), "F64", torch.from_numpy(values))
    return strides.measured(rows_of([part], values.shape[1]), len(values)).moments


def edges(values: Values, cuts: list[int]) -> list[int]:
    return [0, *sorted({cut % values.shape[1] for cut in cuts} - {0}), values.shape[1]]


def expected(values: Values) -> dict[str, Values]:
    return {
        "mean": values.mean(axis=1),
        "variance": values.var(axis=1),
        "skewness": scipy.stats.skew(values, axis=1),
        "kurtosis": scipy.stats.kurtosis(values, axis=1, fisher=False),
        "squared_norm": (values**2).sum(axis=1),
        "minimum": values.min(axis=1),
        "maximum": values.max(axis=1),
        "zeros": (values == 0).sum(axis=1),
    }


def check(found: moments.Moments, values: Values, digits: float = 1e-9) -> None:
    assert found.count == values.shape[1]
    for name, numbers in expected(values).items():
        np.testing.assert_allclose(getattr(found, name), numbers, rtol=digits, atol=digits, err_msg=name)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(20, 9_000), cuts=st.lists(st.integers(0, 9_000), max_size=6))
def test_moments_are_those_of_the_whole_however_it_is_cut(seed: int, count: int, cuts: list[int]) -> None:
    rng = np.random.default_rng(seed)
    values = np.stack([rng.normal(size=count), rng.laplace(3, 1, size=count), rng.gamma(2, 5, size=count) - 1])
    values[0, :: int(rng.integers(2, 9))] = 0
    check(of_blocks(values, cuts), values)


@pytest.mark.parametrize("mean", [1e2, 1e4])
def test_a_mean_far_above_the_deviation_costs_no_digits(mean: float) -> None:
    rng = np.random.default_rng(1)
    centred = rng.laplace(size=(2, 50_000))
    found = of_blocks(centred + mean, [999, 20_000, 20_001])
    values = centred + mean
    np.testing.assert_allclose(found.kurtosis, expected(values)["kurtosis"], rtol=1e-9)
    np.testing.assert_allclose(found.skewness, expected(values)["skewness"], rtol=1e-7)
    np.testing.assert_allclose(found.kurtosis, expected(centred)["kurtosis"], rtol=1e-6)


def test_heavy_tails_cost_no_digits() -> None:
    values = np.random.default_rng(2).standard_t(2, size=(3, 60_000))
    check(of_blocks(values, [1, 4_097, 30_000]), values)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sizes=st.tuples(*[st.integers(1, 200)] * 3))
def test_merging_is_associative_and_commutative(seed: int, sizes: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(seed)
    a, b, c = (of_block(rng.normal(rng.normal(), 2, size=(2, size))) for size in sizes)
    one = moments.merge(moments.merge(a, b), c)
    for other in (moments.merge(a, moments.merge(b, c)), moments.merge(c, moments.merge(b, a))):
        for field in dataclasses.fields(one):
            np.testing.assert_allclose(getattr(one, field.name), getattr(other, field.name), rtol=1e-9, atol=1e-8)
    assert moments.merge(moments.nothing(2), one) is one


def test_a_constant_has_no_kurtosis_even_where_its_mean_is_rounded() -> None:
    values = np.full((1, 1_000), 0.1)
    for found in (of_blocks(values, []), of_blocks(values, [7, 333])):
        assert found.mean.item() == 0.1
        assert found.variance.item() == 0
        assert np.isnan(found.kurtosis).all()
        assert np.isnan(found.skewness).all()


def test_a_nan_or_infinity_stays_in_its_own_row() -> None:
    values = np.random.default_rng(0).normal(size=(4, 300))
    broken = values.copy()
    broken[1, 150], broken[3, 7] = np.nan, np.inf
    with np.errstate(invalid="ignore"):
        found, whole = of_blocks(broken, [100, 200]), of_blocks(values, [100, 200])
    for name in ("mean", "variance", "kurtosis", "squared_norm", "minimum"):
        np.testing.assert_array_equal(getattr(found, name)[[0, 2]], getattr(whole, name)[[0, 2]])
    assert np.isnan(found.kurtosis[[1, 3]]).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 3 * STRIDE), form=st.sampled_from(["F32", "F16", "BF16"]))
def test_outliers_are_numbers_beyond_six_deviations_of_their_stride(seed: int, size: int, form: str) -> None:
    rng = np.random.default_rng(seed)
    values = torch.from_numpy(rng.standard_t(3, size=(2, size))).to(DTYPES[form])
    found = strides.measured(rows_of([Part(slice(0, 2), form, values)], size), 2).moments
    cut = [values[:, first : first + STRIDE].double().numpy() for first in range(0, size, STRIDE)]
    far = [abs(one - one.mean(axis=1, keepdims=True)) > 6 * one.std(axis=1, keepdims=True) for one in cut]
    assert found.outliers.tolist() == np.sum([one.sum(axis=1) for one in far], axis=0).tolist()
