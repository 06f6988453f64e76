"""Slope constancy: which of two models is the other's parent, from the scatter of regression slopes.

A child is its parent, shrunk a little, plus noise: child = s * parent + noise. Regressed on its parent row by row and
column by column, the child's slopes agree; the parent's slopes on the child scatter with each row's signal-to-noise.
scatter(Y on X) = sum_r <x_r,y_r>^2 / <x_r,x_r> - (sum_r <x_r,y_r>)^2 / sum_r <x_r,x_r> is the weighted variance of the
slopes, and the evidence that i is the parent of j is log(scatter(i on j) / scatter(j on i)), rows and columns together.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

WINDOW = 1 << 16  # elements of a layer that are looked at: cost and memory stay bounded for layers of any size
_FEWEST_ROWS = 16
_NO_SCATTER = 1e-13  # relative to the sum of products: below it the scatter is rounding
_MODELS_AT_ONCE = 64
_PRODUCTS_AT_ONCE = 1 << 16
_ELEMENTS_AT_ONCE = 1 << 16

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

    `values` is (models, rows, columns) of any float type; `members` come first among the models. NaN where a scatter
    vanishes (equal tensors, a single row and column). `mapped` computes sets of pairs, perhaps several at once.
    """
    models = values.shape[0]
    found = torch.full((members, models), torch.nan, dtype=torch.float64)
    firsts = range(0, models, _MODELS_AT_ONCE)
    sets = [(first, other) for first in firsts if first < members for other in firsts if other >= first]

    def measure(number: int) -> None:
        first, other = sets[number]
        one = slice(first, min(members, first + _MODELS_AT_ONCE))
        another = slice(other, other + _MODELS_AT_ONCE)
        here = _evidence(values[one], values[another]).cpu()
        found[one, another] = here
        if first < other < members:
            stop = min(members, other + _MODELS_AT_ONCE)
            found[other:stop, one] = -here[:, : stop - other].T

    mapped(measure, len(sets))
    own = found[:, :members]
    return torch.cat([torch.triu(own, 1) - torch.triu(own, 1).T, found[:, members:]], dim=1).fill_diagonal_(torch.nan)


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
    of_a, of_b = (torch.zeros(count, dtype=torch.float64, device=a.device) for count in shape)
    tiny = torch.finfo(torch.float64).tiny
    step = max(1, min(_PRODUCTS_AT_ONCE // (shape[0] * shape[1]), _ELEMENTS_AT_ONCE // (max(shape) * a.shape[2])))
    for first in range(0, a.shape[1], step):
        here, there = (
            x[:, first : first + step].transpose(0, 1).to(torch.float64, memory_format=torch.contiguous_format)
            for x in (a, b)
        )
        gram = torch.matmul(here, there.transpose(1, 2))  # (step, A, B)
        squares_a, squares_b = ((x * x).sum(dim=2).clamp(min=tiny) for x in (here, there))  # (step, models)
        of_a += squares_a.sum(dim=0)
        of_b += squares_b.sum(dim=0)
        products += gram.sum(dim=0)
        gram *= gram
        a_on_b += torch.einsum("rab,rb->ab", gram, 1 / squares_b)
        b_on_a += torch.einsum("rab,ra->ab", gram, 1 / squares_a)
    squared = products * products
    return (
        _beyond_one_slope(a_on_b, squared / of_b[None, :]),
        _beyond_one_slope(b_on_a, squared / of_a[:, None]),
    )


def _beyond_one_slope(explained: torch.Tensor, by_one_slope: torch.Tensor) -> torch.Tensor:
    scatter = explained - by_one_slope
    scatter[scatter <= _NO_SCATTER * explained] = 0
    return scatter
