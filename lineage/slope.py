"""Slope constancy: which of two models is the other's parent, from the scatter of regression slopes.

A child is its parent, shrunk a little, plus noise: child = s * parent + noise. Regressed on its parent row by row and
column by column, the child's slopes agree; the parent's slopes on the child scatter with each row's signal-to-noise.
scatter(Y on X) = sum_r <x_r,y_r>^2 / <x_r,x_r> - (sum_r <x_r,y_r>)^2 / sum_r <x_r,x_r> is the weighted variance of the
slopes, and the evidence that i is the parent of j is log(scatter(i on j) / scatter(j on i)), rows and columns together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lineage.compiled import compiled
from lineage.products import dot, multiply

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WINDOW = 1 << 16  # elements of a layer that are looked at: cost and memory stay bounded for layers of any size
_FEWEST_ROWS = 16
_NO_SCATTER = 1e-13  # relative to the sum of products: below it the scatter is rounding
_PARTS = 16  # of a window, at most, that are computed side by side
_FEWEST_PARTS = 4
_SUMMED = 1 << 20  # pairs of all parts together that sums are kept of: 24 bytes each
_CACHED = 512  # elements of each model that are compared before the next are touched
_TINY = float(np.finfo(np.float64).tiny)

Mapped = Callable[[Callable[[int], None], int], object]


def _one_by_one(function: Callable[[int], None], count: int) -> None:
    for number in range(count):
        function(number)


def window(rows: int, columns: int, elements: int = WINDOW) -> tuple[int, int, int]:
    """The stretch of a (rows, columns) layer that slopes are taken from: its first element, and its shape as a matrix.

    It is the layer's middle, all of it where it is small. Rows that are too long for 16 of them are cut into pieces:
    one slope fits all of a layer, so any grouping of its elements does. It depends on the layer's shape alone, so that
    all members of a family are compared on the same elements (fewer than `elements` where that many models are in
    memory at once that the setting asks for fewer).
    """
    elements = min(elements, WINDOW)
    wide = min(columns, max(1, elements // _FEWEST_ROWS)) if rows * columns > elements else columns
    high = min(rows * columns, max(elements, wide)) // wide
    first = (rows * columns - high * wide) // 2
    return (first - first % wide if wide == columns else first), high, wide


def evidence(values: torch.Tensor, members: int, mapped: Mapped = _one_by_one) -> tuple[Floats, NDArray[np.float32]]:
    """(members, models) twice: [i, j] > 0 says that i is the parent of j; the share of elements that are equal.

    `values` is (models, rows, columns) float32 or float64; `members` come first among the models. NaN where a scatter
    vanishes (equal tensors, a single row and column). `mapped` computes parts of the window, perhaps several at once.
    """
    windows = values.numpy()
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):  # models that hold no numbers are among them
        of_rows = _summed(windows, members, mapped)
        of_columns = _summed(np.ascontiguousarray(windows.transpose(0, 2, 1)), members, mapped)
        a_on_b, b_on_a = _scatters(of_rows) + _scatters(of_columns)
        found = np.log(a_on_b / b_on_a)
    found[~np.isfinite(found)] = np.nan
    equal = _equal(windows.reshape(len(windows), -1), members, mapped)
    own, same = np.triu(found[:, :members], 1), np.triu(equal[:, :members], 1)
    found[:, :members], equal[:, :members] = own - own.T, same + same.T
    np.fill_diagonal(found, np.nan)
    np.fill_diagonal(equal, 1.0)
    return found, equal


@dataclass(frozen=True, eq=False)
class _Sums:
    """Over lines r, of m members a with n models b: what scatters follow from."""

    a_on_b: Floats  # (m, n) sum of <a_r, b_r>^2 / <b_r, b_r>
    b_on_a: Floats  # (m, n) sum of <a_r, b_r>^2 / <a_r, a_r>
    products: Floats  # (m, n) sum of <a_r, b_r>
    squares: Floats  # (n,) sum of <b_r, b_r>


def _summed(windows: NDArray[Any], members: int, mapped: Mapped) -> _Sums:
    """Over the lines of (n, lines, length) windows, a part of them at a time."""
    models, lines, _ = windows.shape
    parts = _parts(lines, members * models)
    sums = np.zeros((len(parts), 3, members, models))
    squares = np.zeros((len(parts), models))

    def add(part: int) -> None:
        first, stop = parts[part]
        _add_lines(windows, first, stop, sums[part, 0], sums[part, 1], sums[part, 2], squares[part])

    mapped(add, len(parts))
    a_on_b, b_on_a, products = sums.sum(axis=0)
    return _Sums(a_on_b, b_on_a, products, squares.sum(axis=0))


def _parts(count: int, pairs: int) -> list[tuple[int, int]]:
    """Lines or elements cut into parts, each with sums of its own: fewer of them where there are many pairs."""
    parts = min(_PARTS, max(_FEWEST_PARTS, _SUMMED // max(1, pairs)))
    step = max(1, -(-count // parts))
    return [(first, min(count, first + step)) for first in range(0, count, step)]


@compiled
def _add_lines(
    windows: NDArray[Any],
    first: int,
    stop: int,
    a_on_b: Floats,
    b_on_a: Floats,
    products: Floats,
    of_all: Floats,
) -> None:
    members, models = products.shape
    size = windows.shape[2]
    values, gram, squares = np.empty(models * size), np.empty((members, models)), np.empty(models)
    for line in range(first, stop):
        for model in range(models):
            here = values[model * size : (model + 1) * size]
            here[:] = windows[model, line]
            squares[model] = max(dot(here, here), _TINY)
            of_all[model] += squares[model]
        gram[:] = 0.0
        multiply(values, size, gram)
        for a in range(members):
            for b in range(a + 1, models):
                product = gram[a, b]
                products[a, b] += product
                a_on_b[a, b] += product * product / squares[b]
                b_on_a[a, b] += product * product / squares[a]


def _scatters(sums: _Sums) -> Floats:
    """(2, m, n) scatter of a on b and of b on a: what one slope for all lines leaves unexplained."""
    squared = sums.products**2
    members = len(squared)
    a_on_b = sums.a_on_b - squared / sums.squares[None, :]
    b_on_a = sums.b_on_a - squared / sums.squares[:members, None]
    a_on_b[a_on_b <= _NO_SCATTER * sums.a_on_b] = 0
    b_on_a[b_on_a <= _NO_SCATTER * sums.b_on_a] = 0
    return np.stack([a_on_b, b_on_a])


def _equal(values: NDArray[Any], members: int, mapped: Mapped) -> NDArray[np.float32]:
    """(m, n) the share of (n, elements) values that is equal; of the members among each other above the diagonal."""
    models, elements = values.shape
    parts = _parts(elements, members * models)
    counts = np.zeros((len(parts), members, models), dtype=np.int64)
    mapped(lambda part: _count_equal(values, *parts[part], counts[part]), len(parts))
    return np.asarray(counts.sum(axis=0) / max(1, elements), dtype=np.float32)


@compiled
def _count_equal(values: NDArray[Any], first: int, stop: int, counts: NDArray[np.int64]) -> None:
    members, models = counts.shape
    for start in range(first, stop, _CACHED):
        end = min(stop, start + _CACHED)
        for a in range(members):
            one = values[a, start:end]
            for b in range(a + 1, models):
                another = values[b, start:end]
                same = np.int32(0)
                for i in range(len(one)):
                    same += np.int32(one[i] == another[i])
                counts[a, b] += same
