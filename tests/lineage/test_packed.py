"""Numbers of pairs as bytes and back, by batches of any members in any order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lineage.packed import directed, pack, spread, unpack, unpack_sketches

Numbers = NDArray[np.float64]
Places = list[tuple[int, int]]


def batches(rng: np.random.Generator, members: int) -> list[tuple[list[int], list[int]]]:
    """Batches that measure all pairs of so many members: the new ones of each, and all before them, in any order."""
    order, found = rng.permutation(members).tolist(), []
    first = 0
    while first < members:
        size = int(rng.integers(1, members - first + 1))
        found.append((order[first : first + size], rng.permutation(order[:first]).astype(int).tolist()))
        first += size
    return found


def numbered(chosen: list[int], kept: NDArray[np.bool_], place: NDArray[np.intp]) -> Places:
    """Those of a batch's members that are kept, by their number there and their place among all that are."""
    return [(number, int(place[one])) for number, one in enumerate(chosen) if kept[one]]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), new=st.integers(1, 7), old=st.integers(0, 7), dtype=st.sampled_from("fdhi"))
def test_pair_numbers_are_packed_without_loss(seed: int, new: int, old: int, dtype: str) -> None:
    values = (100 * np.random.default_rng(seed).normal(size=(new, new + old))).astype(dtype)
    data = pack(values)
    assert len(data) == values.itemsize * (new * old + new * (new - 1) // 2)
    against, own = unpack(data, new, old, values.dtype.newbyteorder("<").str)
    np.testing.assert_array_equal(against, values[:, new:])
    np.testing.assert_array_equal(own, values[:, :new][np.triu_indices(new, 1)])


@pytest.mark.parametrize("sign", [1, -1])
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), members=st.integers(1, 9), share=st.floats(0, 1))
def test_what_batches_pack_becomes_the_matrix_of_those_that_are_wanted(
    sign: int, seed: int, members: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    half = np.triu(rng.normal(size=(members, members)), 1)
    whole = half + sign * half.T
    kept = rng.random(members) >= share
    place = np.cumsum(kept) - 1
    found = np.full((kept.sum(), kept.sum()), np.nan)
    for new, old in batches(rng, members):
        packed = unpack(pack(whole[np.ix_(new, [*new, *old])]), len(new), len(old), "<f8")
        spread(found, packed, numbered(new, kept, place), numbered(old, kept, place), sign)
    np.fill_diagonal(found, 0)
    np.testing.assert_array_equal(found, whole[np.ix_(kept, kept)])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), members=st.integers(1, 9), share=st.floats(0, 1))
def test_numbers_that_differ_both_ways_keep_their_direction(seed: int, members: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    whole = rng.normal(size=(members, members))
    np.fill_diagonal(whole, 0)
    kept = rng.random(members) >= share
    place = np.cumsum(kept) - 1
    found = np.full((kept.sum(), kept.sum()), np.nan)
    for new, old in batches(rng, members):
        to, back = whole[np.ix_(new, [*new, *old])], whole.T[np.ix_(new, [*new, *old])]
        sizes = len(new), len(old)
        packed = [unpack(pack(one), *sizes, "<f8") for one in (to, back)]
        directed(found, packed[0], packed[1], numbered(new, kept, place), numbered(old, kept, place))
    np.fill_diagonal(found, 0)
    np.testing.assert_array_equal(found, whole[np.ix_(kept, kept)])


def test_a_later_batch_overwrites_its_own_pairs_and_no_others() -> None:
    first, second = np.arange(1.0, 10).reshape(3, 3), np.arange(11.0, 20).reshape(3, 3)
    found = np.zeros((3, 3))
    everyone = [(0, 0), (1, 1), (2, 2)]
    directed(found, unpack(pack(first), 3, 0, "<f8"), unpack(pack(first.T.copy()), 3, 0, "<f8"), everyone, [])
    # The last member again, against the first alone: its pair with the middle one stays what it was.
    to, back = (values[2:, [2, 0]] for values in (second, second.T))
    directed(found, unpack(pack(to), 1, 1, "<f8"), unpack(pack(back), 1, 1, "<f8"), [(0, 2)], [(0, 0)])
    expected = first.copy()
    expected[2, 0], expected[0, 2] = second[2, 0], second[0, 2]
    np.fill_diagonal(expected, 0)
    np.fill_diagonal(found, 0)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [0, 5])
def test_sketches_come_back_as_they_were(size: int) -> None:
    sketches = np.random.default_rng(0).normal(size=(3, size))
    np.testing.assert_array_equal(unpack_sketches(sketches.astype("<f8").tobytes(), 3), sketches)
