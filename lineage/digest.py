"""A hash of a tensor's values: equal for equal numbers, however they are stored, cut into files or read in blocks.

Values are taken in the narrowest of a few forms that holds all of the tensor's: a bfloat16 checkpoint and its float32
copy are both hashed as bfloat16. A float16 copy of a bfloat16 checkpoint differs in few numbers, below 2**-17, and in
that all it holds fits either format: a form of its own. Of every stride of 4096 values two linear hashes modulo 2**64
are taken, with fixed random odd coefficients: of its 64-bit words, and of the same words with their halves exchanged
(`lineage.strides`). All of them together, in order, are hashed by blake2b to 128 bits.

Two tensors that differ in one word of a stride always differ in its hash. Others agree by chance: a linear hash modulo
2**64 of words that differ in multiples of 2**t collides with probability 2**(t-63). That is 2**-126 for the two where
the lowest bits of both halves differ somewhere, and 2**-32 at worst, where nothing but the highest bits of words does.
It withstands chance, not malice.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lineage.decoding import own_form, rows_of
from lineage.stored_tensor import DTYPES, Part
from lineage.strides import hashed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

BOTH = "BF16 and F16"  # numbers that either holds: what casting from the one to the other leaves
FORMS = (BOTH, "BF16", "F16", "F32", "F64", "I64")  # narrowest first; a tensor takes the first that holds its values
_LOOK = 256  # values that are looked at before all of them are
_AT_ONCE = 1 << 14  # values that are then looked at, until some do not fit


def forms(dtype: str) -> tuple[str, ...]:
    """The forms that a tensor of this type may take; the last holds whatever it stores."""
    return FORMS[: FORMS.index(own_form(dtype)) + 1]


@dataclass(frozen=True)
class Hashes:
    """Of a block of one model: the hashes of its strides in every form that holds its values."""

    of: dict[str, bytes]


class Digest:
    """The digest of one tensor, from the hashes of its blocks in order."""

    def __init__(self, dtype: str) -> None:
        self._hashes = {form: hashlib.blake2b(form.encode(), digest_size=16) for form in forms(dtype)}
        self._count = 0

    @property
    def forms(self) -> tuple[str, ...]:
        """The forms that all values so far have, the narrowest first."""
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


def hash_part(part: Part, wanted: Sequence[tuple[str, ...]], found: NDArray[np.uint64] | None = None) -> list[Hashes]:
    """Hashes of each model of a part of a block, in those of the wanted forms that hold its values.

    `found` (models, strides, 2) are the hashes of the values in their own form, where they are known already.
    """
    own = own_form(part.dtype)
    if found is None:
        found = hashed(rows_of([part], part.values.shape[1]))
    return [
        Hashes(_in_forms(values, own, hashes.tobytes(), tried))
        for hashes, values, tried in zip(found, part.values, wanted, strict=True)
    ]


def _in_forms(stored: torch.Tensor, own: str, hashes: bytes, forms: Sequence[str]) -> dict[str, bytes]:
    """The hashes of (n,) values in their own form, and in those of the forms, narrower ones, that hold them all."""
    found = {own: hashes}
    values = stored if forms == (own,) else stored.to(DTYPES[own])
    for form in forms:
        if form not in (own, BOTH) and _holds(form, values):
            narrow = Part(slice(0, 1), form, values.to(DTYPES[form])[None])
            found[form] = hashed(rows_of([narrow], len(values)))[0].tobytes()
    if BOTH in forms and "BF16" in found and (stored.itemsize == 1 or "F16" in found or _holds("F16", values)):
        found[BOTH] = found["BF16"]
    return found


def _holds(form: str, values: torch.Tensor) -> bool:
    return _all_held(form, values[:_LOOK]) and all(_all_held(form, some) for some in torch.split(values, _AT_ONCE))


def _all_held(form: str, values: torch.Tensor) -> bool:
    back = values.to(DTYPES[form]).to(values.dtype)
    same = (back == values) | (back.isnan() & values.isnan())
    if not values.is_floating_point():
        same &= values.abs() <= 1 << 53  # beyond it some come back equal from a float that was rounded
    return bool(same.all())
