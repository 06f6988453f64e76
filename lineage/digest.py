"""A hash of a tensor's values: equal for equal numbers, however they are stored, cut into files or read in blocks.

Values are taken in the narrowest of a few forms that holds all of the tensor's: a bfloat16 checkpoint and its float32
copy are both hashed as bfloat16. Of every stride of 4096 values two linear hashes modulo 2**64 are taken, with fixed
random odd coefficients: of its 64-bit words, and of the same words with their halves exchanged. All of them together,
in order, are hashed by blake2b to 128 bits.

Two tensors that differ in one word of a stride always differ in its hash. Others agree by chance: a linear hash modulo
2**64 of words that differ in multiples of 2**t collides with probability 2**(t-63). That is 2**-126 for the two where
the lowest bits of both halves differ somewhere, and 2**-32 at worst, where nothing but the highest bits of words does.
It withstands chance, not malice.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lineage.stream import DTYPES, STRIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lineage.stream import Part

FORMS = ("BF16", "F16", "F32", "F64", "I64")  # narrowest first; a tensor takes the first that holds all its values
_OWN = {"BF16": "BF16", "F16": "F16", "F32": "F32", "F64": "F64", "I64": "I64", "I32": "F64", "I16": "F32"}
_BITS = {"BF16": np.uint16, "F16": np.uint16, "F32": np.uint32, "F64": np.uint64, "I64": np.uint64}
_WORD = 8
_LOOK = 256  # values that are looked at before all of them are
_PIECE = 4 * STRIDE  # values of each of some models that are hashed before the next are touched
_ROWS = 8
_SEED = 20_261_107
_memory = threading.local()


def _coefficients() -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    random = np.random.Generator(np.random.Philox(_SEED)).integers(0, 1 << 64, (2, STRIDE), dtype=np.uint64)
    random |= np.uint64(1)
    return random[0], random[1]


_STRAIGHT, _TURNED = _coefficients()
_HALF = np.uint64(32)


def forms(dtype: str) -> tuple[str, ...]:
    """The forms that a tensor of this type may take; the last holds whatever it stores."""
    return FORMS[: FORMS.index(_OWN.get(dtype, "BF16")) + 1]


@dataclass(frozen=True)
class Hashes:
    """Of a block of one model: the hashes of its strides in every form that holds its values, and how many are zero."""

    of: dict[str, bytes]
    zeros: int


class Digest:
    """The digest of one tensor, from the hashes of its blocks in order."""

    def __init__(self, dtype: str) -> None:
        self._hashes = {form: hashlib.blake2b(form.encode(), digest_size=16) for form in forms(dtype)}
        self._count = 0

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms that all values so far have."""
        return tuple(self._hashes)

    def update(self, hashes: Hashes, count: int) -> None:
        """Take in the next block of so many values."""
        self._count += count
        for form in tuple(self._hashes):
            if form in hashes.of:
                self._hashes[form].update(hashes.of[form])
            else:
                del self._hashes[form]

    def value(self) -> bytes:
        """16 bytes."""
        final = next(iter(self._hashes.values())).copy()
        final.update(self._count.to_bytes(8, "little"))
        return final.digest()


