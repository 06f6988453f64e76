"""Numerical rank of the difference of two weight matrices.

A merged LoRA changes a matrix by a product of rank r. Storing the child rounds every element, which adds a matrix of
full rank; its largest singular value is known (Marchenko-Pastur: the elements' deviation times sqrt(m) + sqrt(n)), and
what is above it is rank. Thresholds that know only the largest singular value and the machine epsilon count that noise
as rank.

How coarsely a matrix was rounded is read from its values, not from the type it is stored as: a bfloat16 checkpoint
and its float32 copy have equal ranks to any third.

Large matrices are compared by what is left of them after a product with seeded random probes, a `Projection`, which
is kept: then the rank of any later difference needs neither of them again. In it, rounding is noise of known size in
each row, so that rows are brought to one size first, and the noise's singular values lie within sqrt(m) +- sqrt(k).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lineage.compiled import compiled

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Rows = Callable[[int, int], NDArray[Any]]

PROBES = 160  # of a matrix: ranks up to four fifths of it are told from full rank
_EXACT = 320  # up to this side length all singular values are computed
_MARGIN = 1.1  # over the expected largest singular value of the rounding
_RELATIVE = 4e-6  # of the largest singular value: what float32 arithmetic itself leaves
SEED = 20_260_000  # of the probes: projections with other probes cannot be compared
# Bits of the significand, the implicit one not counted.
SIGNIFICAND = {
    "F64": 52,
    "F32": 23,
    "F16": 10,
    "BF16": 7,
    "F8_E4M3": 3,
    "F8_E4M3FNUZ": 3,
    "F8_E5M2": 2,
    "F8_E5M2FNUZ": 2,
}
INT8 = 6  # bits of an integer of 7 bits and a sign, the first not counted
_COARSER = (7, 10, 23)  # bits of the formats that a wider one may hold a copy of
_SMALLEST_EXPONENT = {"F16": -14, "F8_E4M3": -6, "F8_E4M3FNUZ": -7, "F8_E5M2": -14, "F8_E5M2FNUZ": -15}
_FIRST_ROWS = 2  # times the probes: rows that are looked at before all are
_AT_ONCE = 1 << 18  # elements: what is computed on the way stays small beside the matrix
_MANTISSA = (1 << 52) - 1
_EXPONENT = 0x7FF0_0000_0000_0000
_STORED = 2.0**-24 / math.sqrt(3)  # relative deviation of a number that is kept in float32, at most
_LEAST = 1e-3  # of the rows' noise: no row is taken to be rounded more finely than that


def small(shape: tuple[int, int]) -> bool:
    """Whether all singular values of such a matrix are cheap to have."""
    return min(shape) <= _EXACT


def told_apart(probes: int) -> int:
    """The largest rank that so many probes tell from full rank: a fifth of them is margin."""
    return probes - probes // 5


def rounding(matrix: torch.Tensor, dtype: str) -> float:
    """Root mean square of the rounding error that storing `matrix` as `dtype` makes: ulp / sqrt(12) of each element.

    Where all values are those of a narrower format, of that: they were rounded to it before they were stored.
    """
    if dtype not in SIGNIFICAND or matrix.numel() == 0:
        return 0.0
    squares, mantissas = 0.0, 0
    flat = matrix.reshape(-1)
    for first in range(0, len(flat), _AT_ONCE):
        piece = flat[first : first + _AT_ONCE].double().numpy()
        squares += _squared_powers(piece.view(np.int64), _least(dtype))
        mantissas |= _mantissas(piece.view(np.int64))
    return math.sqrt(squares / matrix.numel() / 12) * 2.0 ** -significand(mantissas, dtype)


def significand(mantissas: int, dtype: str) -> int:
    """Bits of the significand of the narrowest format that holds values whose float64 mantissas' bits are these."""
    own = SIGNIFICAND[dtype]
    used = 52 - ((mantissas & -mantissas).bit_length() - 1) if mantissas else 0
    return next((bits for bits in _COARSER if used <= bits < own), own)


def _least(dtype: str) -> float:
    """The smallest power of two that the ulps of a type go with; 0 where none is."""
    return 2.0 ** _SMALLEST_EXPONENT[dtype] if dtype in _SMALLEST_EXPONENT else 0.0


@compiled
def _mantissas(bits: NDArray[np.int64]) -> int:
    """Bits that any of the mantissas of float64 numbers has."""
    found = np.int64(0)
    for i in range(len(bits)):
        found |= bits[i]
    return int(found & _MANTISSA)


@compiled
def _squared_powers(bits: NDArray[np.int64], least: float) -> float:
    """The sum of squares of two to the exponent of each number: its ulp, but for the significand's length.

    0 for zeros. It is infinite for numbers near the largest: then all differences are full or nothing.
    """
    powers = (bits & _EXPONENT).view(np.float64)
    total = 0.0
    for i in range(len(powers)):
        power = max(powers[i], least) if powers[i] > 0 else 0.0
        total += power * power
    return total


def numerical_rank(difference: torch.Tensor, error: float | NDArray[np.float64]) -> int:
    """How many singular values of an (m, n) difference stand above elementwise noise of deviation `error`.

    Where that is (m,), one for each row, rows are brought to one size first, so that the noise of none counts as rank.
    Above 128 (for matrices with more than 320 rows and columns) it is reported as full: min(m, n).
    """
    rows, columns = difference.shape
    if not difference.any():
        return 0
    if isinstance(error, np.ndarray) and error.ndim:
        scale = np.maximum(error, _LEAST * math.sqrt(np.vecdot(error, error) / rows))
        if not scale.any():
            scale = np.ones(rows)
        difference, error = difference.double() / torch.from_numpy(scale)[:, None], float(error.any())
    noise = _MARGIN * error * (rows**0.5 + columns**0.5)
    values = _singular_values(difference.double())
    rank = int((values > max(noise, _RELATIVE * float(values.max()))).sum())
    full = min(rows, columns)
    return full if full > _EXACT and rank > told_apart(PROBES) else rank


