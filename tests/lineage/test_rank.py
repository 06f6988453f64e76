"""Ranks of differences between stored matrices: what a low-rank child adds, and what only rounding adds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage import rank
from lineage.projection import Probes, Projection, projected_rank, row_noise

FORMATS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def matrix(generator: torch.Generator, rows: int, columns: int) -> torch.Tensor:
    return torch.randn((rows, columns), generator=generator, dtype=torch.float64) / math.sqrt(columns)


def low_rank(generator: torch.Generator, rows: int, columns: int, of: int, share: float = 0.3) -> torch.Tensor:
    """A product of that rank, all of whose directions are of like size, `share` of a matrix's norm."""
    delta = matrix(generator, rows, of) @ matrix(generator, of, columns)
    return share * delta * math.sqrt(rows) / torch.linalg.norm(delta)


def measured(a: torch.Tensor, b: torch.Tensor, dtype: str) -> int:
    """As measure_layer does it for two tensors stored as `dtype`."""
    error = math.hypot(rank.rounding(a, dtype), rank.rounding(b, dtype))
    return rank.numerical_rank(a.double() - b.double(), error)


def stored(values: torch.Tensor, dtype: str) -> torch.Tensor:
    return values.to(FORMATS[dtype]).float()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    of=st.integers(1, 32),
    shape=st.sampled_from([(96, 96), (64, 200), (300, 80), (160, 160)]),
    dtype=st.sampled_from(sorted(FORMATS)),
)
def test_the_rank_of_a_merged_adapter_is_found_in_every_format(
    seed: int, of: int, shape: tuple[int, int], dtype: str
) -> None:
    generator = torch.Generator().manual_seed(seed)
    parent = stored(matrix(generator, *shape), dtype)
    child = stored(parent.double() + low_rank(generator, *shape, of), dtype)
    assert measured(parent, child, dtype) == of
    assert measured(child, parent, dtype) == of


@pytest.mark.parametrize("dtype", sorted(FORMATS))
@pytest.mark.parametrize(("shape", "of"), [((600, 640), 1), ((600, 640), 32), ((520, 700), 16)])
def test_the_rank_of_a_large_matrix_is_found_from_random_probes(shape: tuple[int, int], of: int, dtype: str) -> None:
    generator = torch.Generator().manual_seed(5)
    parent = stored(matrix(generator, *shape), dtype)
    child = stored(parent.double() + low_rank(generator, *shape, of), dtype)
    assert measured(parent, child, dtype) == of
    assert measured(parent.T, child.T, dtype) == of


@pytest.mark.parametrize("dtype", sorted(FORMATS))
@pytest.mark.parametrize("shape", [(96, 96), (64, 200), (600, 520)])
def test_a_full_fine_tune_has_full_rank(shape: tuple[int, int], dtype: str) -> None:
    generator = torch.Generator().manual_seed(6)
    parent = stored(matrix(generator, *shape), dtype)
    child = stored(parent.double() + 0.3 * matrix(generator, *shape), dtype)
    assert measured(parent, child, dtype) >= 0.9 * min(shape)


@pytest.mark.parametrize("coarse", ["F16", "BF16"])
@pytest.mark.parametrize("shape", [(96, 96), (64, 200), (600, 520)])
def test_a_cast_has_rank_nothing(shape: tuple[int, int], coarse: str) -> None:
    fine = stored(matrix(torch.Generator().manual_seed(7), *shape), "F32")
    cast = stored(fine, coarse)
    error = math.hypot(rank.rounding(fine, "F32"), rank.rounding(cast, coarse))
    assert rank.numerical_rank(fine.double() - cast.double(), error) == 0


@pytest.mark.parametrize("dtype", sorted(FORMATS))
def test_the_ranks_of_siblings_add_up(dtype: str) -> None:
    generator = torch.Generator().manual_seed(8)
    parent = stored(matrix(generator, 256, 256), dtype)
    one, other = (stored(parent.double() + low_rank(generator, 256, 256, of), dtype) for of in (4, 9))
    assert measured(one, other, dtype) == 13


def test_equal_matrices_have_rank_nothing() -> None:
    assert rank.numerical_rank(torch.zeros((30, 20)), 0.0) == 0