def hash_part(part: Part, wanted: Sequence[tuple[str, ...]]) -> list[Hashes]:
    """Hashes of each model of a part of a block, in those of the wanted forms that hold its values."""
    own = _OWN.get(part.dtype, "BF16")
    models, size = part.values.shape
    hashes = np.empty((models, -(-size // STRIDE), 2), dtype=np.uint64)
    zeros = np.zeros(models, dtype=np.int64)
    for top, first in product(range(0, models, _ROWS), range(0, size, _PIECE)):
        rows = slice(top, min(models, top + _ROWS))
        values = part.values[rows, first : first + _PIECE]
        bits = _bits(values if part.dtype == own else values.to(DTYPES[own]), own)
        found = hashes[rows, first // STRIDE : (first + _PIECE) // STRIDE]
        _hash(bits, found)
        for row in _with_zeros(bits):
            zeros[top + row] += np.count_nonzero(bits[row] == 0)
            if own != "I64":
                negative = bits[row] == _sign(bits)
                zeros[top + row] += np.count_nonzero(negative)
                if negative.any():  # -0 equals 0
                    _hash(np.where(negative, 0, bits[row])[None].astype(bits.dtype, copy=False), found[row : row + 1])
    return [
        Hashes({own: hashes[row].tobytes(), **_narrowed(part.values[row], own, tried)}, int(zeros[row]))
        for row, tried in enumerate(wanted)
    ]


def _bits(values: torch.Tensor, form: str) -> NDArray[np.unsignedinteger]:
    """The bits of (k, n) values."""
    bits = np.dtype(_BITS[form])
    found: NDArray[np.unsignedinteger] = values.view(DTYPES[f"I{bits.itemsize * 8}"]).numpy().view(bits)
    return found


def _sign(bits: NDArray[np.unsignedinteger]) -> np.unsignedinteger:
    kind = bits.dtype.type
    return kind(1 << (bits.itemsize * 8 - 1))


def _with_zeros(bits: NDArray[np.unsignedinteger]) -> list[int]:
    """Rows of (k, n) bits that hold a zero of either sign; and of integers one that is half of what they hold."""
    doubled = _scratch(bits.size, bits.dtype).reshape(bits.shape)
    found: list[int] = np.flatnonzero(np.left_shift(bits, 1, out=doubled).min(axis=1) == 0).tolist()
    return found


def _scratch(size: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Memory of this thread that is used over and over: fresh memory costs more than what is done in it."""
    memory: NDArray[np.uint64] | None = getattr(_memory, "words", None)
    if memory is None or memory.nbytes < size * dtype.itemsize:
        memory = _memory.words = np.empty(-(-size * dtype.itemsize // _WORD), dtype=np.uint64)
    return memory.view(dtype)[:size]


def _narrowed(stored: torch.Tensor, own: str, forms: Sequence[str]) -> dict[str, bytes]:
    """The hashes of (n,) values in those of the forms, narrower than their own, that hold them all."""
    found = {}
    values = stored if forms == (own,) else stored.to(DTYPES[own])
    for form in forms:
        if form != own and _holds(form, values[:_LOOK]) and _holds(form, values):
            narrow = values.to(DTYPES[form]) + 0.0  # -0 equals 0
            hashes = np.empty((1, -(-len(narrow) // STRIDE), 2), dtype=np.uint64)
            _hash(_bits(narrow[None], form), hashes)
            found[form] = hashes.tobytes()
    return found


def _holds(form: str, values: torch.Tensor) -> bool:
    back = values.to(DTYPES[form]).to(values.dtype)
    same = (back == values) | (back.isnan() & values.isnan())
    if not values.is_floating_point():
        same &= values.abs() <= 1 << 53  # beyond it some come back equal from a float that was rounded
    return bool(same.all())


def _hash(bits: NDArray[np.unsignedinteger], hashes: NDArray[np.uint64]) -> None:
    """Write the (k, strides, 2) hashes of (k, n) values' bits; the last stride is filled with zeros."""
    rows, count = bits.shape
    whole = count // STRIDE
    per_stride = STRIDE * bits.itemsize // _WORD
    if whole:
        words = bits[:, : whole * STRIDE].view(np.uint64).reshape(rows, whole, per_stride)
        _linear(words, hashes[:, :whole])
    if count % STRIDE:
        last = np.zeros((rows, STRIDE), dtype=bits.dtype)
        last[:, : count % STRIDE] = bits[:, whole * STRIDE :]
        _linear(last.view(np.uint64).reshape(rows, 1, per_stride), hashes[:, whole:])


def _linear(words: NDArray[np.uint64], hashes: NDArray[np.uint64]) -> None:
    """Write (k, strides, 2) hashes of (k, strides, words)."""
    length = words.shape[2]
    turned, high = _scratch(2 * words.size, words.dtype).reshape(2, *words.shape)
    np.left_shift(words, _HALF, out=turned)
    np.right_shift(words, _HALF, out=high)
    np.bitwise_or(turned, high, out=turned)
    np.vecdot(words, _STRAIGHT[:length], out=hashes[..., 0])
    np.vecdot(turned, _TURNED[:length], out=hashes[..., 1])
