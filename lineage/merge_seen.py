"""What a search for merges looks at: distances of members by trunk layer, over the layers that all of them have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lineage.cluster import trunk_layers
from lineage.family import FamilyMeasures

Floats = NDArray[np.float64]

_SHARED = 0.9  # of the members have a layer that is compared; where that leaves too little of the trunk, half of them
_EXACT = 1e-12  # of the squared norm: below it a residual is float32's rounding, or that of the sums
_FLOAT32 = 2.0**-23.5 / 12**0.5  # relative rounding error, root mean square


@dataclass(frozen=True)
class Seen:
    """Squared distances of n members by trunk layer, over the layers that all of them have."""

    members: tuple[int, ...]  # positions in the family
    layers: tuple[int, ...]  # l of them
    sizes: Floats  # (l,) elements
    by_layer: Floats  # (l, n, n)
    norms: Floats  # (l, n) squared
    total: Floats  # (n, n)
    rounding: Floats  # (n,) the squared distance that rounding alone may give
    slope: Floats  # (n, n) mean slope evidence: [i, j] > 0 says "i is the parent of j", 0 nothing


def see(measures: FamilyMeasures, members: Sequence[int], rounding: Floats | None = None) -> Seen | None:
    """What a search for merges looks at; None if too little can be compared.

    Layers are those that most members have, members those that have all of these and no unmeasured pair.
    """
    chosen = np.array(list(members), dtype=np.intp)
    if len(chosen) < 3:
        return None
    has = trunk_layers(measures, list(chosen))
    sizes = np.array([layer.size for layer in measures.layers], dtype=np.float64)
    layers = np.flatnonzero(has.mean(axis=1) >= _SHARED)
    if sizes[layers].sum() < 0.5 * sizes[has.any(axis=1)].sum():
        layers = np.flatnonzero(has.mean(axis=1) >= 0.5)
    chosen = chosen[has[layers].all(axis=0)]
    if len(chosen) < 3 or not len(layers):
        return None
    by_layer = measures.squared_distance[np.ix_(layers, chosen, chosen)]
    total: Floats = by_layer.sum(axis=0)
    norms = measures.squared_norm[np.ix_(layers, chosen)]
    relative = np.full(len(chosen), _FLOAT32) if rounding is None else rounding[chosen]
    floor = (_EXACT + 4 * relative**2) * norms.sum(axis=0)
    if not np.isfinite(total).all():
        return None
    slopes = measures.slope[np.ix_(layers, chosen, chosen)]
    known = np.isfinite(slopes)
    slope = np.where(known, slopes, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return Seen(tuple(map(int, chosen)), tuple(map(int, layers)), sizes[layers], by_layer, norms, total, floor, slope)
