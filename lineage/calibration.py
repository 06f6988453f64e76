"""Whether stated probabilities are what they say: of all that was given 0.8, 0.8 should be right.

Reliability diagram and expected calibration error over bins of equal width (Naeini, Cooper and Hauskrecht, AAAI 2015).
Few statements scatter about what they say however true it is, and that error counts the scatter: it is biased upwards
(Roelofs, Cain, Shlens and Mozer, AISTATS 2022). `unavoidable_error` says by how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Reliability:
    """The n of the bins that hold anything, by ascending probability."""

    count: NDArray[np.int64]  # (n,) statements in each bin
    probability: NDArray[np.float64]  # (n,) their mean stated probability
    right: NDArray[np.float64]  # (n,) the share of them that is right

    @property
    def error(self) -> float:
        """Expected calibration error: mean |stated - right| over bins, weighed by their counts; NaN without any."""
        if not self.count.sum():
            return float("nan")
        return float(np.average(np.abs(self.probability - self.right), weights=self.count))


def calibration(
    probabilities: Sequence[float] | NDArray[np.float64], right: Sequence[bool] | NDArray[np.bool_], bins: int = 10
) -> Reliability:
    """Return the reliability of statements in `bins` bins of equal width within 0 .. 1; 1 falls into the last.

    Raises ValueError if the two differ in length, if a probability is none, or unless there is a bin.
    """
    stated, true = np.asarray(probabilities, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if stated.shape != true.shape or stated.ndim != 1:
        raise ValueError(f"{stated.size} probabilities for {true.size} outcomes")
    if bins < 1 or not ((stated >= 0) & (stated <= 1)).all():
        raise ValueError("probabilities lie within 0 .. 1, in one bin or more")
    place = np.minimum((stated * bins).astype(np.int64), bins - 1)
    count = np.bincount(place, minlength=bins)
    filled = count > 0
    mean = np.bincount(place, stated, bins)[filled] / count[filled]
    share = np.bincount(place, true, bins)[filled] / count[filled]
    return Reliability(count[filled].astype(np.int64), mean, share)


def unavoidable_error(
    probabilities: Sequence[float] | NDArray[np.float64], bins: int = 10, *, draws: int = 1000, seed: int = 0
) -> float:
    """Return the mean expected calibration error that these statements have if each comes true as often as it says.

    Outcomes are drawn `draws` times, of each statement apart. NaN without any statement; raises ValueError as
    `calibration` does.
    """
    stated = np.asarray(probabilities, dtype=np.float64)
    rng = np.random.default_rng(seed)
    return float(np.mean([calibration(stated, rng.random(len(stated)) < stated, bins).error for _ in range(draws)]))
