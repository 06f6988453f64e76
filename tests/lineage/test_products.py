"""Compiled sums over pairs of rows against numpy: any number of models, any forms, zeros and numbers that are none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lineage import products
from lineage.decoding import rows_of
from lineage.pairs import Centres
from lineage.stored_tensor import DTYPES, Part

Numbers = NDArray[np.float64]
FORMS = ("F16", "BF16", "F32", "F64", "F8_E4M3", "F8_E5M2", "I8")


def parts(values: Numbers, forms: list[str]) -> tuple[list[Part], Numbers]:
    """Models stored in these forms, one part of a block each, and the numbers that they then stand for."""
    stored = [torch.from_numpy(row).to(DTYPES[form]) for row, form in zip(values, forms, strict=True)]
    found = [Part(slice(i, i + 1), form, row[None]) for i, (row, form) in enumerate(zip(stored, forms, strict=True))]
    return found, np.stack([row.double().numpy() for row in stored])


def measured(given: list[Part], members: int, centres: Centres) -> products.Products:
    models, count = len(given), given[0].values.shape[1]
    scratch = np.full(models * products.piece(models), np.nan)  # whatever the thread left there
    return products.products(rows_of(given, count), members, centres, scratch)


def centred(values: Numbers, centres: Centres) -> Numbers:
    found = values - values[centres.of]
    found[centres.leaders] = values[centres.leaders] - values[centres.root]
    return found


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    members=st.integers(1, 9),
    old=st.integers(0, 6),
    count=st.integers(1, 2_600),
    leaders=st.integers(1, 4),
    sparse=st.sampled_from([0, 0.001, 0.5, 1]),
)
def test_products_are_those_of_numpy(
    seed: int, members: int, old: int, count: int, leaders: int, sparse: float
) -> None:
    rng = np.random.default_rng(seed)
    models = members + old
    values = 20 * rng.normal(size=(models, count))
    values[rng.random(values.shape) < sparse] = 0
    values[rng.random(values.shape) < sparse / 9] = -0.0
    given, values = parts(values, rng.choice(FORMS, size=models).tolist())
    leading = np.unique(rng.integers(0, members, leaders))
    of = rng.choice(leading, size=models)
    of[leading] = leading
    centres = Centres(of, int(rng.choice(leading)))
    found = measured(given, members, centres)
    own = centred(values, centres)
    gram, squares = own[:members] @ own.T, (own**2).sum(axis=1)
    scale = np.sqrt(squares[:members, None] * squares[None, :]).max() + 1e-300
    np.testing.assert_allclose(found.gram, gram, atol=1e-12 * scale)
    np.testing.assert_allclose(found.squares, squares, rtol=1e-12)
    np.testing.assert_array_equal(found.gram[:, :members], found.gram[:, :members].T)
    assert not found.bad.any()
    lost = (values[:, None] ** 2 * (values[None] == 0)).sum(axis=2)
    lost[members:, members:] = 0
    if found.lost is None:
        assert not (values == 0).any()
    else:
        np.testing.assert_allclose(found.lost, lost, rtol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2e60, -1e300])
@pytest.mark.parametrize("model", [0, 3])
def test_a_model_of_numbers_that_are_none_changes_no_others(bad: float, model: int) -> None:
    values = np.random.default_rng(0).normal(size=(5, 3_000))
    values[:, ::5] = 0
    broken = values.copy()
    broken[model, 1_234] = bad
    centres = Centres(np.array([0, 0, 2, 0, 2]), 2)
    whole, found = (measured(parts(one, ["F64"] * 5)[0], 3, centres) for one in (values, broken))
    assert np.flatnonzero(found.bad).tolist() == [model]
    first, second = (centres.distances(one.gram, one.squares)[0] for one in (whole, found))
    rest = [index for index in range(5) if index != model]
    new = [index for index in rest if index < 3]
    np.testing.assert_allclose(second[np.ix_(new, rest)], first[np.ix_(new, rest)], rtol=1e-9)
    assert whole.lost is not None
    assert found.lost is not None
    np.testing.assert_array_equal(found.lost[np.ix_(rest, rest)], whole.lost[np.ix_(rest, rest)])


def test_numbers_up_to_the_largest_are_numbers() -> None:
    given, values = parts(np.array([[1e60, 0], [-1e60, 5e-324], [0, 1e-200]]), ["F64"] * 3)
    found = measured(given, 3, Centres(np.zeros(3, dtype=np.intp), 0))
    assert not found.bad.any()
    assert found.lost is not None
    np.testing.assert_array_equal(found.lost, (values[:, None] ** 2 * (values[None] == 0)).sum(axis=2))


@pytest.mark.parametrize("models", [1, 2, 63, 64, 255, 256, 5_000])
def test_a_piece_fits_the_cache_as_far_as_loops_are_worth_it(models: int) -> None:
    length = products.piece(models)
    assert length % 256 == 0
    assert 256 <= length <= 1_024
    assert length == 256 or models * length <= 1 << 16
