"""What is measured of one model's numbers alone, at the edges of what a number can be; moments have their own tests."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage import strides
from lineage.decoding import rows_of
from lineage.moments import Moments
from lineage.stored_tensor import DTYPES, Part
from lineage.stream import STRIDE

NAMES = {dtype: name for name, dtype in DTYPES.items()}
SIZES = st.sampled_from([1, 2, STRIDE - 1, STRIDE, STRIDE + 1, 3 * STRIDE + 1])


def measured(*models: torch.Tensor) -> Moments:
    """Of models of one type."""
    part = Part(slice(0, len(models)), NAMES[models[0].dtype], torch.stack(models))
    return strides.measured(rows_of([part], len(models[0])), len(models)).moments


@settings(max_examples=25, deadline=None)
@given(value=st.floats(-1e30, 1e30), size=SIZES, dtype=st.sampled_from(["F64", "F32", "F16", "BF16"]))
def test_a_constant_has_no_variance_and_no_outliers(value: float, size: int, dtype: str) -> None:
    values = torch.full((size,), max(-6e4, min(6e4, value)), dtype=torch.float64).to(DTYPES[dtype])
    found = measured(values)
    exact = float(values[0])
    assert (found.mean.item(), found.minimum.item(), found.maximum.item()) == (exact, exact, exact)
    assert found.variance.item() == 0
    assert np.isnan([found.skewness, found.kurtosis]).all()
    assert found.outliers.item() == 0
    assert found.zeros.item() == (size if exact == 0 else 0)
    assert found.squared_norm.item() == pytest.approx(size * exact**2, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), mean=st.sampled_from([0, 3, 1e3, 1e6]), size=st.integers(100, 9_000))
def test_moments_far_from_zero_are_those_of_scipy(seed: int, mean: float, size: int) -> None:
    centred = np.random.default_rng(seed).gamma(3, size=size)
    values = centred + mean
    found = measured(torch.from_numpy(values))
    np.testing.assert_allclose(found.mean, values.mean(), rtol=1e-12)
    np.testing.assert_allclose(found.variance, values.var(), rtol=1e-9)
    np.testing.assert_allclose(found.skewness, scipy.stats.skew(centred), rtol=1e-5)
    np.testing.assert_allclose(found.kurtosis, scipy.stats.kurtosis(centred, fisher=False), rtol=1e-5)
    assert (found.minimum.item(), found.maximum.item()) == (values.min(), values.max())


@pytest.mark.parametrize(("dtype", "step"), [("F16", 2**-24), ("BF16", 2**-133), ("F32", 2**-149)])
def test_subnormal_numbers_are_numbers(dtype: str, step: float) -> None:
    whole = np.random.default_rng(0).integers(-100, 100, 5_000)
    values = torch.from_numpy(whole * step).to(DTYPES[dtype])
    assert torch.equal(values.double(), torch.from_numpy(whole * step))
    found, scaled = measured(values), measured(torch.from_numpy(whole.astype(np.float64)))
    for name in ("mean", "minimum", "maximum"):
        np.testing.assert_allclose(getattr(found, name) / step, getattr(scaled, name), rtol=1e-12)
    np.testing.assert_allclose(found.variance / step**2, scaled.variance, rtol=1e-12)
    np.testing.assert_allclose(found.kurtosis, scaled.kurtosis, rtol=1e-9)
    assert found.zeros.tolist() == scaled.zeros.tolist() == [(whole == 0).sum()]


def test_numbers_whose_squares_are_none_are_no_outliers() -> None:
    found = measured(torch.from_numpy(np.random.default_rng(1).normal(size=500) * 1e-310))
    assert found.squared_norm.item() == 0
    assert found.outliers.item() == 0
    assert found.zeros.item() == 0


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
def test_zeros_of_either_sign_are_zeros(dtype: str) -> None:
    values = torch.zeros(STRIDE + 1, dtype=DTYPES[dtype])
    values[::2] = -0.0
    found = measured(values, values.neg(), torch.zeros_like(values))
    assert found.zeros.tolist() == [STRIDE + 1] * 3
    for name in ("mean", "m2", "minimum", "maximum", "squared_norm", "outliers"):
        assert (getattr(found, name) == 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e61, -1e100, 1e300])
def test_numbers_that_are_none_or_too_large_for_fourth_powers_give_no_moments(bad: float) -> None:
    values = np.random.default_rng(2).normal(size=(2, 3 * STRIDE))
    values[0, [5, STRIDE + 3]] = bad, -bad
    found = measured(*torch.from_numpy(values))
    for name in ("mean", "variance", "skewness", "kurtosis", "squared_norm", "minimum", "maximum"):
        assert np.isnan(getattr(found, name)[0])
        assert np.isfinite(getattr(found, name)[1])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=SIZES, dtype=st.sampled_from(["I64", "I32", "I16", "I8", "U8", "BOOL"]))
def test_integers_are_numbers_too(seed: int, size: int, dtype: str) -> None:
    low, high = {"U8": (0, 255), "BOOL": (0, 2)}.get(dtype, (-100, 100))
    whole = np.random.default_rng(seed).integers(low, high, size)
    found = measured(torch.from_numpy(whole).to(DTYPES[dtype]))
    assert (found.minimum.item(), found.maximum.item()) == (whole.min(), whole.max())
    assert found.zeros.item() == (whole == 0).sum()
    np.testing.assert_allclose(found.mean, whole.mean(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.squared_norm, (whole.astype(np.float64) ** 2).sum())
