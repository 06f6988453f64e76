"""One layer of many models, a block of elements at a time, as it is stored.

What is held in memory is bounded by a setting, whatever the models' sizes: a block takes the same stretch of elements
of every model. A few blocks are on their way at once, so that reading, decoding and computing overlap: threads read
into buffers that are used over and over, others compute on what has arrived, and results come back in order.
"""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
STRIDE = 4096  # elements: blocks begin at multiples of it, so that whatever is done by strides knows no blocks
_LARGEST_BLOCK = 1 << 18  # elements per model: what was read is still in the processor's cache when it is computed on
_READERS = 4
_MOST_WORKERS = 8
_AHEAD = 2  # blocks that are read or wait beside those that are computed on

Result = TypeVar("Result")


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


@dataclass(frozen=True)
class Part:
    """Models of a block that follow one another and are stored alike."""

    rows: slice
    dtype: str
    values: torch.Tensor  # (models of the part, elements of the block), as stored


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


def block_elements(bytes_per_element: int, memory: int) -> int:
    """Elements of each model in a block, where one element of all models takes so many bytes: whole strides."""
    fitting = min(_LARGEST_BLOCK, memory // max(1, bytes_per_element))
    return max(STRIDE, fitting - fitting % STRIDE)


class LayerStream:
    """Blocks of one layer after another, over one set of threads and buffers."""

    def __init__(
        self, read: Reader, readers: ThreadPoolExecutor, workers: ThreadPoolExecutor, threads: int, device: torch.device
    ) -> None:
        self._read = read
        self._readers = readers
        self._workers = workers
        self._free: list[torch.Tensor] = []
        self.device = device
        self.threads = threads

    @property
    def in_flight(self) -> int:
        """How many blocks are in memory at once."""
        return self.threads + _AHEAD

    def each(
        self,
        tensors: Sequence[StoredTensor],
        size: int,
        step: int,
        plan: Callable[[Block | None], Callable[[Block], Result]],
        *,
        order: Sequence[int] | None = None,
    ) -> Iterator[Result]:
        """Results of the blocks of `step` elements of a layer of `size` elements, in order.

        `plan` is asked, block by block and in order, for what to compute from it; the first time it is shown the
        block, later it knows the results that were yielded before. `tensors[i]` is row i of the blocks, and `order[i]`
        (default: i) is the member that it is read of.
        """
        step = min(step, -(-size // STRIDE) * STRIDE)
        starts = iter(range(0, size, step) if size else ())
        members = range(len(tensors)) if order is None else order
        waiting: deque[_Turn] = deque()
        working: deque[tuple[Future[Result], torch.Tensor]] = deque()
        planned = False
        try:
            while True:
                while len(waiting) + len(working) < self.in_flight and (start := next(starts, None)) is not None:
                    waiting.append(self._begin(tensors, members, start, min(step, size - start), step))
                if waiting and len(working) <= self.threads:
                    turn = waiting[0]
                    work = plan(None if planned else turn.block())
                    planned = True
                    working.append((self._workers.submit(turn.run, work), waiting.popleft().buffer))
                    continue
                if not working:
                    break
                result = working[0][0].result()
                self._free.append(working.popleft()[1])
                yield result
        finally:
            # The buffers must be nobody's before they are used again, whatever went wrong.
            for turn in waiting:
                for read in turn.reads:
                    read.cancel()
            wait([read for turn in waiting for read in turn.reads if not read.cancelled()])
            wait([future for future, _ in working if not future.cancel()])
            self._free += [turn.buffer for turn in waiting] + [buffer for _, buffer in working]

    def map(self, function: Callable[[int], Result], count: int) -> list[Result]:
        """function(0) ... function(count - 1), computed by the workers."""
        return list(self._workers.map(function, range(count)))

    @property
    def held(self) -> int:
        """Bytes of the buffers that are kept for the next layer."""
        return sum(len(buffer) for buffer in self._free)

    def release(self) -> None:
        """Give the buffers' memory back."""
        self._free.clear()

    def _begin(
        self, tensors: Sequence[StoredTensor], members: Sequence[int], start: int, count: int, step: int
    ) -> _Turn:
        """Let a block be read, into a buffer with room for `step` elements of each model."""
        buffer = self._buffer(step * sum(tensor.itemsize for tensor in tensors))
        room = memoryview(buffer.numpy().data)
        wanted, at = [], 0
        for member, tensor in zip(members, tensors, strict=True):
            into = room[at : at + count * tensor.itemsize]
            wanted.append((member, tensor, tensor.start + start * tensor.itemsize, into))
            at += step * tensor.itemsize
        each = -(-len(wanted) // _READERS)  # as few tasks as keep all readers busy
        reads = [self._readers.submit(self._fill, wanted[at : at + each]) for at in range(0, len(wanted), each)]
        return _Turn(start, count, step, tuple(tensor.dtype for tensor in tensors), buffer, tuple(reads))

    def _fill(self, wanted: Sequence[tuple[int, StoredTensor, int, memoryview]]) -> list[bool]:
        return [self._read(*one) for one in wanted]

    def _buffer(self, size: int) -> torch.Tensor:
        buffer = self._free.pop() if self._free else None
        if buffer is None or len(buffer) < size:
            # Pinned memory is what a device copies from without the processor's help.
            buffer = torch.zeros(size, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        return buffer


@dataclass(frozen=True)
class _Turn:
    """A block that is being read."""

    start: int
    count: int
    step: int
    dtypes: tuple[str, ...]
    buffer: torch.Tensor
    reads: tuple[Future[list[bool]], ...]

    def block(self) -> Block:
        """The block, once it was read."""
        parts, at, row = [], 0, 0
        done = [one for read in self.reads for one in read.result()]
        unread = tuple(row for row, read in enumerate(done) if not read)
        while row < len(self.dtypes):
            dtype, first = self.dtypes[row], row
            while row < len(self.dtypes) and self.dtypes[row] == dtype:
                row += 1
            size = (row - first) * self.step * DTYPES[dtype].itemsize
            values = self.buffer[at : at + size].view(DTYPES[dtype]).view(row - first, self.step)[:, : self.count]
            for missing in unread:
                if first <= missing < row:
                    values[missing - first].view(torch.uint8).zero_()
            parts.append(Part(slice(first, row), dtype, values))
            at += size
        return Block(self.start, self.count, len(self.dtypes), tuple(parts), unread)

    def run(self, work: Callable[[Block], Result]) -> Result:
        """What `work` makes of the block."""
        return work(self.block())


@contextmanager
def layer_stream(read: Reader, device: str = "cpu", threads: int | None = None) -> Iterator[LayerStream]:
    """A stream that reads and computes with threads of its own; `threads` compute (default: one per core, at most 8).

    torch computes with one thread in each of them: its own threads wait for each other, and on cores that others use
    too, chunked kernels were seen 10 to 100 times slower with two than with one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    threads = threads or max(1, min(_MOST_WORKERS, _cores()))
    readers = ThreadPoolExecutor(_READERS, thread_name_prefix="layer-reader")
    workers = ThreadPoolExecutor(threads, "layer-worker", initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield LayerStream(read, readers, workers, threads, torch.device(device))
    finally:
        readers.shutdown(cancel_futures=True)
        workers.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
