"""Where a layer of a member is stored, and stretches of the layers of many as they were read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from lineage import scales

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "I8T": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class StoredTensor:
    """Where a member keeps a layer: [start, stop) are absolute bytes of the file.

    Of int8 with a scale for each row (`lineage.scales`) the scales are kept in a tensor of their own, and in a third,
    where there is one, a byte that is 0 where the values lie row by row. Of the type I8T what lies row by row are the
    columns of the layer.
    """

    file: str
    name: str
    dtype: str
    start: int
    stop: int
    scale: StoredTensor | None = None
    order: StoredTensor | None = None

    @property
    def form(self) -> str:
        """The type as which its values come in a block."""
        return self.dtype if self.scale is None else scales.DECODED

    @property
    def transposed(self) -> bool:
        """Whether the layer's columns are the rows of the file."""
        return self.dtype == "I8T"

    @property
    def itemsize(self) -> int:
        """Bytes per element of a block."""
        return DTYPES[self.form].itemsize

    @property
    def stored_itemsize(self) -> int:
        """Bytes per element in the file."""
        return DTYPES[self.dtype].itemsize

    @property
    def pieces(self) -> tuple[StoredTensor, ...]:
        """All that is read of it."""
        return tuple(one for one in (self, self.scale, self.order) if one is not None)


class Reader(Protocol):
    """Reads bytes of one member's file. What cannot be read is remembered by the reader, which then returns False."""

    def __call__(self, member: int, tensor: StoredTensor, start: int, buffer: memoryview) -> bool:
        """Fill `buffer` from byte `start` of the file on."""


@dataclass(frozen=True)
class Part:
    """Models of a block that follow one another and are stored alike."""

    rows: slice
    dtype: str
    values: torch.Tensor  # (models of the part, elements of the block), as stored; int8 with scales is decoded


@dataclass(frozen=True)
class Block:
    """Elements [start, start + count) of every model of a layer; a model that could not be read is all zeros here."""

    start: int
    count: int
    models: int
    parts: tuple[Part, ...]
    unread: tuple[int, ...]

    @property
    def stop(self) -> int:
        """The element after the last."""
        return self.start + self.count
