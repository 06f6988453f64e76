"""Slope constancy: which of two models is the other's parent, from the scatter of regression slopes.

A child is its parent, shrunk a little, plus noise: child = s * parent + noise. Regressed on its parent row by row and
column by column, the child's slopes agree; the parent's slopes on the child scatter with each row's signal-to-noise.
scatter(Y on X) = sum_r <x_r,y_r>^2 / <x_r,x_r> - (sum_r <x_r,y_r>)^2 / sum_r <x_r,x_r> is the weighted variance of the
slopes, and the evidence that i is the parent of j is log(scatter(i on j) / scatter(j on i)), rows and columns together.
"""

from __future__ import annotations

import torch

WINDOW = 1 << 16  # elements of a layer that are looked at: cost and memory stay bounded for layers of any size
_FEWEST_ROWS = 16
_NO_SCATTER = 1e-13  # relative to the sum of products: below it the scatter is rounding
_MODELS_AT_ONCE = 64
_PRODUCTS_AT_ONCE = 1 << 21


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


def evidence(values: torch.Tensor, members: int) -> torch.Tensor:
    """(members, models) float64: [i, j] > 0 says that i is the parent of j.

    `values` is (models, rows, columns) of any float type; `members` come first among the models. NaN where a scatter
    vanishes (equal tensors, a single row and column).
    """
    models = values.shape[0]
    found = torch.empty((members, models), dtype=torch.float64, device=values.device)
    for first in range(0, members, _MODELS_AT_ONCE):
        rows = slice(first, min(members, first + _MODELS_AT_ONCE))
        for other in range(0, models, _MODELS_AT_ONCE):
            columns = slice(other, other + _MODELS_AT_ONCE)
            found[rows, columns] = _evidence(values[rows].double(), values[columns].double())
    return found


def _evidence(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    of_rows = _scatters(a, b)
    of_columns = _scatters(a.transpose(1, 2), b.transpose(1, 2))
    found = torch.log((of_rows[0] + of_columns[0]) / (of_rows[1] + of_columns[1]))
    found[~torch.isfinite(found)] = torch.nan
    return found


def _scatters(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(A, B) scatter(a on b) and scatter(b on a) over the rows of (A, rows, columns) a and (B, rows, columns) b."""
    shape = (a.shape[0], b.shape[0])
    a_on_b, b_on_a, products = (torch.zeros(shape, dtype=torch.float64, device=a.device) for _ in range(3))
    tiny = torch.finfo(torch.float64).tiny
    squares_a, squares_b = (((x * x).sum(dim=2).T).clamp(min=tiny) for x in (a, b))  # (rows, models)
    step = max(1, _PRODUCTS_AT_ONCE // (shape[0] * shape[1]))
    for first in range(0, a.shape[1], step):
        rows = slice(first, first + step)
        gram = torch.matmul(a[:, rows].transpose(0, 1), b[:, rows].permute(1, 2, 0))  # (step, A, B)
        products += gram.sum(dim=0)
        gram = gram * gram
        a_on_b += (gram / squares_b[rows, None, :]).sum(dim=0)
        b_on_a += (gram / squares_a[rows, :, None]).sum(dim=0)
    squared = products * products
    return (
        _beyond_one_slope(a_on_b, squared / squares_b.sum(dim=0)[None, :]),
        _beyond_one_slope(b_on_a, squared / squares_a.sum(dim=0)[:, None]),
    )


def _beyond_one_slope(explained: torch.Tensor, by_one_slope: torch.Tensor) -> torch.Tensor:
    scatter = explained - by_one_slope
    scatter[scatter <= _NO_SCATTER * explained] = 0
    return scatter
