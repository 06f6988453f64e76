"""Which old members new ones are measured against: the nearest by estimates, whatever is known of the others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lineage.candidates import Estimated, Spanning, nearest
from lineage.packed import pack_tree, unpack_tree
from lineage.skeleton import spanning_tree

SEEDS = st.integers(0, 2**32 - 1)
BUCKETS = [8, 3, 40]


def sketched(rng: np.random.Generator, members: int, missing: float = 0.0) -> list[NDArray[np.float64]]:
    """Layers of sketches of members that come from one another; of some, layers are missing."""
    found = []
    for size in BUCKETS:
        values = rng.normal(size=(members, size)) * rng.choice([0.01, 1.0], size=(members, 1))
        for one in range(1, members):
            values[one] += values[rng.integers(one)]
        values[rng.random(members) < missing] = np.nan
        found.append(values)
    return found


def estimated_of(sketches: list[NDArray[np.float64]], some: NDArray[np.intp]) -> Estimated:
    found = Estimated(len(some), BUCKETS)
    for values in sketches:
        found.add(values[some])
    return found


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, members=st.integers(1, 30), missing=st.sampled_from([0.0, 0.4]))
def test_estimates_are_sums_over_the_layers_that_both_have(seed: int, members: int, missing: float) -> None:
    rng = np.random.default_rng(seed)
    sketches = sketched(rng, members, missing)
    some = rng.permutation(members)[: rng.integers(members) + 1]
    found = estimated_of(sketches, np.arange(members)).relative(some)
    for row, one in enumerate(some.tolist()):
        for other in range(members):
            both = [v for v in sketches if np.isfinite(v[one]).all() and np.isfinite(v[other]).all()]
            norms = sum(float(v[one] @ v[one] + v[other] @ v[other]) for v in both)
            squared = sum(float(((v[one] - v[other]) ** 2).sum()) for v in both)
            assert found[row, other] == pytest.approx(squared / norms if both else 4.0, rel=1e-5, abs=1e-6)


@settings(max_examples=100, deadline=None)
@given(seed=SEEDS, members=st.integers(2, 60), missing=st.sampled_from([0.0, 0.2]))
def test_what_is_near_does_not_depend_on_what_is_known_of_others(seed: int, members: int, missing: float) -> None:
    """Members come in batches, and some go again: of batches before, a tree is known that may lack anything."""
    rng = np.random.default_rng(seed)
    sketches = sketched(rng, members, missing)
    arriving = np.array_split(rng.permutation(members), rng.integers(2, 5))
    old, packed = arriving[0], b""
    for new in arriving[1:]:
        old = old[rng.random(len(old)) < rng.choice([0.5, 0.9, 1.0])]
        if not len(old) or not len(new):
            return
        everybody = np.concatenate([new, old])
        estimated = estimated_of(sketches, everybody)
        edges, squared = unpack_tree(packed, old.tolist())
        found = nearest(estimated, len(new), 2, Spanning(edges + len(new), squared))
        fresh = nearest(estimated, len(new), 2, Spanning.none())
        whole = estimated.relative(np.arange(len(everybody))).astype(np.float64)
        whole = np.minimum(whole, whole.T)
        least = sum(whole[pair] for pair in spanning_tree(whole))
        for tree in (found.spanning, fresh.spanning):
            assert len(tree.edges) == len(everybody) - 1
            assert tree.squared.sum() == pytest.approx(least, rel=1e-4, abs=1e-5)
        if not missing:  # where nobody is far there are no ties
            assert found.chosen == fresh.chosen
        near = np.argsort(whole[: len(new), len(new) :], axis=1, kind="stable")[:, :2] + len(new)
        assert found.chosen >= set(near.ravel().tolist())
        packed = pack_tree(found.spanning.edges, found.spanning.squared, everybody.tolist())
        old = everybody


def test_only_new_members_and_small_parts_of_what_is_left_are_compared_with_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    sketches = sketched(rng, 50)
    asked: list[int] = []
    relative = Estimated.relative

    def counted(self: Estimated, some: NDArray[np.intp]) -> NDArray[np.float32]:
        asked.extend(some.tolist())
        return relative(self, some)

    first = nearest(estimated_of(sketches, np.arange(40)), 0, 2, Spanning.none()).spanning
    monkeypatch.setattr(Estimated, "relative", counted)
    again = Spanning(first.edges + 10, first.squared)
    nearest(estimated_of(sketches, np.concatenate([np.arange(40, 50), np.arange(40)])), 10, 2, again)
    assert asked == list(range(10))


def test_a_new_parent_of_many_old_children_is_measured_against_all_of_them() -> None:
    rng = np.random.default_rng(2)
    parent = rng.normal(size=51)
    values = np.vstack([parent, parent + 0.1 * rng.normal(size=(12, 51)), rng.normal(size=(5, 51))])
    sketches = np.split(values, np.cumsum(BUCKETS)[:-1], axis=1)
    found = nearest(estimated_of(sketches, np.arange(18)), 1, 2, Spanning.none())
    assert found.chosen >= set(range(1, 13))


def test_a_tree_names_revisions_and_forgets_those_that_are_gone() -> None:
    edges, squared = np.array([[0, 2], [2, 1]]), np.array([0.5, 0.25], dtype=np.float32)
    packed = pack_tree(edges, squared, [70, 80, 1 << 40])
    assert len(packed) == 2 * 20
    found, joined = unpack_tree(packed, [1 << 40, 5, 70])
    assert found.tolist() == [[2, 0]]
    assert joined.tolist() == [0.5]
    assert unpack_tree(packed, [5])[0].tolist() == []
    assert unpack_tree(b"", [5, 6])[0].shape == (0, 2)
