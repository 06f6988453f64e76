"""Stored numbers as float64, and what the stored bits alone tell: compiled, for the few forms that all types reduce to.

Other types (float8, scaled integers) are brought into the narrowest of these forms first, which holds all their values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from lineage.compiled import compiled
from lineage.stored_tensor import DTYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lineage.stored_tensor import Block, Part

BF16, F16, F32, F64, I64 = 0, 1, 2, 3, 4
CODES = {"BF16": BF16, "F16": F16, "F32": F32, "F64": F64, "I64": I64}
_OWN = {"I16": "F32", "I32": "F64"}  # the form of other types; that of float8, bytes and booleans is bfloat16


def own_form(dtype: str) -> str:
    """The narrowest of the forms that holds all values of a stored type."""
    return dtype if dtype in CODES else _OWN.get(dtype, "BF16")


@dataclass(frozen=True, eq=False)
class Rows:
    """The models of a block as compiled functions take them: bytes, and where and how each of n rows lies in them."""

    data: NDArray[np.uint8]
    at: NDArray[np.int64]  # (n,) first byte of each row
    code: NDArray[np.int64]  # (n,) its form
    count: int  # elements of each


def rows(block: Block) -> Rows:
    """The rows of a block, without a copy where all are stored in one of the forms and in one buffer."""
    return rows_of(block.parts, block.count)


def rows_of(parts: Sequence[Part], count: int) -> Rows:
    """The rows of parts of `count` elements."""
    values = [part.values.to(DTYPES[own_form(part.dtype)]) for part in parts]
    if len({one.untyped_storage().data_ptr() for one in values}) > 1:
        values = _gathered(values)
    code = np.repeat([CODES[own_form(part.dtype)] for part in parts], [len(one) for one in values])
    storage = values[0].untyped_storage()
    data = torch.empty(0, dtype=torch.uint8).set_(storage)
    at = [
        one.data_ptr() - storage.data_ptr() + row * one.stride(0) * one.element_size()
        for one in values
        for row in range(len(one))
    ]
    return Rows(data.numpy(), np.array(at, dtype=np.int64), code, count)


def _gathered(values: list[torch.Tensor]) -> list[torch.Tensor]:
    """Copies of the tensors in one buffer, each at a multiple of eight bytes."""
    sizes = [-(-one.numel() * one.element_size() // 8) * 8 for one in values]
    buffer = torch.empty(sum(sizes), dtype=torch.uint8)
    found, first = [], 0
    for one, size in zip(values, sizes, strict=True):
        into = buffer[first : first + one.numel() * one.element_size()].view(one.dtype).view(one.shape)
        found.append(into.copy_(one))
        first += size
    return found


def _half_generator(_: Any, __: Any) -> Any:
    """The float64 value of a float16's bits: the processor has an instruction for it."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        narrow = builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())
        return builder.fpext(narrow, ir.DoubleType())

    return types.float64(types.uint16), generate


def _brain_generator(_: Any, __: Any) -> Any:
    """The float64 value of a bfloat16's bits: the upper half of a float32's."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        wide = ir.IntType(32)
        upper = builder.shl(builder.zext(arguments[0], wide), ir.Constant(wide, 16))
        return builder.fpext(builder.bitcast(upper, ir.FloatType()), ir.DoubleType())

    return types.float64(types.uint16), generate


_half: Any = intrinsic(_half_generator)
_brain: Any = intrinsic(_brain_generator)


@compiled
def width_of(code: int) -> int:
    """Bytes of a number."""
    return 2 if code <= F16 else 4 if code == F32 else 8


@compiled
def decode(data: NDArray[np.uint8], at: int, code: int, count: int, out: NDArray[np.float64]) -> None:
    """Write `count` numbers of the form `code`, stored from byte `at` on, into (count,) `out`."""
    if code == BF16:
        brains = data[at : at + 2 * count].view(np.uint16)
        for i in range(count):
            out[i] = _brain(brains[i])
    elif code == F16:
        halves = data[at : at + 2 * count].view(np.uint16)
        for i in range(count):
            out[i] = _half(halves[i])
    elif code == F32:
        singles = data[at : at + 4 * count].view(np.float32)
        for i in range(count):
            out[i] = singles[i]
    elif code == F64:
        out[:count] = data[at : at + 8 * count].view(np.float64)
    else:
        out[:count] = data[at : at + 8 * count].view(np.int64)
