"""What the detector knows of single models, and how steadily the layers of two speak for a direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtr

from lineage.direction import ALONE, STEADIEST, UNLIKE
from lineage.family import FamilyMeasures, LayerKind

Floats = NDArray[np.float64]

STEADY = ("slope", "kurtosis", "norm", "vectors", "start", "gain")
_SCALE = 0.5  # a vector whose mean is above is a scale and began at 1; below, a bias that began at 0


@dataclass(frozen=True)
class Logs:
    """Of each member: numbers whose differences are odd features; (t, N) unless said otherwise."""

    norm: Floats
    kurtosis: Floats
    variance: Floats
    start: Floats
    zeros: Floats
    outliers: Floats
    all_zeros: Floats  # (N,) share of zeros over the trunk
    form: Floats  # (L, N) of bf16, fp16, fp32 ...: the network was trained without the form that two of them hold
    mean_form: Floats  # (N,)

    @staticmethod
    def of(measures: FamilyMeasures, layers: NDArray[np.intp]) -> Logs:
        """The numbers of all members, those by layer of these layers."""
        count = np.maximum(measures.count, 1)
        vector = np.array([layer.kind is LayerKind.VECTOR for layer in measures.layers])[:, None]
        trunk = np.array([layer.kind is LayerKind.TRUNK for layer in measures.layers])
        mean = np.sqrt(np.maximum(measures.squared_norm / count - measures.variance, 0.0))
        start = measures.variance + (mean - (mean > _SCALE)) ** 2
        form = np.where(measures.form >= 0, measures.form - (measures.form > 0), -1).astype(np.float64)
        known = (form[trunk] >= 0).sum(axis=0)
        return Logs(
            _log(measures.squared_norm)[layers],
            _log(measures.kurtosis)[layers],
            _log(measures.variance)[layers],
            np.where(vector, _log(start), 0.0)[layers],
            (measures.zeros / count)[layers],
            np.arcsinh(1e3 * measures.outliers / count)[layers],
            measures.zeros[trunk].sum(axis=0) / np.maximum(measures.count[trunk].sum(axis=0), 1),
            form,
            np.maximum(form[trunk], 0.0).sum(axis=0) / np.maximum(known, 1),
        )


def steadiness_of_all(measures: FamilyMeasures, layers: NDArray[np.intp], logs: Logs) -> Floats:
    """(len(STEADY), N, N) antisymmetric: how steadily layers say "i is the parent of j" (`lineage.direction`)."""
    size = len(measures.members)
    found = np.zeros((len(STEADY), size, size))
    kinds = [measures.layers[layer].kind for layer in layers]
    trunk, vector = (
        np.array([kind is LayerKind.TRUNK for kind in kinds]),
        np.array([k is LayerKind.VECTOR for k in kinds]),
    )
    for i in range(size - 1):
        to = slice(i + 1, size)
        squared = measures.squared_distance[layers, i, to]
        moved = squared > 0
        alike = moved & trunk[:, None] & (np.abs(logs.zeros[:, to] - logs.zeros[:, [i]]) <= UNLIKE)
        vectors = moved & vector[:, None]
        norms = measures.squared_norm[layers]
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = (norms[:, to] - norms[:, [i]]) / squared
        values = {
            "slope": (measures.slope[layers, i, to].astype(np.float64), alike),
            "kurtosis": (logs.kurtosis[:, [i]] - logs.kurtosis[:, to], alike),
            "norm": (logs.norm[:, to] - logs.norm[:, [i]], alike),
            "vectors": (logs.variance[:, to] - logs.variance[:, [i]], vectors),
            "start": (logs.start[:, to] - logs.start[:, [i]], vectors),
            "gain": (np.arcsinh(gain), alike),
        }
        for place, name in enumerate(STEADY):
            value, used = values[name]
            row = _steadiness(np.where(used, value, np.nan))
            found[place, i, to] = row
            found[place, to, i] = -row
    return found


def _steadiness(values: Floats) -> Floats:
    """(p,) `lineage.direction.steadiness` of every column of (t, p), NaN left out."""
    known = np.isfinite(values)
    number = known.sum(axis=0)
    filled = np.where(known, values, 0.0)
    mean = filled.sum(axis=0) / np.maximum(number, 1)
    spread = np.where(known, (values - mean) ** 2, 0.0).sum(axis=0) / np.maximum(number - 1, 1)
    error = np.sqrt(spread / np.maximum(number, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        tail = stdtr(np.maximum(number - 1, 1), -np.abs(mean) / np.where(error > 0, error, 1.0))
        deviate = np.minimum(STEADIEST, -ndtri(tail))
    deviate = np.where(error > 0, deviate, STEADIEST)
    found: Floats = np.sign(mean) * np.where(number < 2, ALONE, deviate)
    return np.where(number > 0, found, 0.0)


def _log(values: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log(values)
    return np.where(np.isfinite(found), found, np.nan)
