"""Moments of many tensors at once, merged in float64.

They are taken stride by stride (`lineage.strides`). Central moments are merged as by Chan, Golub and LeVeque (1979) for
the second, and Pébay (Sandia report SAND2008-6212) for the third and fourth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Of N tensors; every field is (N,) float64 but `count`, which they share, and the two numbers of elements."""

    count: int
    zeros: NDArray[np.int64]  # (N,)
    outliers: NDArray[np.int64]  # (N,) numbers beyond six standard deviations of their stride, see `lineage.strides`
    mean: Floats
    m2: Floats  # sums of powers of deviations from the mean
    m3: Floats
    m4: Floats
    squared_norm: Floats
    minimum: Floats
    maximum: Floats

    @property
    def variance(self) -> Floats:
        """Of the population: divided by the count."""
        return self.m2 / self.count

    @property
    def skewness(self) -> Floats:
        """Third central moment over the variance to the power 3/2; NaN for a constant tensor."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((self.m3 / self.count) / self.variance**1.5)

    @property
    def kurtosis(self) -> Floats:
        """Fourth central moment over the squared variance (3 for a normal distribution); NaN for a constant tensor."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((self.m4 / self.count) / self.variance**2)


def nothing(tensors: int) -> Moments:
    """Of no elements: what other moments are merged with first."""
    zero = np.zeros(tensors)
    least, most = np.full(tensors, np.inf), np.full(tensors, -np.inf)
    none = np.zeros(tensors, dtype=np.int64)
    return Moments(0, none, none, zero, zero, zero, zero, zero, least, most)


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of the two blocks of elements taken together."""
    if not a.count or not b.count:
        return a if a.count else b
    both = [
        np.stack([getattr(a, name), getattr(b, name)])
        for name in ("mean", "m2", "m3", "m4", "squared_norm", "minimum", "maximum")
    ]
    return together(np.array([a.count, b.count]), both, a.zeros + b.zeros, a.outliers + b.outliers)


def together(
    counts: NDArray[np.int64], columns: list[Floats], zeros: NDArray[np.int64], outliers: NDArray[np.int64]
) -> Moments:
    """Moments of k pieces as one: counts are (k,), columns (k, N); zeros and outliers are sums already, (N,)."""
    if not counts.sum():
        return nothing(len(zeros))
    means, m2s, m3s, m4s, squares, minimum, maximum = columns
    total = int(counts.sum())
    n = counts[:, None].astype(np.float64)
    # Taken from the first piece's mean, so that equal means stay what they are to the last bit.
    mean = means[0] + (n * (means - means[0])).sum(axis=0) / total
    delta = means - mean
    squared = delta * delta
    return Moments(
        count=total,
        zeros=zeros,
        outliers=outliers,
        mean=mean,
        m2=(m2s + n * squared).sum(axis=0),
        m3=(m3s + 3 * delta * m2s + n * squared * delta).sum(axis=0),
        m4=(m4s + 4 * delta * m3s + 6 * squared * m2s + n * squared * squared).sum(axis=0),
        squared_norm=squares.sum(axis=0),
        minimum=minimum.min(axis=0),
        maximum=maximum.max(axis=0),
    )
