"""Combinations from squared distances: those of vectors, found by plain least squares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lineage.affine import between, cone, convex_mean, gram, mean_of, scaled_sum

SEEDS = st.integers(0, 2**32 - 1)


def squares(points: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    return found


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, size=st.integers(2, 6))
def test_weights_of_a_mean_are_recovered(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(size, 40))
    weights = rng.dirichlet(np.ones(size))
    away = squares(np.vstack([weights @ points, points]))[0, 1:]
    products = gram(away, squares(points))
    for fit in (mean_of(products), convex_mean(products)):
        assert fit.weights == pytest.approx(weights, abs=1e-6)
        assert fit.residual < 1e-9
    assert cone(points @ points.T, points @ (weights @ points), float(((weights @ points) ** 2).sum())).residual < 1e-9


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, size=st.integers(2, 6))
def test_no_other_weights_come_nearer(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    points, child = rng.normal(size=(size, 8)), rng.normal(size=8)
    products = gram(((points - child) ** 2).sum(axis=1), squares(points))
    free, positive = mean_of(products), convex_mean(products)
    scaled = scaled_sum(points @ points.T, points @ child, float(child @ child))
    sums = cone(points @ points.T, points @ child, float(child @ child))
    assert free.residual == pytest.approx(float(((free.weights @ points - child) ** 2).sum()), abs=1e-9)
    assert scaled.residual <= min(free.residual, sums.residual) + 1e-9
    assert free.residual <= positive.residual + 1e-9
    assert sums.residual <= positive.residual + 1e-9
    for _ in range(20):
        weights = rng.dirichlet(np.ones(size))
        assert positive.residual <= float(((weights @ points - child) ** 2).sum()) + 1e-9


def test_the_null_is_what_orthogonal_neighbours_leave() -> None:
    away = np.array([1.0, 2.0, 4.0])
    assert between(away) == pytest.approx(convex_mean(np.diag(away)).residual)
    assert between(np.array([0.0, 1.0])) == 0
