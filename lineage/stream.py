"""One layer of many models, a block of elements at a time, decoded to float64.

What is held in memory is bounded by a setting, whatever the models' sizes: a block takes the same stretch of elements
of every member, its bytes are read ahead while the block before it is computed on, and both are reused.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
# What one element of a block costs while it is computed on: its float64 value, as many bytes again for a centred copy
# and for a power of it, its stored bytes twice (one block being read ahead), and a quarter more of all that, since an
# allocator keeps some of what it is given back.
_BYTES_PER_ELEMENT = (8 * 3 + 8 * 2) * 5 // 4
_LARGEST_BLOCK = 1 << 20  # elements per member: larger blocks gain no speed
_READERS = 4


@dataclass(frozen=True)
class StoredTensor:
    """Where a member keeps a layer: [start, stop) are absolute bytes of the file."""

    file: str
    name: str
    dtype: str
    start: int
    stop: int

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return DTYPES[self.dtype].itemsize


class Reader(Protocol):
    """Reads bytes of one member's file. What cannot be read is remembered by the reader, which then returns False."""

    def __call__(self, member: int, tensor: StoredTensor, start: int, buffer: memoryview) -> bool:
        """Fill `buffer` from byte `start` of the file on."""


def block_elements(members: int, columns: int, memory: int) -> int:
    """Elements of each member in a block: whole rows of `columns` where that fits into `memory` bytes."""
    fitting = max(1, min(_LARGEST_BLOCK, memory // (_BYTES_PER_ELEMENT * max(1, members))))
    return fitting - fitting % columns if fitting >= columns else fitting


@dataclass(frozen=True)
class Block:
    """Elements [start, start + n) of every member of a layer."""

    start: int
    values: torch.Tensor  # (members, n) float64; NaN where a member could not be read

    @property
    def stop(self) -> int:
        """The element after the last."""
        return self.start + int(self.values.shape[1])


class LayerStream:
    """Blocks of one layer after another, over one pool of reading threads."""

    def __init__(self, read: Reader, pool: ThreadPoolExecutor, device: torch.device) -> None:
        self._read = read
        self._pool = pool
        self.device = device

    def blocks(self, tensors: Sequence[StoredTensor], size: int, step: int) -> Iterator[Block]:
        """Blocks of `step` elements, in order, of a layer of `size` elements.

        `tensors[i]` is where member i keeps it; the index is what the reader is called with.
        """
        step = min(step, size)
        starts = range(0, size, step) if size else range(0)
        buffers = [[bytearray(step * tensor.itemsize) for tensor in tensors] for _ in range(min(2, len(starts)))]
        values = torch.empty((len(tensors), step), dtype=torch.float64)
        ahead: list[Future[bool]] = []
        for turn, start in enumerate(starts):
            count = min(step, size - start)
            pending = ahead or self._submit(tensors, buffers[0], start, count)
            arrived = [future.result() for future in pending]
            following = start + step
            ahead = (
                self._submit(tensors, buffers[(turn + 1) % 2], following, min(step, size - following))
                if following < size
                else []
            )
            for index, (tensor, there) in enumerate(zip(tensors, arrived, strict=True)):
                if there:
                    values[index, :count] = decode(buffers[turn % 2][index], tensor.dtype, count)
                else:
                    values[index, :count] = torch.nan
            yield Block(start, values[:, :count].to(self.device))

    def _submit(
        self, tensors: Sequence[StoredTensor], buffers: list[bytearray], start: int, count: int
    ) -> list[Future[bool]]:
        return [
            self._pool.submit(
                self._read,
                index,
                tensor,
                tensor.start + start * tensor.itemsize,
                memoryview(buffers[index])[: count * tensor.itemsize],
            )
            for index, tensor in enumerate(tensors)
        ]


def decode(buffer: bytearray, dtype: str, count: int) -> torch.Tensor:
    """The first `count` little-endian numbers of a buffer, as stored."""
    return torch.frombuffer(buffer, dtype=DTYPES[dtype], count=count)


@contextmanager
def layer_stream(read: Reader, device: str = "cpu") -> Iterator[LayerStream]:
    """A stream that reads with a few threads of its own; torch computes with one thread beside them."""
    before = torch.get_num_threads()
    # More threads contend with the readers: chunked kernels were seen 10 to 100 times slower with two on two cores.
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(_READERS, thread_name_prefix="layer-reader")
    try:
        yield LayerStream(read, pool, torch.device(device))
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)
