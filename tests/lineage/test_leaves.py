"""Leaves: a score that is wrong on the leaves of a tree, whose direction is known, is not trusted there."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.direction import edge_scores
from lineage.family import Layer, LayerKind
from lineage.leaves import EXPECTED, trusted

STAR = [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5)]
TWO_STARS = [(0, 1), (0, 2), (0, 3), (0, 4), (4, 5), (4, 6), (4, 7)]


def trust(edges: list[tuple[int, int]], scores: list[float], lengths: list[float]) -> list[float]:
    found: list[float] = trusted(edges, np.array(scores), np.array(lengths)).tolist()
    return found


def test_a_score_that_is_right_on_leaves_is_trusted_and_one_that_is_wrong_is_not() -> None:
    right = trust(TWO_STARS, [2.0, 2.0, 2.0, -2.0, 2.0, 2.0, 2.0], [0.1] * 7)
    assert right == pytest.approx([1.0] * 7)
    wrong = trust(TWO_STARS, [-2.0] * 7, [0.1] * 7)
    assert wrong == pytest.approx([0.0] * 7)
    torn = trust(TWO_STARS, [EXPECTED, -EXPECTED, EXPECTED, 2.0, -EXPECTED, EXPECTED, -EXPECTED], [0.1] * 7)
    assert torn[3] == pytest.approx(1 / 7)


def test_only_leaves_whose_steps_are_about_as_long_are_asked() -> None:
    lengths = [0.5, 0.5, 0.5, 0.5, 1e-4, 1e-4, 1e-4]
    found = trust(TWO_STARS, [2.0, 2.0, 2.0, 2.0, -2.0, -2.0, -2.0], lengths)
    assert found[:4] == pytest.approx([1.0] * 4, abs=1e-3)
    assert found[4:] == pytest.approx([0.0] * 3, abs=1e-3)


def test_no_edge_is_judged_by_itself_and_single_edges_and_silent_leaves_are_trusted() -> None:
    assert trust([(0, 1)], [-3.0], [0.1]) == [1.0]
    assert trust([], [], []) == []
    assert trust(STAR, [0.0] * 5, [0.1] * 5) == [1.0] * 5
    alone = trust(STAR, [-4.0, 0.0, 0.0, 0.0, 0.0], [0.1] * 5)
    assert alone[0] == 1.0
    assert max(alone[1:]) < 0.1
    assert trust(STAR, [2.0] * 5, [0.0] * 5) == pytest.approx([1.0] * 5)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), members=st.integers(2, 12))
def test_ends_and_names_of_members_do_not_matter(seed: int, members: int) -> None:
    rng = np.random.default_rng(seed)
    edges = [(int(rng.integers(i)), i) for i in range(1, members)]
    scores, lengths = rng.normal(size=members - 1), np.exp(rng.normal(size=members - 1))
    told = trusted(edges, scores, lengths)
    assert ((told >= 0) & (told <= 1)).all()
    name = rng.permutation(members)
    turned = rng.random(members - 1) < 0.5
    other = [
        (int(name[j]), int(name[i])) if turn else (int(name[i]), int(name[j]))
        for (i, j), turn in zip(edges, turned.tolist(), strict=True)
    ]
    np.testing.assert_allclose(trusted(other, np.where(turned, -scores, scores), lengths), told)


def test_slopes_of_a_tree_whose_leaves_have_them_wrong_say_nothing_of_its_root() -> None:
    layers = tuple(Layer(f"w{n}", (9, 8), LayerKind.TRUNK) for n in range(4))
    rng = np.random.default_rng(3)
    parent = {layer.name: rng.normal(size=layer.shape) for layer in layers}
    models = [parent] + [
        {name: one + 0.1 * rng.normal(size=one.shape) for name, one in parent.items()} for _ in range(5)
    ]
    measures = builders.measured(models, layers, slopes=True)
    measures.slope[:, 0, 1:], measures.slope[:, 1:, 0] = -1.0, 1.0
    assert [told["slope"] for told in edge_scores(measures, range(6), STAR).values()] == [0.0] * 5
    measures.slope[:, 0, 1:], measures.slope[:, 1:, 0] = 1.0, -1.0
    assert all(told["slope"] > 3 for told in edge_scores(measures, range(6), STAR).values())
