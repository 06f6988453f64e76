"""What a step from one model to another costs: the mean over parameters of the log of the squared distance of a layer.

Along an edge of the tree let the difference be Gaussian with a variance of its own in every layer, unknown and
independent of all other edges. The likelihood of a tree, with its variances at their maximum, is then
-1/2 sum_edges sum_layers n log(||difference||² / n), so the likeliest tree is the minimum spanning tree of
sum_layers n log ||difference||². One layer that moves far, or a drift that siblings share in a few layers, does not
drown the others, as it does in the plain sum of squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lineage.family import FamilyMeasures
from lineage.pruned import FEWEST, common_elements

FLOOR = 0.01  # of a layer's median squared step: a layer that hardly moved counts like one that did not move at all
_SAMPLE = 1 << 16


@dataclass(frozen=True)
class Steps:
    """Of all pairs of n members; (n, n), symmetric, inf where a pair has no layer in common or was not measured."""

    cost: NDArray[np.float64]  # mean over parameters of log squared step; comparable between pairs, of any sign
    squared: NDArray[np.float64]  # squared distance over common elements, scaled to all elements


def steps(measures: FamilyMeasures, members: Sequence[int], compared: NDArray[np.bool_]) -> Steps:
    """Measure the steps between members over the layers `compared` (L, n), see `lineage.cluster.compared_layers`."""
    chosen = list(members)
    shape = (len(chosen), len(chosen))
    cost, weight, squared, elements = (np.zeros(shape) for _ in range(4))
    largest = 0
    for layer in np.flatnonzero(compared.any(axis=1)):
        both = compared[layer][:, None] & compared[layer]
        common = common_elements(measures, int(layer), chosen)
        squared[both & np.isnan(common.squared_distance)] = np.inf
        size = measures.layers[layer].size
        told = both & (common.elements >= min(FEWEST, size))
        np.fill_diagonal(told, False)
        step = np.where(told, common.squared_distance, 0.0) / np.maximum(common.elements, 1.0)
        typical = _typical(step[told & np.isfinite(step)])
        counted = float(common.elements[told].mean()) if told.any() else 0.0
        if typical > 0:
            cost += np.where(told, counted * np.log(np.nan_to_num(step) / typical + FLOOR), 0.0)
        elif told.any():
            cost += np.where(told, counted * np.log(FLOOR), 0.0)
        squared += np.where(told, step * size, 0.0)
        weight += np.where(told, counted, 0.0)
        elements += np.where(told, size, 0)
        largest += size
    known = (weight > 0) & np.isfinite(squared)
    cost = np.divide(cost, weight, out=np.full(shape, np.inf), where=known)
    # Where pairs are summed over different layers, all are brought to the size of the largest sum.
    squared = np.divide(squared * largest, elements, out=np.full(shape, np.inf), where=known)
    np.fill_diagonal(squared, 0.0)
    np.fill_diagonal(cost, np.inf)
    return Steps(cost, squared)


def _typical(step: NDArray[np.float64]) -> float:
    """The median of those above zero, of evenly spaced ones where there are many; 0 where there is none."""
    moved = step[step > 0]
    return float(np.median(moved[:: 1 + len(moved) // _SAMPLE])) if len(moved) else 0.0
