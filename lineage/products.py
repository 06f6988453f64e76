"""Inner products of all models of a block, centred and piece by piece, in one compiled pass.

A piece of every model is decoded to float64, centred on its leader (`lineage.pairs`), and multiplied with the others
while it is in the processor's cache. Before it is centred, what each model loses where another is exactly zero is
summed: nothing of it unless there are zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lineage.compiled import compiled
from lineage.decoding import decode, width_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lineage.decoding import Rows
    from lineage.pairs import Centres

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

LARGEST = 1e60  # numbers beyond it are none: a power of four of it still leaves room for sums
_CACHED = 1 << 16  # float64 numbers that a core's second cache holds
_SHORTEST, _LONGEST = 256, 1024  # elements of each model in a piece


@dataclass(frozen=True, eq=False)
class Products:
    """Sums over a block of n models, the first m of which are new."""

    gram: Floats  # (m, n) inner products of the centred models
    squares: Floats  # (n,) those with themselves
    lost: Floats | None  # (n, n) [i, j]: squares of i where j is zero, one of them new; None: there are no zeros
    bad: Flags  # (n,) holds numbers that are none; its own numbers and products are 0 in such pieces


def piece(models: int) -> int:
    """Elements of each model that are computed on at once."""
    return min(_LONGEST, max(_SHORTEST, _CACHED // max(1, models) // _SHORTEST * _SHORTEST))


def products(rows: Rows, members: int, centres: Centres, scratch: Floats) -> Products:
    """Of a block's rows; `scratch` has room for piece(n) numbers of each."""
    models = len(rows.at)
    gram, squares = np.zeros((members, models)), np.zeros(models)
    lost, bad = np.zeros((models, models)), np.zeros(models, dtype=np.bool_)
    zeros = _add(
        rows.data,
        rows.at,
        rows.code,
        rows.count,
        centres.of,
        centres.root,
        scratch,
        gram,
        squares,
        lost,
        bad,
    )
    squares[:members] = np.diagonal(gram)
    upper = np.triu(gram[:, :members])
    gram[:, :members] = upper + np.triu(upper, 1).T
    return Products(gram, squares, lost if zeros else None, bad)


@compiled
def _add(
    data: NDArray[np.uint8],
    at: NDArray[np.int64],
    code: NDArray[np.int64],
    count: int,
    of: NDArray[np.int64],
    root: int,
    scratch: Floats,
    gram: Floats,
    squares: Floats,
    lost: Floats,
    bad: Flags,
) -> bool:
    """Add a block's sums; whether there are zeros. Of `gram` what lies below the diagonal is left undefined."""
    members, models = gram.shape
    step = len(scratch) // models
    places = np.empty(step, dtype=np.int64)
    zeros = False
    for first in range(0, count, step):
        size = min(step, count - first)
        values = scratch[: models * size]  # one row after the other: only then are loops taken several at a time
        for row in range(models):
            width = width_of(code[row])
            here = _row(values, size, row)
            decode(data, at[row] + first * width, code[row], size, here)
            if not _usable(here):
                bad[row] = True
                here[:] = 0.0
        for row in range(models):
            none = 0 if bad[row] else _zeros(_row(values, size, row), places)
            if none:
                zeros = True
                for other in range(models if row < members else members):
                    lost[other, row] += _squares_at(_row(values, size, other), _row(values, size, row), places[:none])
        _centre(values, size, of, root)
        multiply(values, size, gram)
        for row in range(members, models):
            squares[row] += dot(_row(values, size, row), _row(values, size, row))
    return zeros


@compiled
def _row(values: Floats, size: int, row: int) -> Floats:
    return values[row * size : (row + 1) * size]


@compiled
def _usable(values: Floats) -> bool:
    """Whether all numbers are such, and not too large for their fourth powers."""
    total = 0.0
    for i in range(len(values)):
        total += values[i] * values[i]
    if total <= LARGEST:  # the usual case
        return True
    usable = 0
    for i in range(len(values)):
        usable += 1 if abs(values[i]) <= LARGEST else 0
    return usable == len(values)


@compiled
def _zeros(values: Floats, places: NDArray[np.int64]) -> int:
    """Write where the zeros are; return how many there are."""
    found = 0
    for i in range(len(values)):
        found += 1 if values[i] == 0.0 else 0
    if found:
        found = 0
        for i in range(len(values)):
            if values[i] == 0.0:
                places[found] = i
                found += 1
    return found


@compiled
def _squares_at(values: Floats, zeros: Floats, places: NDArray[np.int64]) -> float:
    """The sum of squares where the other is zero: at the places, or by looking at all where that is faster."""
    total = 0.0
    if len(places) * 8 < len(values):
        for i in range(len(places)):
            total += values[places[i]] * values[places[i]]
    else:
        for i in range(len(values)):
            total += values[i] * values[i] if zeros[i] == 0.0 else 0.0
    return total


@compiled
def _centre(values: Floats, size: int, of: NDArray[np.int64], root: int) -> None:
    """Subtract from each row its leader, from the leaders the root, and the root from itself."""
    for row in range(len(of)):
        if of[row] != row:
            _subtract(_row(values, size, row), _row(values, size, of[row]))
    for row in range(len(of)):
        if of[row] == row and row != root:
            _subtract(_row(values, size, row), _row(values, size, root))
    _row(values, size, root)[:] = 0.0


@compiled
def _subtract(values: Floats, other: Floats) -> None:
    for i in range(len(values)):
        values[i] -= other[i]


@compiled
def dot(one: Floats, another: Floats) -> float:
    """The inner product of two vectors."""
    total = 0.0
    for i in range(len(one)):
        total += one[i] * another[i]
    return total


@compiled
def multiply(values: Floats, size: int, gram: Floats) -> None:
    """Add inner products of the first rows with themselves and those behind, three by four at a time: from registers.

    Rows and columns that are left over are multiplied one by one.
    """
    members, models = gram.shape
    found = np.empty((3, 4))
    for row in range(0, members, 3):
        rows = min(3, members - row)
        column = row
        while rows == 3 and column + 4 <= models:
            _three_by_four(values[row * size : (row + 3) * size], values[column * size : (column + 4) * size], found)
            gram[row : row + 3, column : column + 4] += found
            column += 4
        for one in range(row, row + rows):
            for other in range(column, models):
                gram[one, other] += dot(_row(values, size, one), _row(values, size, other))


@compiled
def _three_by_four(three: Floats, four: Floats, into: Floats) -> None:
    size = len(three) // 3
    a, b, c = three[:size], three[size : 2 * size], three[2 * size :]
    w, x, y, z = four[:size], four[size : 2 * size], four[2 * size : 3 * size], four[3 * size :]
    r0, r1, r2, r3, s0, s1, s2, s3, t0, t1, t2, t3 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(size):
        one, two, third = a[i], b[i], c[i]
        value = w[i]
        r0 += one * value
        s0 += two * value
        t0 += third * value
        value = x[i]
        r1 += one * value
        s1 += two * value
        t1 += third * value
        value = y[i]
        r2 += one * value
        s2 += two * value
        t2 += third * value
        value = z[i]
        r3 += one * value
        s3 += two * value
        t3 += third * value
    into[0, 0], into[0, 1], into[0, 2], into[0, 3] = r0, r1, r2, r3
    into[1, 0], into[1, 1], into[1, 2], into[1, 3] = s0, s1, s2, s3
    into[2, 0], into[2, 1], into[2, 2], into[2, 3] = t0, t1, t2, t3
