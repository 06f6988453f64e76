"""Numerical rank of the difference of two weight matrices.

A merged LoRA changes a matrix by a product of rank r. Storing the child rounds every element, which adds a matrix of
full rank; its largest singular value is known (Marchenko-Pastur: the elements' deviation times sqrt(m) + sqrt(n)), and
what is above it is rank. Thresholds that know only the largest singular value and the machine epsilon count that noise
as rank.

How coarsely a matrix was rounded is read from its values, not from the type it is stored as: a bfloat16 checkpoint
and its float32 copy have equal ranks to any third.

Large matrices are compared by what is left of them after a product with seeded random probes (`lineage.projection`).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from lineage.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROBES = 160  # of a matrix: ranks up to four fifths of it are told from full rank
_EXACT = 320  # up to this side length all singular values are computed
MARGIN = 1.1  # over the expected largest singular value of the rounding
RELATIVE = 4e-6  # of the largest singular value: what float32 arithmetic itself leaves
LEAST = 1e-3  # of the rows' noise: no row is taken to be rounded more finely than that
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
COARSER = (7, 10, 23)  # bits of the formats that a wider one may hold a copy of
_SMALLEST_EXPONENT = {"F16": -14, "F8_E4M3": -6, "F8_E4M3FNUZ": -7, "F8_E5M2": -14, "F8_E5M2FNUZ": -15}
AT_ONCE = 1 << 18  # elements: what is computed on the way stays small beside the matrix
_MANTISSA = (1 << 52) - 1
_EXPONENT = 0x7FF0_0000_0000_0000


def told_apart(probes: int) -> int:
    """The largest rank that so many probes tell from full rank: a fifth of them is margin."""
    return probes - probes // 5


def small(shape: tuple[int, int]) -> bool:
    """Whether all singular values of such a matrix are cheap to have."""
    return min(shape) <= _EXACT


def rounding(matrix: torch.Tensor, dtype: str) -> float:
    """Root mean square of the rounding error that storing `matrix` as `dtype` makes: ulp / sqrt(12) of each element.

    Where all values are those of a narrower format, of that: they were rounded to it before they were stored.
    """
    if dtype not in SIGNIFICAND or matrix.numel() == 0:
        return 0.0
    squares, mantissas = 0.0, 0
    flat = matrix.reshape(-1)
    for first in range(0, len(flat), AT_ONCE):
        piece = flat[first : first + AT_ONCE].double().numpy()
        squares += squared_powers(piece.view(np.int64), least_power(dtype))
        mantissas |= mantissas_of(piece.view(np.int64))
    return math.sqrt(squares / matrix.numel() / 12) * 2.0 ** -significand(mantissas, dtype)


def significand(mantissas: int, dtype: str) -> int:
    """Bits of the significand of the narrowest format that holds values whose float64 mantissas' bits are these."""
    own = SIGNIFICAND[dtype]
    used = 52 - ((mantissas & -mantissas).bit_length() - 1) if mantissas else 0
    return next((bits for bits in COARSER if used <= bits < own), own)


def least_power(dtype: str) -> float:
    """The smallest power of two that the ulps of a type go with; 0 where none is."""
    return 2.0 ** _SMALLEST_EXPONENT[dtype] if dtype in _SMALLEST_EXPONENT else 0.0


@compiled
def mantissas_of(bits: NDArray[np.int64]) -> int:
    """Bits that any of the mantissas of float64 numbers has."""
    found = np.int64(0)
    for i in range(len(bits)):
        found |= bits[i]
    return int(found & _MANTISSA)


@compiled
def squared_powers(bits: NDArray[np.int64], least: float) -> float:
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
        scale = np.maximum(error, LEAST * math.sqrt(np.vecdot(error, error) / rows))
        if not scale.any():
            scale = np.ones(rows)
        difference, error = difference.double() / torch.from_numpy(scale)[:, None], float(error.any())
    noise = MARGIN * error * (rows**0.5 + columns**0.5)
    values = _singular_values(difference.double())
    rank = int((values > max(noise, RELATIVE * float(values.max()))).sum())
    full = min(rows, columns)
    return full if full > _EXACT and rank > told_apart(PROBES) else rank


def sketch(matrix: torch.Tensor) -> torch.Tensor | None:
    """(k, 160) float64: a matrix times seeded Gaussian probes along its longer side; None where it is small."""
    if min(matrix.shape) <= _EXACT:
        return None
    wide = (matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T).double()
    return wide @ gaussian(wide.shape[1], PROBES).to(wide.device)


@lru_cache(maxsize=1)
def gaussian(length: int, count: int) -> torch.Tensor:
    """(length, count) float64; all matrices of a layer ask for the same."""
    generator = torch.Generator(device="cpu").manual_seed(SEED)
    return torch.randn((length, count), dtype=torch.float64, generator=generator)


def surely_full(difference: torch.Tensor, longer_side: int, error: float) -> bool:
    """Whether a difference of two sketches shows a rank of 160 or more above elementwise noise of deviation `error`.

    The noise's largest singular value in a sketch is at most error (sqrt(m) + sqrt(k)) (sqrt(n) + sqrt(k)), nearly.
    """
    values = torch.linalg.eigvalsh(difference.T @ difference).clamp(min=0).sqrt()
    noise = MARGIN * error * (difference.shape[0] ** 0.5 + PROBES**0.5) * (longer_side**0.5 + PROBES**0.5)
    return bool(values.min() > max(noise, 4 * RELATIVE * float(values.max())))


def _singular_values(difference: torch.Tensor) -> torch.Tensor:
    """All of a small float64 matrix, the largest of a large one (Halko, Martinsson, Tropp 2011, algorithm 4.4)."""
    rows, columns = difference.shape
    values: torch.Tensor
    wide = difference if rows <= columns else difference.T
    if min(rows, columns) <= _EXACT:
        # Squaring costs half of float64's digits, which leaves 1e-8: well below the thresholds above.
        values = torch.linalg.eigvalsh(wide @ wide.T).clamp(min=0).sqrt()
        return values
    basis, _ = torch.linalg.qr(wide @ gaussian(wide.shape[1], PROBES).to(wide.device))
    basis, _ = torch.linalg.qr(wide @ (wide.T @ basis))
    values = torch.linalg.svdvals(basis.T @ wide)
    return values


def step_noise(steps: NDArray[np.float32]) -> NDArray[np.float64]:
    """(m,) the rounding of rows whose elements were rounded to whole steps of this size: step / sqrt(12)."""
    return steps.astype(np.float64) / math.sqrt(12)
