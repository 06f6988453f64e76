"""Moments of many tensors at once, piece by piece, merged in float64.

Of a piece that fits into the processor's cache, sums of powers are taken; central moments follow from them without
loss as long as the mean is not far above the deviation, and where it is, the piece's mean is subtracted first. The
merge of central moments is that of Chan, Golub and LeVeque (1979) for the second and Pébay (Sandia report
SAND2008-6212) for the third and fourth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SEGMENT = 8192  # longest dot product: longer ones are given threads of its own by the library that computes them
_FAR = 4.0  # squared means above so many variances lose digits: two at this one


@dataclass(frozen=True)
class Moments:
    """Of N tensors; every field is (N,) float64 but `count`, which they share, and `zeros`."""

    count: int
    zeros: NDArray[np.int64]  # (N,)
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
    return Moments(0, np.zeros(tensors, dtype=np.int64), zero, zero, zero, zero, zero, least, most)


class Gathered:
    """Moments of consecutive pieces of N tensors, for as many pieces as there are."""

    def __init__(self, tensors: int) -> None:
        self._tensors = tensors
        self._counts: list[int] = []
        self._pieces: list[tuple[Floats, ...]] = []
        self.zeros = np.zeros(tensors, dtype=np.int64)

    def add(self, values: Floats, minimum: Floats, maximum: Floats, scratch: Floats) -> None:
        """Add a piece: (N, n) finite numbers, n a multiple of SEGMENT or less than it; `scratch` is of that shape."""
        count = values.shape[1]
        sums = torch.from_numpy(values).sum(dim=1).numpy()
        np.multiply(values, values, out=scratch)
        squares, cubes, fourths = dots(values, values), dots(values, scratch), dots(scratch, scratch)
        mean = sums / count
        m2 = squares - sums * mean
        m3 = cubes - mean * (3 * squares - 2 * sums * mean)
        m4 = fourths - mean * (4 * cubes - mean * (6 * squares - 3 * sums * mean))
        for row in np.flatnonzero(mean * mean > _FAR * np.abs(m2) / count):
            # The rounding of a constant's mean would pass for its deviation.
            mean[row] = minimum[row] if minimum[row] == maximum[row] else mean[row]
            deviation = values[row] - mean[row]
            power = deviation * deviation
            m2[row], m3[row], m4[row] = power.sum(), (power * deviation).sum(), (power * power).sum()
        self._counts.append(count)
        self._pieces.append((mean, m2, m3, m4, squares, minimum, maximum))

    def total(self) -> Moments:
        """The moments of all pieces together."""
        if not self._counts:
            return nothing(self._tensors)
        columns = [np.stack(column) for column in zip(*self._pieces, strict=True)]
        return _together(np.array(self._counts), columns, self.zeros)


def of_block(values: torch.Tensor) -> Moments:
    """Moments of each row of `values`, (N, n) float64 with n > 0, on any device: for devices with memory to spare."""
    minimum, maximum = torch.aminmax(values, dim=1)
    mean = torch.where(minimum == maximum, minimum, values.mean(dim=1))
    deviation = values - mean[:, None]
    power = deviation * deviation
    m2 = power.sum(dim=1)
    m4 = torch.linalg.vector_norm(power, dim=1) ** 2
    m3 = power.mul_(deviation).sum(dim=1)
    squares = torch.linalg.vector_norm(values, dim=1) ** 2
    zeros = values.shape[1] - torch.count_nonzero(values, dim=1)
    found = torch.stack([mean, m2, m3, m4, squares, minimum, maximum]).cpu().numpy()
    return Moments(values.shape[1], zeros.cpu().numpy(), *found)


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of the two blocks of elements taken together."""
    if not a.count or not b.count:
        return a if a.count else b
    both = [
        np.stack([getattr(a, name), getattr(b, name)])
        for name in ("mean", "m2", "m3", "m4", "squared_norm", "minimum", "maximum")
    ]
    return _together(np.array([a.count, b.count]), both, a.zeros + b.zeros)


def dots(a: Floats, b: Floats) -> Floats:
    """(N,) inner products of the rows of a and b, (N, n) each, n a multiple of SEGMENT or less than it."""
    if a.shape[1] <= SEGMENT:
        return np.asarray(np.vecdot(a, b))
    cut = (a.shape[0], a.shape[1] // SEGMENT, SEGMENT)
    return np.asarray(np.vecdot(a.reshape(cut), b.reshape(cut)).sum(axis=1))


def _together(counts: NDArray[np.int64], columns: list[Floats], zeros: NDArray[np.int64]) -> Moments:
    """Moments of k pieces as one: counts are (k,), columns (k, N), and the zeros are sums already, (N,)."""
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
        mean=mean,
        m2=(m2s + n * squared).sum(axis=0),
        m3=(m3s + 3 * delta * m2s + n * squared * delta).sum(axis=0),
        m4=(m4s + 4 * delta * m3s + 6 * squared * m2s + n * squared * squared).sum(axis=0),
        squared_norm=squares.sum(axis=0),
        minimum=minimum.min(axis=0),
        maximum=maximum.max(axis=0),
    )
