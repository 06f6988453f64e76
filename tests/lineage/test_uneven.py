"""Unevenness: an edge beside a far shorter step is less sure, and a tree of such edges says less of its root."""

from __future__ import annotations

from itertools import pairwise
from math import exp, log

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr

from lineage.adjacency import Signs
from lineage.direction import root_gains, rooted
from lineage.learnt import learnt
from lineage.uneven import BESIDE_FLOOR, SCATTER, USUAL, sharing, steps_beside, sureness

EDGES = [(0, 1), (1, 2), (1, 3)]
MEMBERS = (0, 1, 2, 3)


def beside(ratio: float) -> float:
    return log((ratio + BESIDE_FLOOR) / (1 + BESIDE_FLOOR))


def lengths(*steps: float) -> NDArray[np.float64]:
    """Squared distances of a star around 1, whose steps to 0, 2 and 3 are these."""
    points = np.zeros((4, 3))
    for place, (member, step) in enumerate(zip((0, 2, 3), steps, strict=True)):
        points[member, place] = step
    return np.asarray(((points[:, None] - points) ** 2).sum(axis=2))


def test_the_shortest_step_beside_an_edge_is_told_over_its_own_at_either_end() -> None:
    pairs = np.array(EDGES)
    np.testing.assert_allclose(steps_beside(lengths(1.0, 0.1, 2.0), pairs), [beside(0.1), 0.0, beside(0.05)])
    np.testing.assert_allclose(steps_beside(lengths(1.0, 1.0, 1.0), pairs), 0.0, atol=1e-12)
    chain = np.array([(0, 1), (1, 2), (2, 3)])
    steps = ((np.array([0.0, 0.1, 1.1, 1.15])[:, None] - np.array([0.0, 0.1, 1.1, 1.15])) ** 2).astype(np.float64)
    np.testing.assert_allclose(steps_beside(steps, chain), [0.0, beside(0.1) + beside(0.05), 0.0])


def test_edges_turned_and_in_another_order_say_the_same() -> None:
    squared, pairs = lengths(0.3, 0.1, 2.0), np.array(EDGES)
    told = steps_beside(squared, pairs)
    np.testing.assert_allclose(steps_beside(squared, pairs[::-1, ::-1]), told[::-1])


def test_equal_members_unknown_distances_and_trees_without_edges_say_nothing_wrong() -> None:
    assert steps_beside(np.zeros((1, 1)), np.zeros((0, 2), dtype=np.intp)).shape == (0,)
    np.testing.assert_allclose(steps_beside(lengths(0.0, 0.0, 0.0), np.array(EDGES)), 0.0)
    least = steps_beside(lengths(0.0, 1.0, 1.0), np.array(EDGES))
    np.testing.assert_allclose(least, [0.0, beside(0.0), beside(0.0)])
    unknown = lengths(1.0, 0.1, 2.0)
    unknown[1, 2] = unknown[2, 1] = np.inf
    np.testing.assert_allclose(steps_beside(unknown, np.array(EDGES)), [0.0, 0.0, beside(0.5)])


def test_an_edge_is_the_less_sure_the_shorter_the_steps_beside_it() -> None:
    weights = learnt().adjacency
    likely = [Signs(0.1, 0.1, 0.1, -2.4, beside(ratio)).probability(weights) for ratio in (1.0, 0.3, 0.1, 0.01, 0.0)]
    assert all(low < high for high, low in pairwise(likely))
    assert likely[-1] < likely[0] - 0.1


def test_evidence_counts_less_the_more_uneven_steps_are() -> None:
    assert sureness([]) == sureness([0.0, 2 * USUAL]) == 1.0
    assert sureness([USUAL - 1, USUAL - 3], 0.5) == pytest.approx(exp(-0.5 * 2))
    assert 0 < sureness([-4.0, -3.0]) < sureness([-2.0, -1.0]) < 1
    assert learnt().uneven > 0


def test_of_the_evidence_for_a_root_so_much_counts_and_of_what_is_known_besides_all() -> None:
    scores = {edge: {"slope": 1.0, "side": 0.5} for edge in EDGES}
    weights = learnt().direction
    odds = dict.fromkeys(EDGES, 0.25 * (weights["slope"] + 0.5 * weights["side"]))
    gains = np.array([root_gains(MEMBERS, odds)[one] for one in MEMBERS])
    gains[3] += 1.5
    likely = np.exp(gains) / np.exp(gains).sum()
    found = rooted(MEMBERS, scores, {3: 1.5}, 0.25)
    assert [found.probabilities[one] for one in MEMBERS] == pytest.approx(likely.tolist())
    assert set(rooted(MEMBERS, scores, None, 0.0).probabilities.values()) == {0.25}


def test_who_hangs_on_the_ends_of_a_short_edge_is_not_known_and_so_neither_is_its_direction() -> None:
    # 0 - 1 is short, and 2, 3 hang on 1; the root is 2.
    squared, directed = lengths(0.01, 1.0, 1.0), np.array([(2, 1), (1, 0), (1, 3)])
    below = np.array([0.0, 0.0, 0.0])
    above = sharing(squared, directed).above(below)
    assert above[0] == pytest.approx(1.0)
    assert above[1] == pytest.approx(float(ndtr(0.01 / (2 * SCATTER))))
    assert above[2] == pytest.approx(1.0)
    even = sharing(lengths(1.0, 1.0, 1.0), directed).above(below)
    np.testing.assert_allclose(even, 1.0)


def test_sides_are_shared_alike_from_whatever_root_the_tree_is_seen() -> None:
    rng = np.random.default_rng(0)
    squared, likely = lengths(0.02, 0.1, 2.0), rng.dirichlet(np.ones(4))
    one = np.array([(0, 1), (1, 2), (1, 3)])
    other = np.array([(2, 1), (1, 0), (1, 3)])
    from_0 = sharing(squared, one).above(np.array([1 - likely[0], likely[2], likely[3]]))
    from_2 = sharing(squared, other).above(np.array([1 - likely[2], likely[0], likely[3]]))
    np.testing.assert_allclose(from_0, [1 - from_2[1], 1 - from_2[0], from_2[2]])


def test_of_distances_that_are_not_known_or_none_sides_are_as_the_tree_has_them() -> None:
    directed, below = np.array(EDGES), np.array([0.5, 0.25, 0.125])
    unknown = np.full((4, 4), np.inf)
    np.testing.assert_allclose(sharing(unknown, directed).above(below), 1 - below)
    assert np.isfinite(sharing(np.zeros((4, 4)), directed).above(below)).all()
    alone = sharing(np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([(0, 1)]))
    np.testing.assert_allclose(alone.above(np.array([0.3])), [0.7])
