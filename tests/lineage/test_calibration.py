"""Reliability of stated probabilities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.calibration import calibration, unavoidable_error


def test_statements_that_come_true_as_often_as_they_say_have_no_error() -> None:
    found = calibration([0.75] * 4 + [0.25] * 4, [True, True, True, False, True, False, False, False])
    assert found.error == 0
    assert found.count.tolist() == [4, 4]
    assert found.right.tolist() == [0.25, 0.75]


def test_the_error_is_weighed_by_how_many_statements_a_bin_holds() -> None:
    found = calibration([0.95, 0.95, 0.95, 0.55], [True, True, True, False])
    assert found.error == pytest.approx((3 * 0.05 + 0.55) / 4)


def test_few_perfect_statements_scatter_and_many_do_not() -> None:
    few, many = unavoidable_error([0.8] * 36), unavoidable_error([0.8] * 3600)
    # The mean of |binomial share - 0.8| is about sqrt(2 / pi) of its standard deviation.
    assert few == pytest.approx(math.sqrt(2 / math.pi * 0.16 / 36), rel=0.1)
    assert many == pytest.approx(few / 10, rel=0.1)
    assert unavoidable_error([1.0, 0.0]) == 0
    assert math.isnan(unavoidable_error([]))


def test_certainty_falls_into_the_last_bin() -> None:
    assert calibration([1.0, 0.91], [True, True]).count.tolist() == [2]


def test_nothing_stated_is_neither_right_nor_wrong() -> None:
    assert math.isnan(calibration([], []).error)


@pytest.mark.parametrize(("stated", "right", "bins"), [([0.5], [], 10), ([1.5], [True], 10), ([0.5], [True], 0)])
def test_what_is_no_probability_is_refused(stated: list[float], right: list[bool], bins: int) -> None:
    with pytest.raises(ValueError, match="probabilities"):
        calibration(stated, right, bins)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=30), st.integers(1, 12))
def test_the_error_lies_between_the_overall_bias_and_one(said: list[tuple[float, bool]], bins: int) -> None:
    stated, right = [one for one, _ in said], [one for _, one in said]
    error = calibration(stated, right, bins).error
    assert abs(np.mean(stated) - np.mean(right)) - 1e-9 <= error <= 1
