"""Digests: equal for equal numbers, however they are stored and cut, and for no others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.decoding import rows_of
from lineage.digest import Digest, hash_part
from lineage.stored_tensor import DTYPES, Part
from lineage.stream import STRIDE
from lineage.strides import measured

NAMES = {dtype: name for name, dtype in DTYPES.items()}


def digest(values: torch.Tensor, strides: int = 1 << 20) -> bytes:
    return digested(values, strides).value()


def form(values: torch.Tensor) -> str:
    return digested(values, 1).forms[0]


def digested(values: torch.Tensor, strides: int) -> Digest:
    name = NAMES[values.dtype]
    found = Digest(name)
    for piece in torch.split(values, strides * STRIDE):
        (hashes,) = hash_part(Part(slice(0, 1), name, piece[None]), [found.forms])
        found.update(hashes, len(piece))
    return found


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    size=st.sampled_from([1, 5, STRIDE, 3 * STRIDE + 77]),
    stored=st.sampled_from(["F8_E4M3", "F8_E5M2", "BF16", "F16", "F32", "I8", "U8", "BOOL", "I16"]),
    strides=st.integers(1, 3),
)
def test_casts_that_lose_nothing_and_cuts_change_no_digest(seed: int, size: int, stored: str, strides: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = (torch.randn(size, generator=generator) * 30).to(DTYPES[stored])
    expected = digest(values)
    assert len(expected) == 16
    for dtype in DTYPES.values():
        if torch.equal(values.double().to(dtype).double(), values.double()):
            assert digest(values.double().to(dtype), strides) == expected


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    stored=st.sampled_from(["BF16", "F16", "F32", "F64", "I64", "I32", "I16"]),
    count=st.integers(1, 4),
)
def test_any_change_of_bits_changes_the_digest(seed: int, stored: str, count: int) -> None:
    rng = np.random.default_rng(seed)
    values = (torch.from_numpy(rng.normal(size=2 * STRIDE + 9)) * 100).to(DTYPES[stored])
    width = 8 * values.element_size()
    bits = values.clone().view({16: torch.int16, 32: torch.int32, 64: torch.int64}[width])
    for place in rng.choice(len(bits), size=count, replace=False):
        bits[place] ^= -1 << (width - 1) if rng.integers(2) else 1 << int(rng.integers(width - 1))
    changed = bits.view(values.dtype)
    if not torch.equal(changed, values):  # -0 is 0, and no change
        assert digest(changed) != digest(values)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16, torch.float32])
def test_the_form_is_the_narrowest_that_holds_all_values(stored: torch.dtype) -> None:
    values = torch.randn(3 * STRIDE) * 1e-3
    values[[7, 5_000]] = torch.tensor([1.01171875e-6, 3e-9])  # too small for float16, which keeps steps of 6e-8
    bfloat, half = values.to(torch.bfloat16), values.half()
    both = "BF16 and F16"
    assert form(values) == "F32"
    assert form(bfloat.to(torch.float32)) == form(bfloat) == "BF16"
    assert form(half.to(torch.float32)) == form(half) == "F16"
    assert form(bfloat.half()) == form(bfloat.half().to(stored)) == both
    assert form(half.to(torch.bfloat16)) == form(torch.ones(5).to(stored)) == form(torch.zeros(5).to(stored)) == both
    assert form(torch.tensor([1e6]).to(torch.bfloat16)) == "BF16"


def test_the_order_of_values_and_their_number_count() -> None:
    values = torch.randn(3 * STRIDE)
    assert digest(values) != digest(values.flip(0))
    assert digest(values) != digest(torch.cat([values[STRIDE:], values[:STRIDE]]))
    assert digest(torch.zeros(5)) != digest(torch.zeros(6))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_zeros_are_counted_and_have_no_sign(dtype: torch.dtype) -> None:
    values = torch.randn(10_000).to(dtype).abs() + 1
    values[[3, 5_000, 9_999]] = 0
    negative = values.clone()
    negative[[3, 9_999]] = -0.0
    assert digest(values) == digest(negative) != digest(values.abs() + 1)
    part = Part(slice(0, 1), NAMES[dtype], negative[None])
    assert measured(rows_of([part], 10_000), 1).moments.zeros.tolist() == [3]


def test_large_integers_that_differ_by_one_are_told_apart() -> None:
    for large in (2**24, 2**53, 2**62, 2**63 - 2):
        assert digest(torch.tensor([large, 1])) != digest(torch.tensor([large + 1, 1]))


def test_no_two_of_many_random_tensors_have_one_digest() -> None:
    random = torch.Generator().manual_seed(0)
    tables = [torch.randint(0, 3, (40,), generator=random).half() for _ in range(3_000)]
    assert len({digest(table) for table in tables}) == len({tuple(table.tolist()) for table in tables})
