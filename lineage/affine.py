"""Combinations of models, from squared distances alone.

Let y_i = x_i - c be candidates as seen from a child c. Then <y_i, y_j> = (d_i + d_j - D_ij) / 2 with d_i = ||y_i||²
and D_ij = ||x_i - x_j||², so that the best weighted mean of candidates is a small problem on D, whatever the number
of parameters. The nearest mean with weights of one sign is the point of least norm in the hull of the y_i (P. Wolfe,
"Finding the nearest point in a polytope", Mathematical Programming 11, 1976); it is found here by non-negative least
squares (Lawson and Hanson, "Solving least squares problems", 1974): the least of ||Y x||² + (1 - 1'x)², scaled to
sum 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """A child as a weighted sum of k candidates."""

    weights: Floats  # (k,)
    residual: float  # squared distance of the child from that sum


def gram(away: Floats, among: Floats) -> Floats:
    """(k, k) inner products of k points as seen from another, which is `away` (k,) from them, all distances squared."""
    products: Floats = (away[:, None] + away[None, :] - among) / 2
    return products


def mean_of(products: Floats) -> Fit:
    """The mean of candidates, with weights of any sign and sum 1, that is nearest to the child; `products`: their gram.

    It solves [Q 1; 1' 0] (w, m) = (0, 1), which is regular also where Q is not because the child is such a mean.
    """
    size = len(products)
    system = np.ones((size + 1, size + 1))
    system[:size, :size], system[size, size] = products / (products.trace() or 1.0), 0.0
    weights: Floats = np.linalg.lstsq(system, np.append(np.zeros(size), 1.0))[0][:size]
    return Fit(weights, max(0.0, float(weights @ products @ weights)))


def nearest_plane(products: Floats) -> float:
    """Squared distance of the child from the plane through candidates: no mean of any of them is nearer.

    It is 1 / (1' Q^-1 1). What is added to the diagonal keeps that finite where Q is singular, and adds to the distance
    what the weights' squares times it come to: nothing to speak of for weights of a size that merges have.
    """
    scale = products.trace() or 1.0
    system = products / scale + _RIDGE * np.eye(len(products))
    return float(scale / max(float(np.linalg.solve(system, np.ones(len(products))).sum()), 1e-300))


_RIDGE = 1e-13


def convex_mean(products: Floats) -> Fit:
    """The mean of candidates, with weights of at least 0 and sum 1, that is nearest to the child."""
    size = len(products)
    system = np.vstack([_root(products / (products.trace() or 1.0)), np.ones(size)])
    found = nnls(system, np.append(np.zeros(size), 1.0))[0]
    weights: Floats = found / found.sum()
    return Fit(weights, max(0.0, float(weights @ products @ weights)))


def cone(products: Floats, onto: Floats, squared: float) -> Fit:
    """The sum of candidates, with weights of at least 0 and any sum, that is nearest to the child.

    All are seen from an origin: `squared` is the child's squared distance from it, `onto` (k,) are its inner products
    with the candidates and `products` (k, k) those of the candidates.
    """
    root = _root(products)
    weights = nnls(root, np.linalg.lstsq(root.T, onto)[0])[0]
    return Fit(weights, _left(weights, products, onto, squared))


def scaled_sum(products: Floats, onto: Floats, squared: float) -> Fit:
    """The same with weights of any sign."""
    weights: Floats = np.linalg.lstsq(products, onto)[0].astype(np.float64)
    return Fit(weights, _left(weights, products, onto, squared))


def between(away: Floats) -> float:
    """The squared distance of a child from the best mean of its neighbours, were these orthogonal as seen from it.

    In a tree whose squared distances add up, the neighbours of a node are orthogonal as seen from it: the best mean
    of any of them, `away` (k,) from it (squared), weighs them by 1 / d_i and misses it by 1 / sum_i (1 / d_i).
    """
    return 0.0 if (away <= 0).any() else float(1 / (1 / away).sum())


def _left(weights: Floats, products: Floats, onto: Floats, squared: float) -> float:
    return max(0.0, float(squared - 2 * weights @ onto + weights @ products @ weights))


def _root(products: Floats) -> Floats:
    """R with R'R = products, as far as they are positive semi-definite."""
    values, vectors = np.linalg.eigh(products)
    root: Floats = (vectors * np.sqrt(np.maximum(values, 0.0))).T
    return root
