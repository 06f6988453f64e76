"""Whether the common parent of two models lies between them: what their norms say of the way from one to the other.

Let b be trained from x, so that b = s x + n, with a factor s < 1 for decay and a step n at right angles to x. In each
layer |b|² - |x|² is |n|² less what decay took, which goes with |x|²; and ||b - x||² is |n|² and hardly more. Of two
children of one parent, x = h + m and b = h + n, the same difference is |n|² - |m|², of a squared distance of
|n|² + |m|². So the coefficient g of |b|² - |x|² on ||b - x||² over the layers, beside one for the squared norms
themselves, is 1 where x is the parent, -1 where b is, and (|n|² - |m|²) / (|n|² + |m|²) where neither is. Layers are
weighed by the scatter of products of independent Gaussians, |x|² ||b - x||² / elements.

Steps that are not at right angles blur it: a cosine c between a step and the model that it began at takes 2 c |x| / |n|
from g. What is trained through a normalisation moves along a sphere, so that c is half the step, and elsewhere steps
lean by a few hundredths too. So g says little between models that are near, and most where steps are long, as in folds
of one initialisation. Pruning is a step of its own from what there was before, so of sparse models nothing is said.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lineage.family import FamilyMeasures, LayerKind

BLUR = 0.1  # of half of 1 - |g|: what true edges differ by beyond the error of the fit
CLEAREST = 1 / (2 * BLUR)  # where g is 0 and known exactly
LEAN = 0.025  # cosine between a step and the model that it began at, beyond what decay says of it
CLEAR = 3.3  # from which on the two are siblings, whatever else is seen of them
FEWEST = 4  # layers
SPARSE = 0.1  # share of zeros from which on nothing is said


def betweenness(measures: FamilyMeasures, edges: NDArray[np.intp]) -> NDArray[np.float64]:
    """(e,) how many errors (1 - |g|) / 2 is away from 0 for pairs (e, 2) of members, at least 0; NaN: not told."""
    growth, error = norm_growth(measures, edges)
    with np.errstate(divide="ignore"):
        blur = np.hypot(BLUR, LEAN / _length(measures, edges))
    found: NDArray[np.float64] = np.maximum((1 - np.abs(growth)) / 2, 0) / np.hypot(error / 2, blur)
    return found


def _length(measures: FamilyMeasures, edges: NDArray[np.intp]) -> NDArray[np.float64]:
    """(e,) how long the steps are beside the models, over the trunk layers that moved."""
    trunk = np.flatnonzero([layer.kind is LayerKind.TRUNK for layer in measures.layers])
    a, b = edges.T
    squared = measures.squared_distance[trunk[:, None], a, b]
    norm = (measures.squared_norm[np.ix_(trunk, a)] + measures.squared_norm[np.ix_(trunk, b)]) / 2
    moved = (squared > 0) & np.isfinite(squared) & (norm > 0)
    whole = np.where(moved, norm, 0.0).sum(axis=0)
    share = np.divide(np.where(moved, squared, 0.0).sum(axis=0), whole, out=np.zeros(len(edges)), where=whole > 0)
    length: NDArray[np.float64] = np.sqrt(share)
    return length


def told_between(measures: FamilyMeasures, edges: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """(e,) betweenness of a tree's edges; NaN where norms do not say who came first.

    Nothing holds the scale of what batch normalisation follows, so that true edges there look like half an edge between
    siblings: only what is clear is told.
    """
    found = betweenness(measures, np.array(edges, dtype=np.intp).reshape(-1, 2))
    if any(layer.name.endswith("running_var") for layer in measures.layers):
        found = np.where(found >= CLEAR, found, np.nan)
    return found


def norm_growth(measures: FamilyMeasures, edges: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(e,) g of each pair (e, 2) from the first to the second, and its standard error; NaN where it is not told."""
    trunk = np.flatnonzero([layer.kind is LayerKind.TRUNK for layer in measures.layers])
    a, b = edges.T
    squared = measures.squared_distance[trunk[:, None], a, b]
    one, other = measures.squared_norm[np.ix_(trunk, a)], measures.squared_norm[np.ix_(trunk, b)]
    size = measures.count[np.ix_(trunk, a)]
    norm = (one + other) / 2
    told = (squared > 0) & np.isfinite(squared) & (norm > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Of numbers without dimension, else layers of very different size would leave nothing of the determinant.
        far = np.where(told, squared / norm, 0.0)
        weight = np.where(told, size / far, 0.0)
        grown = np.where(told, (other - one) / norm, 0.0)
        ones = np.einsum("le->e", weight)
        across, along = (weight * far).sum(axis=0), (weight * far**2).sum(axis=0)
        determinant = ones * along - across**2
        constant, product = (weight * grown).sum(axis=0), (weight * far * grown).sum(axis=0)
        growth = (ones * product - across * constant) / determinant
        decay = (along * constant - across * product) / determinant
        left = (weight * (grown - decay - growth * far) ** 2).sum(axis=0) / (told.sum(axis=0) - 2)
        # |b|² - |x|² is twice a product of the step with a model.
        error = np.sqrt(np.maximum(left, 4) * ones / determinant)
    zeros = measures.zeros[trunk].sum(axis=0) / np.maximum(measures.count[trunk].sum(axis=0), 1)
    unknown = (told.sum(axis=0) < FEWEST) | ~(determinant > _SINGULAR * ones * along)
    unknown |= np.maximum(zeros[a], zeros[b]) > SPARSE
    return np.where(unknown, np.nan, growth), np.where(unknown, np.nan, error)


_SINGULAR = 1e-12
