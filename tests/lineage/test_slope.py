"""Slope constancy against its definition, row by row and column by column."""

from __future__ import annotations

import builders
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lineage import slope


def evidence(models: NDArray[np.float64], members: int | None = None) -> NDArray[np.float64]:
    return slope.evidence(torch.from_numpy(models), len(models) if members is None else members)[0]


def lineage(rng: np.random.Generator, rows: int, columns: int, members: int) -> NDArray[np.float64]:
    """A chain whose rows and columns have scales of their own, as trained layers do."""
    scale = rng.uniform(0.2, 3, size=(rows, 1)) * rng.uniform(0.2, 3, size=(1, columns))
    models = [scale * rng.normal(size=(rows, columns))]
    for _ in range(members - 1):
        models.append(rng.uniform(0.9, 1) * models[-1] + 0.1 * rng.normal(size=(rows, columns)))
    return np.stack(models)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(2, 20), columns=st.integers(2, 20), members=st.integers(2, 6))
def test_evidence_is_that_of_the_definition(seed: int, rows: int, columns: int, members: int) -> None:
    models = lineage(np.random.default_rng(seed), rows, columns, members)
    new = 1 + seed % members
    found = evidence(models, new)
    for i in range(new):
        for j in range(members):
            if i != j:
                assert found[i, j] == pytest.approx(builders.slope_constancy(models[i], models[j]), abs=1e-7)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_evidence_is_antisymmetric(seed: int) -> None:
    found = evidence(lineage(np.random.default_rng(seed), 12, 9, 5))
    np.testing.assert_allclose(found, -found.T, atol=1e-9)


def test_a_parent_is_told_from_its_shrunken_noisy_child() -> None:
    found = evidence(lineage(np.random.default_rng(0), 64, 48, 4))
    assert (found[np.triu_indices(4, 1)] > 0).all()


def test_more_models_than_are_compared_at_once_make_no_difference() -> None:
    models = lineage(np.random.default_rng(1), 6, 5, 70)
    found = evidence(models, 67)
    np.testing.assert_allclose(found[65:, 60:], evidence(models[60:])[5:7], atol=1e-9)


def test_equal_tensors_and_multiples_say_nothing() -> None:
    tensor = np.random.default_rng(2).normal(size=(8, 8))
    assert np.isnan(evidence(np.stack([tensor, tensor, 2 * tensor]))).all()


def test_rows_of_zeros_say_nothing() -> None:
    models = lineage(np.random.default_rng(3), 10, 7, 2)
    padded = np.concatenate([models, np.zeros((2, 4, 7))], axis=1)
    np.testing.assert_allclose(evidence(padded)[0, 1], evidence(models)[0, 1], atol=1e-9)


@settings(max_examples=200, deadline=None)
@given(rows=st.integers(1, 3_000), columns=st.integers(1, 3_000), elements=st.integers(0, 100_000))
def test_a_window_lies_within_its_layer_and_its_bounds(rows: int, columns: int, elements: int) -> None:
    first, high, wide = slope.window(rows, columns, elements)
    assert first >= 0
    assert high >= 1
    assert wide >= 1
    assert first + high * wide <= rows * columns
    assert high * wide <= max(1, min(elements, slope.WINDOW))
    if rows * columns <= min(elements, slope.WINDOW):
        assert (first, high, wide) == (0, rows, columns)
    elif wide == columns:
        assert first % columns == 0


@pytest.mark.parametrize("rows", [1, 4, 7])
def test_the_share_of_equal_elements_is_counted(rows: int) -> None:
    rng = np.random.default_rng(rows)
    models = rng.integers(0, 3, (5, rows, 6)).astype(np.float32)
    _, equal = slope.evidence(torch.from_numpy(models), 3)
    expected = (models[:3, None] == models[None]).mean(axis=(2, 3))
    np.testing.assert_allclose(equal, expected, rtol=1e-6)
