"""Weights in int8 with a scale for each row, as bitsandbytes stores them (LLM.int8(), Dettmers et al., 2022).

An element stands for int8 * scale[row] / 127, where the scale is the row's largest magnitude. It is decoded as the
product, in float32, of the integer and the row's step, scale / 127: so all values of a row are multiples of one number,
each rounded once, and equal integers under equal scales are equal numbers. (int8 * scale) / 127 rounds every element
twice and is as near to what was meant; the two differ in the last bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lineage.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECODED = "F32"  # the type of the values, as of the scales
_LARGEST = np.float32(127)  # the integer that stands for a row's largest magnitude


def steps(scales: NDArray[np.float32]) -> NDArray[np.float32]:
    """(m,) the steps of the rows with these scales. Raises ValueError where some are no magnitudes."""
    wrong = np.flatnonzero(~((scales >= 0) & (scales < np.inf)))
    if len(wrong):
        first = wrong[0]
        what = f"{len(wrong)} of {len(scales)} scales, first that of row {first}"
        raise ValueError(f"NaN, infinite or negative: {what} ({scales[first]})")
    return scales / _LARGEST


@compiled
def decode(
    stored: NDArray[np.int8], start: int, columns: int, step: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """Write into (n,) `out` what elements [start, start + n) of a matrix of so many columns stand for."""
    count = len(stored)
    at = 0
    while at < count:
        row = (start + at) // columns
        stop = min(count, (row + 1) * columns - start)
        here, there, own = stored[at:stop], out[at:stop], step[row]
        for i in range(len(here)):
            there[i] = np.float32(here[i]) * own
        at = stop


def decode_transposed(
    stored: NDArray[np.int8], start: int, step: NDArray[np.float32], out: NDArray[np.float32]
) -> None:
    """The same of a matrix whose columns have the steps, one each: elements [start, start + n) row by row."""
    columns = len(step)
    own = np.resize(np.roll(step, -(start % columns)), len(stored))
    np.multiply(stored.astype(np.float32), own, out=out)


def stretch_of_transposed(stored: NDArray[np.int8], columns: int, start: int, count: int) -> NDArray[np.int8]:
    """Elements [start, start + count), row by row, of a matrix that is `stored` (columns * rows,) column by column."""
    first, last = start // columns, -(-(start + count) // columns)
    rows = stored.reshape(columns, -1)[:, first:last].T
    return np.ascontiguousarray(rows).reshape(-1)[start - first * columns :][:count]


def usual_step(step: NDArray[np.float32], rows: int) -> NDArray[np.float32]:
    """(rows,) what rounding does to every row of a matrix whose columns have the steps: their root mean square."""
    return np.full(rows, np.sqrt(np.mean(step.astype(np.float64) ** 2)), dtype=np.float32)
