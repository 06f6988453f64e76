"""Projections: what the rank of any later difference of two large matrices needs of each of them.

A projection is a matrix times seeded random probes. In it, rounding is noise of known size in each row, so that rows
are brought to one size first, and the noise's singular values lie within sqrt(m) +- sqrt(k).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lineage.rank import (
    AT_ONCE,
    COARSER,
    LEAST,
    MARGIN,
    PROBES,
    RELATIVE,
    SIGNIFICAND,
    gaussian,
    least_power,
    mantissas_of,
    squared_powers,
    told_apart,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Rows = Callable[[int, int], NDArray[Any]]

_FIRST_ROWS = 2  # times the probes: rows that are looked at before all are
_STORED = 2.0**-24 / math.sqrt(3)  # relative deviation of a number that is kept in float32, at most


@dataclass(frozen=True)
class Projection:
    """A matrix (m, n) times Gaussian probes of its columns."""

    read: Rows  # rows [first, stop) -> (stop - first, k), float32 or float64
    noise: NDArray[np.float64]  # (m,) root mean square, over each row, of its elements' rounding error
    columns: int  # n
    probes: int  # k
    significand: int  # bits of the format that the values were rounded to; 0: they were not rounded

    @property
    def rows(self) -> int:
        """The number m."""
        return len(self.noise)


@dataclass(frozen=True)
class RowsPiece:
    """What some elements of a matrix add to its projection: to rows from `first` on."""

    first: int
    values: torch.Tensor  # (r, k)
    powers: NDArray[np.float64]  # (r,) sums of 4 to the elements' exponents
    mantissas: int


@dataclass(frozen=True)
class Probes:
    """The seeded probes of matrices with so many columns."""

    columns: int
    count: int = PROBES

    @property
    def nbytes(self) -> int:
        """What they take in memory, for both precisions together."""
        return self.columns * self.count * 12

    def draw(self) -> None:
        """Draw them, before several threads ask for them."""
        _narrow_probes(self.columns, self.count)

    def project(self, values: torch.Tensor, dtype: str, start: int) -> RowsPiece:
        """Of elements [start, start + len(values)) of a matrix, row by row, as they are stored.

        Halves are multiplied in float32, whose errors are far below their own rounding, the others in float64.
        """
        wide = values.dtype.itemsize >= 4
        exact = values.double() if wide else values.float()
        probes = gaussian(self.columns, self.count) if wide else _narrow_probes(self.columns, self.count)
        first, last = start // self.columns, (start + len(values) - 1) // self.columns
        found = torch.empty((last - first + 1, self.count), dtype=exact.dtype)
        powers = np.zeros(last - first + 1)
        decoded = exact.double().numpy()
        bits = decoded.view(np.int64)
        row, at = first, 0
        while row <= last:
            low = start + at - row * self.columns  # not 0 where a block begins within a row
            whole = 0 if low else (len(values) - at) // self.columns
            rows, size = max(1, whole), whole * self.columns or min(self.columns - low, len(values) - at)
            piece = exact[at : at + size].view(rows, -1)
            here = slice(row - first, row - first + rows)
            torch.mm(piece, probes[low : low + piece.shape[1]], out=found[here])
            if dtype in SIGNIFICAND:
                each = size // rows
                for number in range(rows):
                    row_bits = bits[at + number * each : at + (number + 1) * each]
                    powers[row - first + number] = squared_powers(row_bits, least_power(dtype))
            row, at = row + rows, at + size
        finer = SIGNIFICAND.get(dtype, 0) > COARSER[0]  # than a format that it may hold a copy of
        return RowsPiece(first, found, powers, mantissas_of(bits) if finer else 0)


@lru_cache(maxsize=1)
def _narrow_probes(length: int, count: int) -> torch.Tensor:
    return gaussian(length, count).float()


@lru_cache(maxsize=4)
def _whitening(length: int, count: int) -> NDArray[np.float64]:
    """(k, k): the probes times it have orthonormal columns."""
    triangle = torch.linalg.qr(gaussian(length, count), mode="r").R
    return np.asarray(torch.linalg.solve_triangular(triangle, torch.eye(count, dtype=torch.float64), upper=True))


def row_noise(powers: NDArray[np.float64], columns: int, bits: int) -> NDArray[np.float64]:
    """(m,) the rounding of rows whose elements' squared exponents are summed in `powers`."""
    return np.asarray(np.sqrt(powers / (12 * columns)) * 2.0**-bits)


