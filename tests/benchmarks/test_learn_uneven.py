"""How much uneven trees count is learnt from what is wrong of them."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.learn_uneven import Inferred, directions_left_out, learn_uneven
from lineage.uneven import USUAL, sharing

LINE = np.array([(0, 1), (1, 2)])
SQUARED = np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [2.0, 1.0, 0.0]])
AWAY = np.array([[False, True, True], [False, False, True]])


def tree(gains: list[float], beside: float) -> Inferred:
    """A line whose root is the first, with such log-odds of each to be it."""
    true, turned = np.array([0, 1]), np.array([False, False])
    return Inferred(np.array(gains), AWAY, sharing(SQUARED, LINE), true, turned, (beside, beside))


def test_directions_are_those_of_the_roots_and_the_less_sure_the_more_uneven_steps_count() -> None:
    seen = tree([np.log(2.0), 0.0, 0.0], USUAL - 1)
    np.testing.assert_allclose(seen.probability(0.0), [0.5, 0.75])
    np.testing.assert_allclose(seen.probability(50.0), [1 / 3, 2 / 3])
    even = tree([np.log(2.0), 0.0, 0.0], USUAL)
    np.testing.assert_allclose(even.probability(50.0), [0.5, 0.75])


def test_uneven_trees_that_are_often_wrong_are_learnt_to_count_less() -> None:
    right, wrong = tree([6.0, 0.0, 0.0], USUAL - 1), tree([0.0, 0.0, 6.0], USUAL - 1)
    assert learn_uneven([[right, right, wrong]]) > 0.5
    assert learn_uneven([[right, right]]) == pytest.approx(0.0, abs=1e-2)
    even = tree([0.0, 0.0, 6.0], 0.0)
    assert learn_uneven([[right, right], [even]]) == pytest.approx(0.0, abs=1e-2)
    assert learn_uneven([[]]) == 0.0


def test_each_zoo_is_judged_by_the_others() -> None:
    right, wrong = tree([6.0, 0.0, 0.0], USUAL - 1), tree([0.0, 0.0, 6.0], USUAL - 1)
    said = directions_left_out({"a": [right], "b": [wrong], "c": [right, wrong]})
    assert said.startswith("each zoo left out: ")
    assert all(f"{name} " in said for name in "abc")