def sketch(matrix: torch.Tensor) -> torch.Tensor | None:
    """(k, 160) float64: a matrix times seeded Gaussian probes along its longer side; None where it is small."""
    if min(matrix.shape) <= _EXACT:
        return None
    wide = (matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T).double()
    return wide @ _probes(wide.shape[1], PROBES).to(wide.device)


@lru_cache(maxsize=1)
def _probes(length: int, count: int) -> torch.Tensor:
    """(length, count) float64; all matrices of a layer ask for the same."""
    generator = torch.Generator(device="cpu").manual_seed(SEED)
    return torch.randn((length, count), dtype=torch.float64, generator=generator)


def surely_full(difference: torch.Tensor, longer_side: int, error: float) -> bool:
    """Whether a difference of two sketches shows a rank of 160 or more above elementwise noise of deviation `error`.

    The noise's largest singular value in a sketch is at most error (sqrt(m) + sqrt(k)) (sqrt(n) + sqrt(k)), nearly.
    """
    values = torch.linalg.eigvalsh(difference.T @ difference).clamp(min=0).sqrt()
    noise = _MARGIN * error * (difference.shape[0] ** 0.5 + PROBES**0.5) * (longer_side**0.5 + PROBES**0.5)
    return bool(values.min() > max(noise, 4 * _RELATIVE * float(values.max())))


def _singular_values(difference: torch.Tensor) -> torch.Tensor:
    """All of a small float64 matrix, the largest of a large one (Halko, Martinsson, Tropp 2011, algorithm 4.4)."""
    rows, columns = difference.shape
    values: torch.Tensor
    wide = difference if rows <= columns else difference.T
    if min(rows, columns) <= _EXACT:
        # Squaring costs half of float64's digits, which leaves 1e-8: well below the thresholds above.
        values = torch.linalg.eigvalsh(wide @ wide.T).clamp(min=0).sqrt()
        return values
    basis, _ = torch.linalg.qr(wide @ _probes(wide.shape[1], PROBES).to(wide.device))
    basis, _ = torch.linalg.qr(wide @ (wide.T @ basis))
    values = torch.linalg.svdvals(basis.T @ wide)
    return values


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
        probes = _probes(self.columns, self.count) if wide else _narrow_probes(self.columns, self.count)
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
                    powers[row - first + number] = _squared_powers(row_bits, _least(dtype))
            row, at = row + rows, at + size
        finer = SIGNIFICAND.get(dtype, 0) > _COARSER[0]  # than a format that it may hold a copy of
        return RowsPiece(first, found, powers, _mantissas(bits) if finer else 0)


@lru_cache(maxsize=1)
def _narrow_probes(length: int, count: int) -> torch.Tensor:
    return _probes(length, count).float()


@lru_cache(maxsize=4)
def _whitening(length: int, count: int) -> NDArray[np.float64]:
    """(k, k): the probes times it have orthonormal columns."""
    triangle = torch.linalg.qr(_probes(length, count), mode="r").R
    return np.asarray(torch.linalg.solve_triangular(triangle, torch.eye(count, dtype=torch.float64), upper=True))


def row_noise(powers: NDArray[np.float64], columns: int, bits: int) -> NDArray[np.float64]:
    """(m,) the rounding of rows whose elements' squared exponents are summed in `powers`."""
    return np.asarray(np.sqrt(powers / (12 * columns)) * 2.0**-bits)


def step_noise(steps: NDArray[np.float32]) -> NDArray[np.float64]:
    """(m,) the rounding of rows whose elements were rounded to whole steps of this size: step / sqrt(12)."""
    return steps.astype(np.float64) / math.sqrt(12)


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
    step = max(1, _AT_ONCE // probes)
    for first in range(0, rows, step):
        piece = one.read(first, first + step).astype(np.float64)
        piece -= another.read(first, first + step)
        piece /= scale[first : first + step, None]
        gram += piece.T @ piece
    white = _whitening(one.columns, probes)
    values = np.sqrt(np.clip(np.linalg.eigvalsh(white.T @ gram @ white), 0, None))
    noise = _MARGIN * (rows**0.5 + probes**0.5) if squared.any() else 0.0
    rank = int((values > max(noise, _RELATIVE * float(values.max()))).sum())
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
    noise = _MARGIN * (rows**0.5 + enough**0.5) if squared.any() else 0.0
    whitened.flat[:: enough + 1] -= max(noise**2, _RELATIVE**2 * float(np.trace(whitened)))
    try:
        np.linalg.cholesky(whitened)
    except np.linalg.LinAlgError:
        return False
    return True


def ranks(
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
    step = max(1, _AT_ONCE // one.probes)
    total = squared[:rows].copy()
    for kept in (one, another):
        for first in range(0, rows, step):
            values = kept.read(first, min(rows, first + step))
            if values.dtype == np.float32:
                size = np.vecdot(values, values) / (kept.probes * kept.columns)
                total[first : first + step] += size * _STORED**2
    if not total.any():
        return np.ones(len(total))
    return np.asarray(np.sqrt(np.maximum(total, (_LEAST**2) * total.mean())))
