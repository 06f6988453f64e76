"""Numerical rank of the difference of two weight matrices.

A merged LoRA changes a matrix by a product of rank r. Storing the child rounds every element, which adds a matrix of
full rank; its largest singular value is known (Marchenko-Pastur: the elements' deviation times sqrt(m) + sqrt(n)), and
what is above it is rank. Thresholds that know only the largest singular value and the machine epsilon count that noise
as rank.

Most differences of large matrices are of full rank, and that is cheap to see: each matrix is multiplied once with the
same random probes, and where the difference of two such sketches has all its singular values above the noise, the
difference of the matrices has at least that rank. Only the others are looked at closely.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch

_EXACT = 320  # up to this side length all singular values are computed
_PROBES = 160  # beyond it, ranks up to here are told from full rank
_MARGIN = 1.1  # over the expected largest singular value of the rounding
_RELATIVE = 4e-6  # of the largest singular value: what float32 arithmetic itself leaves
_SEED = 20_260_000
# Bits of the significand, the implicit one not counted.
_SIGNIFICAND = {
    "F64": 52,
    "F32": 23,
    "F16": 10,
    "BF16": 7,
    "F8_E4M3": 3,
    "F8_E4M3FNUZ": 3,
    "F8_E5M2": 2,
    "F8_E5M2FNUZ": 2,
}
_SMALLEST_EXPONENT = {"F16": -14, "F8_E4M3": -6, "F8_E4M3FNUZ": -7, "F8_E5M2": -14, "F8_E5M2FNUZ": -15}
_AT_ONCE = 1 << 18  # elements: what is computed on the way stays small beside the matrix


def rounding(matrix: torch.Tensor, dtype: str) -> float:
    """Root mean square of the rounding error that storing `matrix` as `dtype` makes: ulp / sqrt(12) of each element."""
    bits = _SIGNIFICAND.get(dtype)
    if bits is None or matrix.numel() == 0:
        return 0.0
    squares = 0.0
    flat = matrix.reshape(-1)
    for first in range(0, len(flat), _AT_ONCE):
        piece = flat[first : first + _AT_ONCE]
        _, exponent = torch.frexp(piece.double())
        exponent = (exponent - 1).clamp(min=_SMALLEST_EXPONENT.get(dtype, -126))
        ulp = torch.ldexp(torch.ones_like(exponent, dtype=torch.float64), exponent - bits)
        ulp[piece == 0] = 0
        squares += float((ulp * ulp).sum())
    return math.sqrt(squares / matrix.numel() / 12)


def numerical_rank(difference: torch.Tensor, error: float) -> int:
    """How many singular values of an (m, n) difference stand above elementwise noise of deviation `error`.

    Above 160 (for matrices with more than 320 rows and columns) it is reported as full: min(m, n).
    """
    rows, columns = difference.shape
    if not difference.any():
        return 0
    noise = _MARGIN * error * (rows**0.5 + columns**0.5)
    values = _singular_values(difference.double())
    rank = int((values > max(noise, _RELATIVE * float(values.max()))).sum())
    full = min(rows, columns)
    return full if full > _EXACT and rank >= len(values) else rank


def sketch(matrix: torch.Tensor) -> torch.Tensor | None:
    """(k, 160) float64: a matrix times seeded Gaussian probes along its longer side; None where it is small."""
    if min(matrix.shape) <= _EXACT:
        return None
    wide = (matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T).double()
    return wide @ _probes(wide.shape[1], wide.device)


@lru_cache(maxsize=1)
def _probes(length: int, device: torch.device) -> torch.Tensor:
    """(length, 160) float64; all matrices of a layer ask for the same."""
    generator = torch.Generator(device="cpu").manual_seed(_SEED)
    return torch.randn((length, _PROBES), dtype=torch.float64, generator=generator).to(device)


def surely_full(difference: torch.Tensor, longer_side: int, error: float) -> bool:
    """Whether a difference of two sketches shows a rank of 160 or more above elementwise noise of deviation `error`.

    The noise's largest singular value in a sketch is at most error (sqrt(m) + sqrt(k)) (sqrt(n) + sqrt(k)), nearly.
    """
    values = torch.linalg.eigvalsh(difference.T @ difference).clamp(min=0).sqrt()
    noise = _MARGIN * error * (difference.shape[0] ** 0.5 + _PROBES**0.5) * (longer_side**0.5 + _PROBES**0.5)
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
    basis, _ = torch.linalg.qr(wide @ _probes(wide.shape[1], wide.device))
    basis, _ = torch.linalg.qr(wide @ (wide.T @ basis))
    values = torch.linalg.svdvals(basis.T @ wide)
    return values