def projected_rank(one: Projection, another: Projection, shape: tuple[int, int]) -> int:
    """The rank of the difference of two different matrices of this shape above their rounding, from their projections.

    Above four fifths of the probes it is reported as full: min(shape). So it is where two matrices on the same coarse
    grid differ by less than their rounding could: they are no copies of each other, and no low rank shows either.
    """
    rows, probes = one.rows, one.probes
    squared = one.noise**2 + another.noise**2
    if _shows_full(one, another, squared):
        return min(shape)
    gram = np.zeros((probes, probes))
    scale = _row_scale(one, another, squared, rows)
    step = max(1, AT_ONCE // probes)
    for first in range(0, rows, step):
        piece = one.read(first, first + step).astype(np.float64)
        piece -= another.read(first, first + step)
        piece /= scale[first : first + step, None]
        gram += piece.T @ piece
    white = _whitening(one.columns, probes)
    values = np.sqrt(np.clip(np.linalg.eigvalsh(white.T @ gram @ white), 0, None))
    noise = MARGIN * (rows**0.5 + probes**0.5) if squared.any() else 0.0
    rank = int((values > max(noise, RELATIVE * float(values.max()))).sum())
    alike = one.significand == another.significand and one.significand > 0
    return min(shape) if rank > told_apart(probes) or (rank == 0 and alike) else rank


def _shows_full(one: Projection, another: Projection, squared: NDArray[np.float64]) -> bool:
    """Whether the first rows alone show more rank than is told from full: so it is with most full fine-tunes.

    If a principal submatrix is above a threshold in all directions, the whole has as many eigenvalues above it (by
    interlacing), which a Cholesky decomposition tells for a small part of the cost of all eigenvalues. The
    whitening is triangular, so that of the first probes needs no others.
    """
    enough, rows = told_apart(one.probes) + 1, min(one.rows, _FIRST_ROWS * one.probes)
    if enough > min(rows, one.probes):
        return False
    scale = _row_scale(one, another, squared, rows)
    piece = one.read(0, rows)[:, :enough].astype(np.float64)
    piece -= another.read(0, rows)[:, :enough]
    piece /= scale[:, None]
    white = _whitening(one.columns, one.probes)[:enough, :enough]
    whitened = white.T @ (piece.T @ piece) @ white
    noise = MARGIN * (rows**0.5 + enough**0.5) if squared.any() else 0.0
    whitened.flat[:: enough + 1] -= max(noise**2, RELATIVE**2 * float(np.trace(whitened)))
    try:
        np.linalg.cholesky(whitened)
    except np.linalg.LinAlgError:
        return False
    return True


def projected_ranks(
    projection: Callable[[int], Projection | None],
    distances: NDArray[np.float64],
    squared_norm: NDArray[np.float64],
    shape: tuple[int, int],
    *,
    nearest: int,
    related: float,
) -> NDArray[np.int16]:
    """(m, n) ranks of the differences of each member from its `nearest` related models; -1 elsewhere.

    `distances` are (m, n) squared distances, members first; a difference is not worth a rank where it is above
    `related` times twice the member's squared norm (m,), or where one of the two has no projection.
    """
    members, models = distances.shape
    found = np.full((members, models), -1, dtype=np.int16)
    for member in range(members):
        order = np.argsort(distances[member], kind="stable")
        own = projection(member)
        for other in (one for one in order[: nearest + 1].tolist() if one != member):
            near = 0 < distances[member, other] <= related * 2 * squared_norm[member]
            if own is None or not near or found[member, other] >= 0:
                continue
            another = projection(other)
            if another is not None:
                found[member, other] = min(projected_rank(own, another, shape), _MOST)
                if other < members:
                    found[other, member] = found[member, other]
    return found


_MOST = int(np.iinfo(np.int16).max)


def _row_scale(one: Projection, another: Projection, squared: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """(rows,) the deviation of the noise in each of the first rows: of the elements' rounding, and of projections'."""
    step = max(1, AT_ONCE // one.probes)
    total = squared[:rows].copy()
    for kept in (one, another):
        for first in range(0, rows, step):
            values = kept.read(first, min(rows, first + step))
            if values.dtype == np.float32:
                size = np.vecdot(values, values) / (kept.probes * kept.columns)
                total[first : first + step] += size * _STORED**2
    if not total.any():
        return np.ones(len(total))
    return np.asarray(np.sqrt(np.maximum(total, (LEAST**2) * total.mean())))
