"""What a score is worth in one tree, by what it says of its leaves.

Who is the parent of a leaf is known before any direction is asked: unless it is the root itself, the leaf is the child.
So leaves' edges show whether a score can be trusted here. Slopes cannot everywhere: what noise adds to a row is of
second order in the length of a step, and its sign is right; how much rows grow with their step is of first order, and
its skewness turns the sign of short steps where layers are few and rows unlike, as in MLPs, and of long ones after SGD.
Steps of one length err alike, so an edge is judged by the leaves whose steps are about as long.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

WIDTH = 1.0  # of the logs of lengths that are alike, as a standard deviation
_STEP = 0.05  # to which logs of lengths are rounded, so that time does not go with the square of the edges
BEFORE = 1.0  # leaves that are worth as much as what is known of the score from other trees, which is to trust it
EXPECTED = 1.5  # the score of a leaf that is as it should be, in standard deviations
_SHORTEST = 1e-6


def trusted(
    edges: Sequence[tuple[int, int]], scores: NDArray[np.float64], lengths: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(e,) how much a score counts on each edge (i, j) of a tree, within 0 .. 1; where no leaf tells, 1.

    `scores` (e,) are for "i is the parent of j", 0 where there is none; `lengths` (e,) are those of the steps. An edge
    has no say in its own case. Exchanging the two ends of edges, and the sign of their scores, changes nothing.
    """
    ends = np.array(edges, dtype=np.intp).reshape(-1, 2)
    _, place, number = np.unique(ends, return_inverse=True, return_counts=True)
    alone = (number[place] == 1).reshape(-1, 2)
    outward = (alone[:, 1].astype(np.float64) - alone[:, 0]) * scores  # 0 if neither end is a leaf, or both are
    logs = np.rint(np.log(np.maximum(lengths, _SHORTEST)) / _STEP)
    size, length = np.unique(logs, return_inverse=True)
    alike = np.exp(-(((size[:, None] - size) * _STEP / WIDTH) ** 2) / 2)
    told = outward != 0
    leaves = np.bincount(length, told, len(size))
    said = np.bincount(length, outward, len(size))
    own = np.where(told, 1.0, 0.0)
    number_alike = (alike @ leaves)[length] - own
    found: NDArray[np.float64] = (BEFORE + ((alike @ said)[length] - outward) / EXPECTED) / (BEFORE + number_alike)
    return np.clip(found, 0.0, 1.0)
