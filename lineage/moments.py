"""Moments of many tensors at once, block by block, merged in float64.

The merge of central moments is that of Chan, Golub and LeVeque (1979) for the second and Pébay (Sandia report
SAND2008-6212, equations 2.1-2.4) for the third and fourth. One-pass sums of powers lose all digits where the mean is
not near zero; this does not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch


@dataclass(frozen=True)
class Moments:
    """Of N tensors; every field is (N,) float64 but `count`, which they share, and `zeros`."""

    count: int
    zeros: torch.Tensor  # (N,) int64
    mean: torch.Tensor
    m2: torch.Tensor  # sums of powers of deviations from the mean
    m3: torch.Tensor
    m4: torch.Tensor
    squared_norm: torch.Tensor
    minimum: torch.Tensor
    maximum: torch.Tensor

    @property
    def variance(self) -> torch.Tensor:
        """Of the population: divided by the count."""
        return self.m2 / self.count

    @property
    def skewness(self) -> torch.Tensor:
        """Third central moment over the variance to the power 3/2; NaN for a constant tensor."""
        return (self.m3 / self.count) / self.variance**1.5

    @property
    def kurtosis(self) -> torch.Tensor:
        """Fourth central moment over the squared variance (3 for a normal distribution); NaN for a constant tensor."""
        return (self.m4 / self.count) / self.variance**2


def of_block(values: torch.Tensor) -> Moments:
    """Moments of each row of `values`, (N, n) float64 with n > 0."""
    minimum, maximum = torch.aminmax(values, dim=1)
    # The rounding of a constant's mean would pass for its deviation.
    mean = torch.where(minimum == maximum, minimum, values.mean(dim=1))
    deviation = values - mean[:, None]
    power = deviation * deviation
    m2 = power.sum(dim=1)
    m4 = torch.linalg.vector_norm(power, dim=1) ** 2
    m3 = power.mul_(deviation).sum(dim=1)
    return Moments(
        count=values.shape[1],
        zeros=values.shape[1] - torch.count_nonzero(values, dim=1),
        mean=mean,
        m2=m2,
        m3=m3,
        m4=m4,
        squared_norm=torch.linalg.vector_norm(values, dim=1) ** 2,
        minimum=minimum,
        maximum=maximum,
    )


def merge(a: Moments, b: Moments) -> Moments:
    """Moments of the two blocks of elements taken together."""
    n, na, nb = a.count + b.count, a.count, b.count
    delta = b.mean - a.mean
    m2 = a.m2 + b.m2 + delta**2 * (na * nb / n)
    m3 = a.m3 + b.m3 + delta**3 * (na * nb * (na - nb) / n**2) + 3 * delta * (na * b.m2 - nb * a.m2) / n
    m4 = (
        a.m4
        + b.m4
        + delta**4 * (na * nb * (na * na - na * nb + nb * nb) / n**3)
        + 6 * delta**2 * (na * na * b.m2 + nb * nb * a.m2) / n**2
        + 4 * delta * (na * b.m3 - nb * a.m3) / n
    )
    return replace(
        a,
        count=n,
        zeros=a.zeros + b.zeros,
        mean=a.mean + delta * (nb / n),
        m2=m2,
        m3=m3,
        m4=m4,
        squared_norm=a.squared_norm + b.squared_norm,
        minimum=torch.minimum(a.minimum, b.minimum),
        maximum=torch.maximum(a.maximum, b.maximum),
    )
