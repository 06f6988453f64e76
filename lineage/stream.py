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
from contextvars import copy_context
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from lineage import scales
from lineage.stored_row import Row
from lineage.stored_tensor import DTYPES, Block, Part, Reader, StoredTensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

STRIDE = 4096  # elements: blocks begin at multiples of it, so that whatever is done by strides knows no blocks
_LARGEST_BLOCK = 1 << 20  # elements per model: larger ones make no request or step that is noticeably cheaper
_SHARED_BLOCK = 1 << 18  # layers are not cut smaller for the threads' sake
_CACHED_BLOCK = 1 << 23  # bytes of all models: what was read is still in the processor's cache when it is computed on
_REQUEST = 1 << 16  # bytes: a local file is read as well in pieces of this size as in larger ones
_READERS = 4
_MOST_WORKERS = 8
_AHEAD = 2  # blocks that are read or wait beside those that are computed on

Result = TypeVar("Result")


class LayerStream:
    """Blocks of one layer after another, over one set of threads and buffers.

    Of the layer that came last, `steps` are the steps of the rows of each member that stores it in int8, and `refused`
    says of members why their scales are of no use; these are not read.
    """

    def __init__(
        self,
        read: Reader,
        readers: ThreadPoolExecutor,
        workers: ThreadPoolExecutor,
        threads: int,
        device: torch.device,
        request: int,
    ) -> None:
        self._read = read
        self._readers = readers
        self._workers = workers
        self._free: list[torch.Tensor] = []
        self.steps: dict[int, NDArray[np.float32]] = {}
        self.refused: dict[int, str] = {}
        self.device = device
        self.threads = threads
        self.request = request

    @property
    def in_flight(self) -> int:
        """How many blocks are in memory at once."""
        return self.threads + _AHEAD

    def step(self, tensors: Sequence[StoredTensor], size: int, memory: int) -> int:
        """Elements of each model in a block of a layer of `size`, all blocks in flight within `memory`: whole strides.

        Blocks are small for the processor's cache, but large enough for the source's requests, and there are enough of
        them for all threads to have some.
        """
        each = max(1, sum(tensor.itemsize for tensor in tensors))
        enough = max(_CACHED_BLOCK // each, self.request // min((tensor.itemsize for tensor in tensors), default=1))
        shared = max(_SHARED_BLOCK, size // (2 * self.threads))
        fitting = min(_LARGEST_BLOCK, enough, shared, memory // (each * self.in_flight))
        return max(STRIDE, fitting - fitting % STRIDE)

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
        rows = self._rows(tensors, range(len(tensors)) if order is None else order, size)
        waiting: deque[_Turn] = deque()
        working: deque[tuple[Future[Result], torch.Tensor]] = deque()
        planned = False
        try:
            while True:
                while len(waiting) + len(working) < self.in_flight and (start := next(starts, None)) is not None:
                    waiting.append(self._begin(rows, start, min(step, size - start), step))
                if waiting and len(working) <= self.threads:
                    turn = waiting[0]
                    work = plan(None if planned else turn.block)
                    planned = True
                    working.append((self._workers.submit(copy_context().run, turn.run, work), waiting.popleft().buffer))
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

    def _rows(self, tensors: Sequence[StoredTensor], members: Sequence[int], size: int) -> list[Row]:
        """The rows of the blocks of a layer; their scales are read before any block."""
        for member in members:
            self.steps.pop(member, None)
            self.refused.pop(member, None)
        scaled = [(member, tensor) for member, tensor in zip(members, tensors, strict=True) if tensor.scale is not None]
        asked = [self._readers.submit(copy_context().run, self._scales, member, tensor) for member, tensor in scaled]
        own: dict[int, NDArray[np.float32]] = {}
        for (member, tensor), answer in zip(scaled, asked, strict=True):
            found = answer.result()
            if isinstance(found, str):
                self.refused[member] = found
            elif found is not None:
                own[member] = found
                self.steps[member] = scales.usual_step(found, size // len(found)) if tensor.transposed else found
        return [Row(member, tensor, own.get(member), size) for member, tensor in zip(members, tensors, strict=True)]

    def _scales(self, member: int, tensor: StoredTensor) -> NDArray[np.float32] | str | None:
        """The steps of the rows of an int8 tensor, or why there are none; None where they could not be read."""
        if tensor.order is not None:
            order = bytearray(1)
            if not self._read(member, tensor.order, tensor.order.start, memoryview(order)):
                return None
            if order[0]:
                return f"{tensor.order.name} is {order[0]}, expected 0: values that lie row by row"
        assert tensor.scale is not None  # noqa: S101  # what has none is not asked for them
        found = np.empty((tensor.scale.stop - tensor.scale.start) // tensor.scale.itemsize, dtype="<f4")
        if not self._read(member, tensor.scale, tensor.scale.start, found.data.cast("B")):
            return None
        try:
            return scales.steps(found)
        except ValueError as error:
            return f"{tensor.scale.name}: {error}"

    def _begin(self, rows: Sequence[Row], start: int, count: int, step: int) -> _Turn:
        """Let a block be read, into a buffer with room for `step` elements of each model."""
        buffer = self._buffer(step * sum(row.tensor.itemsize for row in rows))
        room = memoryview(buffer.numpy().data)
        wanted, at = [], 0
        for row in rows:
            first, size = at + step * row.read_at, row.tensor.stored_itemsize
            wanted.append((row, row.tensor.start + start * size, room[first : first + count * size]))
            at += step * row.tensor.itemsize
        each = -(-len(wanted) // _READERS)  # as few tasks as keep all readers busy
        reads = [
            self._readers.submit(copy_context().run, self._fill, wanted[at : at + each])
            for at in range(0, len(wanted), each)
        ]
        return _Turn(start, count, step, tuple(rows), buffer, tuple(reads))

    def _fill(self, wanted: Sequence[tuple[Row, int, memoryview]]) -> list[bool]:
        return [row.usable and row.read(self._read, start, into) for row, start, into in wanted]

    def _buffer(self, size: int) -> torch.Tensor:
        buffer = self._free.pop() if self._free else None
        if buffer is None or len(buffer) < size:
            # Pinned memory is what a device copies from without the processor's help.
            buffer = torch.empty(size, dtype=torch.uint8, pin_memory=self.device.type == "cuda")
        return buffer


@dataclass(frozen=True, eq=False)
class _Turn:
    """A block that is being read."""

    start: int
    count: int
    step: int
    rows: tuple[Row, ...]
    buffer: torch.Tensor
    reads: tuple[Future[list[bool]], ...]

    @cached_property
    def block(self) -> Block:
        """The block, once it was read: decoded in the room that it was read into, hence once."""
        parts, at, row = [], 0, 0
        done = [one for read in self.reads for one in read.result()]
        unread = tuple(row for row, read in enumerate(done) if not read)
        while row < len(self.rows):
            form, first, begin = self.rows[row].tensor.form, row, at
            while row < len(self.rows) and self.rows[row].tensor.form == form:
                stop = at + self.step * self.rows[row].tensor.itemsize
                if done[row]:
                    self.rows[row].decode(self.buffer[at:stop], self.step, self.start, self.count)
                row, at = row + 1, stop
            values = self.buffer[begin:at].view(DTYPES[form]).view(row - first, self.step)[:, : self.count]
            for missing in unread:
                if first <= missing < row:
                    values[missing - first].view(torch.uint8).zero_()
            parts.append(Part(slice(first, row), form, values))
        return Block(self.start, self.count, len(self.rows), tuple(parts), unread)

    def run(self, work: Callable[[Block], Result]) -> Result:
        """What `work` makes of the block."""
        return work(self.block)


@contextmanager
def layer_stream(
    read: Reader, device: str = "cpu", threads: int | None = None, request: int = _REQUEST
) -> Iterator[LayerStream]:
    """A stream that reads and computes with threads of its own; `threads` compute (default: one per core, at most 8).

    `request` is the least that is read at once of a model, in bytes, where its layer and the memory are large enough.

    torch computes with one thread in each of them: its own threads wait for each other, and on cores that others use
    too, chunked kernels were seen 10 to 100 times slower with two than with one.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    threads = threads or max(1, min(_MOST_WORKERS, _cores()))
    readers = ThreadPoolExecutor(_READERS, thread_name_prefix="layer-reader")
    workers = ThreadPoolExecutor(threads, "layer-worker", initializer=torch.set_num_threads, initargs=(1,))
    try:
        yield LayerStream(read, readers, workers, threads, torch.device(device), request)
    finally:
        readers.shutdown(cancel_futures=True)
        workers.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
