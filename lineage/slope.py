"""Slope constancy: which of two models is the other's parent, from the scatter of regression slopes.

A child is its parent, shrunk a little, plus noise: child = s * parent + noise. Regressed on its parent row by row and
column by column, the child's slopes agree; the parent's slopes on the child scatter with each row's signal-to-noise.
scatter(Y on X) = sum_r <x_r,y_r>^2 / <x_r,x_r> - (sum_r <x_r,y_r>)^2 / sum_r <x_r,x_r> is the weighted variance of the
slopes, and the evidence that i is the parent of j is log(scatter(i on j) / scatter(j on i)), rows and columns together.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lineage.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

WINDOW = 1 << 16  # elements of a layer that are looked at: cost and memory stay bounded for layers of any size
_FEWEST_ROWS = 16
_NO_SCATTER = 1e-13  # relative to the sum of products: below it the scatter is rounding
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


def evidence(values: torch.Tensor, members: int, mapped: Mapped = _one_by_one) -> torch.Tensor:
    """(members, models) float64: [i, j] > 0 says that i is the parent of j.

    `values` is (models, rows, columns) float32 or float64; `members` come first among the models. NaN where a scatter
    vanishes (equal tensors, a single row and column). `mapped` computes rows, perhaps several at once.
    """
    windows = values.numpy()
    models = len(windows)
    of_rows, of_columns = np.empty((models, windows.shape[1])), np.empty((models, windows.shape[2]))
    found = np.full((members, models), np.nan)

    def squares(row: int) -> None:
        _squares(windows[row], of_rows[row], of_columns[row])

    def measure(row: int) -> None:
        _compare(windows, row, of_rows, of_columns, found[row])

    mapped(squares, models)
    mapped(measure, members)
    own = np.triu(found[:, :members], 1)
    own = own - own.T
    np.fill_diagonal(own, np.nan)
    return torch.from_numpy(np.concatenate([own, found[:, members:]], axis=1))


@compiled
def _squares(values: NDArray[Any], of_rows: Floats, of_columns: Floats) -> None:
    """Write the squared norms of a window's rows and columns."""
    of_columns[:] = 0.0
    for row in range(len(values)):
        here = values[row]
        total = 0.0
        for column in range(len(here)):
            square = np.float64(here[column]) * np.float64(here[column])
            total += square
            of_columns[column] += square
        of_rows[row] = max(total, _TINY)
    for column in range(len(of_columns)):
        of_columns[column] = max(of_columns[column], _TINY)


@compiled
def _compare(windows: NDArray[Any], row: int, of_rows: Floats, of_columns: Floats, found: Floats) -> None:
    """Write the evidence for a model against all behind it."""
    one = windows[row].astype(np.float64)
    by_column = np.empty(one.shape[1])
    by_row = np.empty(len(one))
    for other in range(row + 1, len(windows)):
        by_column[:] = 0.0
        another = windows[other]
        for line in range(len(one)):
            a, b = one[line], another[line]
            total = 0.0
            for column in range(len(a)):
                product = a[column] * np.float64(b[column])
                total += product
                by_column[column] += product
            by_row[line] = total
        here, there = _scatters(by_row, of_rows[row], of_rows[other])
        here_too, there_too = _scatters(by_column, of_columns[row], of_columns[other])
        if here + here_too > 0 and there + there_too > 0:
            found[other] = np.log((here + here_too) / (there + there_too))


@compiled
def _scatters(products: Floats, of_a: Floats, of_b: Floats) -> tuple[float, float]:
    """scatter(a on b) and scatter(b on a) from the rows' inner products and squared norms."""
    a_on_b, b_on_a, total = 0.0, 0.0, 0.0
    for i in range(len(products)):
        squared = products[i] * products[i]
        a_on_b += squared / of_b[i]
        b_on_a += squared / of_a[i]
        total += products[i]
    here = a_on_b - total * total / of_b.sum()
    there = b_on_a - total * total / of_a.sum()
    return here if here > _NO_SCATTER * a_on_b else 0.0, there if there > _NO_SCATTER * b_on_a else 0.0
