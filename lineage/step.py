"""What a step from one model to another costs: the mean over parameters of the log of the squared chord of a layer.

Along an edge of the tree let a child be its parent at a scale of its own in every layer, as decay leaves it, plus a
difference that is Gaussian with a variance of its own in every layer; all of them unknown and independent of all other
edges. The likelihood of a tree, with scales and variances at their maximum, is then -1/2 sum_edges sum_layers
n log sin²(angle) and what is the same for all trees of one root, so the likeliest tree is the minimum spanning tree of
sum_layers n log of the squared chord (chord.py). One layer that moves far, or a drift that siblings share in a few
layers, does not drown the others, as it does in the plain sum of squares.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lineage.chord import norm_ratios, squared_chords, usual_norms
from lineage.family import FamilyMeasures
from lineage.pruned import FEWEST, common_elements

FLOOR = 0.01  # of a layer's median squared step: a layer that hardly moved counts like one that did not move at all
_SAMPLE = 1 << 16


@dataclass(frozen=True)
class Steps:
    """Of all pairs of n members; (n, n), symmetric, inf where a pair has no layer in common or was not measured."""

    cost: NDArray[np.float64]  # mean over parameters of log squared chord; comparable between pairs, of any sign
    squared: NDArray[np.float64]  # squared distance over common elements, scaled to all elements
    chord: NDArray[np.float64]  # the same of members brought to one norm in every layer, see `lineage.chord`
    norms: NDArray[np.float64]  # (n,) squared norms of members so brought to one, scaled alike


def steps(measures: FamilyMeasures, members: Sequence[int], compared: NDArray[np.bool_]) -> Steps:
    """Measure the steps between members over the layers `compared` (L, n), see `lineage.cluster.compared_layers`."""
    chosen = list(members)
    shape = (len(chosen), len(chosen))
    cost, weight, squared, chord, elements = (np.zeros(shape) for _ in range(5))
    usual = usual_norms(measures, chosen, compared)
    ratios = norm_ratios(measures, chosen, usual)
    largest = 0
    for layer in np.flatnonzero(compared.any(axis=1)):
        both = compared[layer][:, None] & compared[layer]
        common = common_elements(measures, int(layer), chosen)
        squared[both & np.isnan(common.squared_distance)] = np.inf
        size = measures.layers[layer].size
        told = both & (common.elements >= min(FEWEST, size))
        np.fill_diagonal(told, False)
        told_of = common.missed * (size / np.maximum(common.elements, 1.0))  # all elements, as if none were pruned
        levelled = squared_chords(measures, int(layer), chosen, common, ratios[layer])
        step = np.where(told, levelled * told_of, 0.0) / size
        typical = _typical(step[told & np.isfinite(step)])
        counted = float(common.elements[told].mean()) if told.any() else 0.0
        if typical > 0:
            cost += np.where(told, counted * np.log(np.nan_to_num(step) / typical + FLOOR), 0.0)
        elif told.any():
            cost += np.where(told, counted * np.log(FLOOR), 0.0)
        squared += np.where(told, common.squared_distance * told_of, 0.0)
        chord += step * size
        weight += np.where(told, counted, 0.0)
        elements += np.where(told, size, 0)
        largest += size
    known = (weight > 0) & np.isfinite(squared)
    cost = np.divide(cost, weight, out=np.full(shape, np.inf), where=known)
    # Where pairs are summed over different layers, all are brought to the size of the largest sum.
    squared, chord = (
        np.divide(sums * largest, elements, out=np.full(shape, np.inf), where=known) for sums in (squared, chord)
    )
    np.fill_diagonal(squared, 0.0)
    np.fill_diagonal(chord, 0.0)
    np.fill_diagonal(cost, np.inf)
    return Steps(cost, squared, chord, _norms(measures, usual, compared))


def _norms(measures: FamilyMeasures, usual: NDArray[np.float64], compared: NDArray[np.bool_]) -> NDArray[np.float64]:
    sizes = np.array([layer.size for layer in measures.layers], dtype=np.float64)
    elements, norms = sizes @ compared, np.square(np.nan_to_num(usual)) @ compared
    scaled: NDArray[np.float64] = np.divide(
        norms * elements.max(initial=0.0), elements, out=np.full(len(norms), np.nan), where=elements > 0
    )
    return scaled


def _typical(step: NDArray[np.float64]) -> float:
    """The median of those above zero, of evenly spaced ones where there are many; 0 where there is none."""
    moved = step[step > 0]
    return float(np.median(moved[:: 1 + len(moved) // _SAMPLE])) if len(moved) else 0.0
