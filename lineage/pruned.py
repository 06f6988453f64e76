"""Distances of pruned members: taken over the elements that are zero in neither of the two.

Pruning adds to every distance the mass of what it removed, alike for near and far, and drowns the steps of training.
`FamilyMeasures.lost` has that mass: lost[l, i, j] is the sum of x_i² over the elements where x_j is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from lineage.family import FamilyMeasures, LayerKind

SPARSE = 0.2  # share of zeros in a layer from which on it counts as pruned; int8 rounds 1 % and more to zero
FEWEST_COMMON = 0.1
FEWEST = 16  # common elements in which two layers are compared
LOST_ROUNDING = 2e-7  # of a lost mass, which is stored in single precision


@dataclass(frozen=True)
class CommonElements:
    """Of one layer, for each pair of n members: over the elements that are zero in neither; all (n, n)."""

    squared_distance: NDArray[np.float64]  # symmetric
    elements: NDArray[np.float64]  # their number, estimated where both are sparse; symmetric
    squared_norm: NDArray[np.float64]  # [i, j]: of i over those that it has in common with j
    missed: NDArray[
        np.float64
    ]  # mean square of a step before pruning over that of these elements, at least 1; symmetric


def lost_mass(measures: FamilyMeasures, layer: int, chosen: Sequence[int]) -> NDArray[np.float64] | None:
    """(n, n): sums of x_i² over the elements where x_j is 0; None where no member's layer is sparse, or unmeasured."""
    here = list(chosen)
    count = measures.count[layer, here]
    if measures.lost is None or not (measures.zeros[layer, here] > SPARSE * count).any():
        return None
    mass: NDArray[np.float64] = np.nan_to_num(measures.lost[layer][np.ix_(here, here)].astype(np.float64), nan=0.0)
    return mass


def zero_share(measures: FamilyMeasures, chosen: Sequence[int]) -> NDArray[np.float64]:
    """(n,) share of zeros in the trunk of each."""
    trunk = [at for at, layer in enumerate(measures.layers) if layer.kind is LayerKind.TRUNK]
    rows = np.ix_(trunk, list(chosen))
    share: NDArray[np.float64] = measures.zeros[rows].sum(axis=0) / np.maximum(measures.count[rows].sum(axis=0), 1)
    return share


def bare(measures: FamilyMeasures, chosen: Sequence[int]) -> NDArray[np.bool_]:
    """(n,) who has no trunk layer of which enough is left to compare: a model of zeros, or pruned to next to nothing.

    What the sparser of two lost is forgiven. Of such a one that is all, so that it would seem at no distance from
    anybody, and make one tree of strangers.
    """
    trunk = [at for at, layer in enumerate(measures.layers) if layer.kind is LayerKind.TRUNK]
    rows = np.ix_(trunk, list(chosen))
    count, zeros = measures.count[rows], measures.zeros[rows]
    kept = np.where(zeros > SPARSE * count, count - zeros, count)
    enough = (count > 0) & (kept >= np.minimum(FEWEST, count))
    found: NDArray[np.bool_] = np.asarray((count > 0).any(axis=0) & ~enough.any(axis=0))
    return found


def common_elements(measures: FamilyMeasures, layer: int, chosen: Sequence[int]) -> CommonElements:
    """The layer's squared distances between `chosen` over common elements, and how many those are."""
    here = list(chosen)
    squared = measures.squared_distance[layer][np.ix_(here, here)]
    count = measures.count[layer, here].astype(np.float64)
    lost = lost_mass(measures, layer, here)
    norms = np.nan_to_num(measures.squared_norm[layer, here])
    if lost is None:
        own = np.broadcast_to(norms[:, None], squared.shape)
        return CommonElements(squared, np.minimum(count[:, None], count[None, :]), own, np.ones_like(squared))
    kept = squared - lost - lost.T
    kept = np.where((lost + lost.T > 0) & (kept < LOST_ROUNDING * (lost + lost.T)), 0.0, kept)
    zeros = measures.zeros[layer, here]
    number = _common_number(count, zeros, norms, lost)
    own = np.maximum(norms[:, None] - lost, 0.0)
    known = np.where(np.isnan(squared), np.nan, kept)
    return CommonElements(known, number, own, _missed(count, zeros, number))


def _missed(count: NDArray[np.float64], zeros: NDArray[np.int64], number: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, n) the mean square of a step over that of the `number` of elements that both have kept; 1 where one is dense.

    An element crosses a threshold the likelier the longer its step. So the share f that one of two has kept and the
    other lost moved by twice the mean square (E|x|³ / E|x| of a normal x), and those that stay by 1 - f of it. Unseen,
    that made a pruned sibling who hardly moved nearer to everybody pruned than their dense parent is. Beside a dense
    model there is nothing to make up for: those that came to be kept moved more, and so did those that went.
    """
    kept, sparse = count - zeros, zeros > SPARSE * count
    fewer = np.minimum(kept[:, None], kept[None, :])
    stay = np.divide(number, fewer, out=np.ones_like(number), where=sparse[:, None] & sparse & (fewer > 0))
    missed: NDArray[np.float64] = 1 / np.minimum(stay, 1.0)
    return missed


def _common_number(
    count: NDArray[np.float64], zeros: NDArray[np.int64], norms: NDArray[np.float64], lost: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n, n) how many elements are zero in neither.

    Those that the sparser of two keeps and the other has lost lie just above its threshold, so their number is the
    lost mass over the squared threshold. That is read off the kept mass, taking weights for normal.
    """
    kept = count - zeros
    share = zeros / np.maximum(count, 1.0)
    threshold = _threshold_share(share) * norms / np.maximum(kept, 1.0)
    flips = np.divide(
        lost, threshold[:, None], out=np.zeros_like(lost), where=((share > SPARSE) & (threshold > 0))[:, None]
    )
    seen = kept[:, None] - np.minimum(flips, zeros[None, :])  # from the side of the first
    sparser = kept[:, None] - kept[None, :]
    number = np.where(sparser < 0, seen, np.where(sparser > 0, seen.T, (seen + seen.T) / 2))
    return np.maximum(number, FEWEST_COMMON * np.minimum(kept[:, None], kept[None, :]))


def _threshold_share(share: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared threshold over the mean square of what is kept, where this share of normal values is cut off."""
    share = np.clip(share, 1e-6, 1 - 1e-6)
    threshold = norm.ppf(0.5 + share / 2)
    found: NDArray[np.float64] = threshold**2 / (1 + 2 * threshold * norm.pdf(threshold) / (1 - share))
    return found


def forgiven_mass(measures: FamilyMeasures, layer: int, chosen: Sequence[int]) -> NDArray[np.float64] | None:
    """(n, n) symmetric: what the denser of two has where the sparser is zero; None where no member is sparse.

    What the sparser has and the denser lacks is not forgiven: strangers pruned to few elements share hardly any, and
    must not seem alike for those few.
    """
    lost = lost_mass(measures, layer, chosen)
    if lost is None:
        return None
    zeros = measures.zeros[layer, list(chosen)]
    sparser = zeros[:, None] - zeros[None, :]
    return np.where(sparser > 0, lost.T, np.where(sparser < 0, lost, np.maximum(lost, lost.T)))