@pytest.mark.parametrize("dtype", sorted(FORMATS))
def test_the_rounding_error_of_a_format_is_as_large_as_it_really_is(dtype: str) -> None:
    exact = matrix(torch.Generator().manual_seed(9), 700, 500)
    kept = exact.to(FORMATS[dtype]).double()
    real = float(torch.sqrt(torch.mean((kept - exact) ** 2)))
    assert rank.rounding(kept, dtype) == pytest.approx(real, rel=0.05)


def test_rounding_does_not_depend_on_how_a_matrix_is_cut() -> None:
    values = matrix(torch.Generator().manual_seed(10), 600, 1_000).float()
    halves = [rank.rounding(half, "BF16") ** 2 for half in (values[:300], values[300:])]
    assert rank.rounding(values, "BF16") == pytest.approx(float(np.sqrt(np.mean(halves))), rel=1e-12)


def test_formats_without_rounding_have_none() -> None:
    assert rank.rounding(torch.ones((3, 3)), "I8") == 0
    assert rank.rounding(torch.ones((0, 3)), "F16") == 0
    assert rank.rounding(torch.zeros((3, 3)), "F16") == 0


def projected(values: torch.Tensor, dtype: str, probes: int = 60) -> Projection:
    """A matrix's projection, all at once."""
    piece = Probes(values.shape[1], probes).project(values.reshape(-1), dtype, 0)
    bits = rank.significand(piece.mantissas, dtype)
    numbers = piece.values.float().numpy()
    noise = row_noise(piece.powers, values.shape[1], bits)
    return Projection(lambda first, stop: numbers[first:stop], noise, values.shape[1], probes, bits)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    ranks=st.tuples(st.integers(1, 16), st.integers(1, 16)),
    shape=st.sampled_from([(96, 96), (64, 200), (300, 80), (160, 160)]),
    dtype=st.sampled_from(sorted(FORMATS)),
    outlier=st.sampled_from([1.0, 30.0]),
)
def test_ranks_and_their_sums_are_found_from_projections_in_every_format(
    seed: int, ranks: tuple[int, int], shape: tuple[int, int], dtype: str, outlier: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    base = matrix(generator, *shape)
    base[3] *= outlier  # a row whose rounding is far above that of the others
    parent = base.to(FORMATS[dtype])
    one, other = ((parent.double() + low_rank(generator, *shape, of)).to(FORMATS[dtype]) for of in ranks)
    a, b, c = (projected(values, dtype) for values in (parent, one, other))
    assert projected_rank(a, b, shape) == projected_rank(b, a, shape) == ranks[0]
    assert projected_rank(a, c, shape) == ranks[1]
    assert projected_rank(b, c, shape) == sum(ranks)


@pytest.mark.parametrize("narrow", ["BF16", "F16"])
def test_a_rank_does_not_depend_on_the_type_that_values_are_stored_as(narrow: str) -> None:
    generator = torch.Generator().manual_seed(11)
    parent = matrix(generator, 120, 140).to(FORMATS[narrow])
    child = (parent.double() + low_rank(generator, 120, 140, 6)).to(FORMATS[narrow])
    assert projected_rank(projected(parent, narrow), projected(child, narrow), (120, 140)) == 6
    assert projected_rank(projected(parent.float(), "F32"), projected(child.double(), "F64"), (120, 140)) == 6
    for wide, dtype in ((child.double(), "F64"), (child.float(), "F32")):
        assert rank.rounding(wide, dtype) == pytest.approx(rank.rounding(child, narrow), rel=1e-6)
    assert measured(parent.float(), child.float(), "F32") == 6


def test_a_float16_copy_of_bfloat16_is_as_coarse_as_what_it_copies() -> None:
    coarse = (1 + torch.rand(40 * 64, generator=torch.Generator().manual_seed(0))).bfloat16()
    fine = (1 + torch.rand(40 * 64, generator=torch.Generator().manual_seed(1))).half()
    probes = Probes(64)
    found = [
        rank.significand(probes.project(values, dtype, 0).mantissas, dtype)
        for values, dtype in ((coarse, "BF16"), (coarse.half(), "F16"), (coarse.float(), "F32"), (fine, "F16"))
    ]
    assert found == [7, 7, 7, 10]
    assert rank.rounding(coarse.half()[None], "F16") == pytest.approx(rank.rounding(coarse[None], "BF16"))
