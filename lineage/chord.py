"""Squared distances between members that are brought to one norm in every layer: chords of the angles between them.

Weight decay takes a share of what there was: a child is (1 - decay) times its parent, plus its own step, and siblings
that decayed alike may lie nearer to one another than to their parent. With a free scale s in every layer, beside a free
variance, the likelihood of a child c of p rests on the least ||c - s p||², which is ||c||² sin² of the angle between
the two. Of a whole tree that is a sum over edges that no longer has a direction, plus one over all members but the
root: so its edges are those of the minimum spanning tree of log sin². The chord, 2 - 2 cos, is the same for steps as
short as fine-tunes', and is a distance: angles between steps of members so brought to one norm are those of a triangle,
and no decay is seen in them. What it costs is one number in each layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lineage.family import FamilyMeasures
from lineage.pruned import SPARSE, CommonElements


def usual_norms(measures: FamilyMeasures, members: Sequence[int], has: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(L,) the norm that each layer is brought to: the median of those `has` (L, n) names that are not sparse there.

    NaN where that is nobody, or zero.
    """
    dense = has & _dense(measures, members)
    norms = np.sqrt(np.nan_to_num(measures.squared_norm[:, list(members)]))
    usual = [float(np.median(own[here])) if here.any() else 0.0 for own, here in zip(norms, dense, strict=True)]
    return np.array([norm if norm > 0 else np.nan for norm in usual])


def norm_ratios(measures: FamilyMeasures, members: Sequence[int], usual: NDArray[np.float64]) -> NDArray[np.float64]:
    """(L, n) norms over the usual ones (L,); 1 of members that are sparse in a layer, whose norm pruning changed."""
    norms = np.sqrt(np.nan_to_num(measures.squared_norm[:, list(members)]))
    told = _dense(measures, members) & (norms > 0) & np.isfinite(usual)[:, None]
    return np.divide(norms, usual[:, None], out=np.ones_like(norms), where=told)


def squared_chords(
    measures: FamilyMeasures, layer: int, chosen: Sequence[int], common: CommonElements, ratios: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n, n) squared distances of `common`, of members whose norms there are brought to one; `ratios` (n,) over it.

    (D² - (|x| - |y|)²) / (ratio of x times ratio of y), which loses no digits where the two are near. Of estimates no
    less than their error is left. A member of zeros has no direction: its distances stay as they are.
    """
    squared = common.squared_distance
    norms = np.sqrt(common.squared_norm)
    left = np.maximum(squared - np.square(norms - norms.T), 0.0)
    if measures.estimated is not None and measures.estimate_error is not None:
        here = measures.estimated[np.ix_(list(chosen), list(chosen))]
        left = np.where(here, np.maximum(left, measures.estimate_error[layer] * squared), left)
    left = np.where((norms > 0) & (norms.T > 0), left, squared)
    found: NDArray[np.float64] = left / (ratios[:, None] * ratios)
    return found


def _dense(measures: FamilyMeasures, members: Sequence[int]) -> NDArray[np.bool_]:
    """(L, n) where no more than the share SPARSE of a layer is zero."""
    rows = list(members)
    found: NDArray[np.bool_] = measures.zeros[:, rows] <= SPARSE * measures.count[:, rows]
    return found
