"""What is measured of a layer as it is stored: numbers of each member of a batch, and packed numbers of pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from lineage.digest import FORMS
from lineage.packed import pack

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lineage.layer import LayerMeasures

_LARGEST = float(np.finfo(np.float32).max)


def columns(
    found: LayerMeasures, sketch: NDArray[np.float64] | None, having: Sequence[int], new: int, members: int
) -> dict[str, Any]:
    """The stored columns: numbers of the members that have the layer, spread over all of a batch, `new` ones first."""
    mine = [index for index in having if index < new]

    def spread(values: NDArray[Any], fill: float) -> list[Any]:
        wide = np.full(new, fill, dtype=values.dtype)
        wide[mine] = values
        return list(wide.tolist())

    def spread_pairs(values: NDArray[Any], fill: float) -> bytes:
        wide = np.full((new, members), fill, dtype=values.dtype)
        wide[np.ix_(mine, having)] = values
        return pack(wide)

    digests = dict(zip(mine, found.digest, strict=True))
    sparse = found.lost.any() or found.lost_of.any()
    sketches = np.empty((new, 0))
    if sketch is not None:
        sketches = np.full((new, sketch.shape[1]), np.nan)
        sketches[mine] = sketch
    return {
        "count": spread(np.full(len(mine), found.count), 0),
        "zeros": spread(found.zeros, 0),
        **{
            name: spread(getattr(found, name), np.nan)
            for name in ("mean", "variance", "skewness", "kurtosis", "squared_norm", "minimum", "maximum")
        },
        "digest": [digests.get(index, b"") for index in range(new)],
        "outliers": spread(found.outliers, 0),
        "form": spread(np.array([FORMS.index(form) for form in found.form], dtype=np.int16), -1),
        "squared_distance": spread_pairs(found.squared_distance, np.nan),
        "lost": spread_pairs(_narrow(found.lost), 0) if sparse else b"",
        "lost_of": spread_pairs(_narrow(found.lost_of), 0) if sparse else b"",
        "equal": spread_pairs(found.equal, np.nan),
        "slope": spread_pairs(found.slope, np.nan),
        "rank": spread_pairs(found.rank, -1),
        "sketch": sketches.astype("<f8").tobytes(),
    }


def _narrow(squares: NDArray[np.float64]) -> NDArray[np.float32]:
    """In float32, whose largest number stands for what is beyond it."""
    return np.minimum(squares, _LARGEST).astype(np.float32)
