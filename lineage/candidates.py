"""Which older members new ones are measured against exactly: those that estimates from sketches place nearest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lineage.skeleton import spanning_tree
from lineage.sketch import estimates

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

_FAR = 4.0  # beyond any relative squared distance: of pairs that share no layer


class Estimated:
    """Squared distances of n members, estimated layer by layer."""

    def __init__(self, members: int) -> None:
        self._squared = np.zeros((members, members))
        self._norms = np.zeros((members, members))

    def add(self, sketches: NDArray[np.float64]) -> None:
        """Add a layer's (n, k) CountSketches, whose norms estimate the tensors'; NaN where one is missing."""
        norms = np.vecdot(sketches, sketches)
        both = norms[:, None] + norms[None, :]
        known = np.isfinite(both)
        self._squared += np.where(known, estimates(sketches, sketches), 0)
        self._norms += np.where(known, both, 0)

    def relative(self) -> NDArray[np.float64]:
        """(n, n) squared distances over the sums of squared norms, over the layers that both members have."""
        far = np.full(self._squared.shape, _FAR)
        np.divide(self._squared, self._norms, out=far, where=self._norms > 0)
        return far


def candidates(distance: NDArray[np.float64], new: Collection[int], neighbours: int) -> set[int]:
    """The members, not new themselves, that new ones are to be measured against.

    For each new one they are its `neighbours` nearest, and those that it is joined to in the minimum spanning tree of
    all: a new parent of many old children is joined to each of them.
    """
    fresh = np.zeros(len(distance), dtype=np.bool_)
    fresh[list(new)] = True
    chosen: set[int] = set()
    old = np.flatnonzero(~fresh)
    for one in np.flatnonzero(fresh).tolist():
        chosen.update(old[np.argsort(distance[one, old], kind="stable")[:neighbours]].tolist())
    for pair in spanning_tree(np.maximum(distance, distance.T)):
        if fresh[pair[0]] != fresh[pair[1]]:
            chosen.add(pair[1] if fresh[pair[0]] else pair[0])
    return chosen
