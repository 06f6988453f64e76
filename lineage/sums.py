"""Sums of pairs' numbers over layers, one layer in memory at a time.

A tree's skeleton asks only for sums over layers; numbers of single layers matter at the tree's edges alone. So layers
are passed twice: once to be summed, and once to be read at n - 1 pairs. A layer's pairs are condensed: (0, 1), (0, 2),
.. (n - 2, n - 1), as scipy has it; a sum of 10,000 members then takes 0.4 GB in float64, however many layers there are.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineage.packed import condensed_place, fill_upper

Floats = NDArray[np.floating[Any]]


def summed(layers: Iterable[Floats]) -> NDArray[np.float64]:
    """The sum of condensed pairs over layers, in float64. NaN, a pair that lacks a layer, stays. ValueError if none."""
    total: NDArray[np.float64] | None = None
    for layer in layers:
        if total is None:
            total = layer.astype(np.float64)
        else:
            total += layer
    if total is None:
        raise ValueError("there is no layer to sum")
    return total


def square(condensed: Floats, members: int, diagonal: float = 0.0) -> NDArray[np.float32]:
    """(members, members) symmetric float32; what is not measured (NaN) becomes inf."""
    found = np.empty((members, members), dtype=np.float32)
    fill_upper(found, condensed)
    np.copyto(found, np.inf, where=np.isnan(found))
    for start in range(0, members, _BLOCK):  # in blocks: a transpose as a whole would be read against the grain
        stop = min(members, start + _BLOCK)
        for across in range(start, members, _BLOCK):
            end = min(members, across + _BLOCK)
            found[across:end, start:stop] = (
                found[start:stop, across:end].T
                if across > start
                else np.triu(found[start:stop, start:stop], 1) + np.triu(found[start:stop, start:stop], 1).T
            )
    np.fill_diagonal(found, diagonal)
    return found


_BLOCK = 512


def at_pairs(layers: Iterable[Floats], members: int, pairs: NDArray[np.intp]) -> NDArray[np.float64]:
    """(layers, e) of each layer's condensed numbers those at (e, 2) pairs."""
    place = condensed_place(members, pairs.min(axis=1), pairs.max(axis=1))
    rows = [layer[place].astype(np.float64) for layer in layers]
    return np.array(rows).reshape(-1, len(pairs))


def relative(squared: NDArray[np.float32], norms: Floats) -> NDArray[np.float32]:
    """(n, n) ||u - v|| / sqrt(||u||² + ||v||²), row by row, from squared distances and (n,) squared norms."""
    found = np.empty_like(squared)
    for row, distances in enumerate(squared):
        both = norms[row] + norms
        zero = np.where(distances > 0, np.inf, 0.0)
        found[row] = np.sqrt(np.divide(distances, both, out=zero, where=both > 0))
    return found
