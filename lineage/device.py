"""Squared distances of a block's models on a device, in its own queues.

Rows are copied from pinned memory a piece at a time: while one piece is computed on, the next is on its way, and the
processor is free for what it does with the same bytes. Everything here but queues and events is the same on any
device, and is tested on the processor.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lineage import pairs
from lineage.products import LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from lineage.stored_tensor import Block

    Floats = NDArray[np.float64]

_AT_ONCE = 1 << 26  # elements of all models together of a piece: two of them are on the device
_FEWEST = 256  # elements of each model in a piece


class DeviceProducts:
    """Takes distances on one device; every thread that asks has a queue for copies and one for sums there."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._local = threading.local()

    @contextmanager
    def begun(self, block: Block, members: int) -> Iterator[Queued]:
        """Let the device begin with a block; its memory must be left alone until the result was asked for."""
        queued = Queued(block.models, members, self._device)
        step = max(_FEWEST, _AT_ONCE // max(1, block.models))
        copies, sums = self._queues()
        for first in range(0, block.count, step):
            with _in_queue(copies):
                values, arrived = self._sent(block, first, min(step, block.count - first), copies)
            with _in_queue(sums):
                if sums is not None:
                    sums.wait_event(arrived)
                    values.record_stream(sums)  # it is freed by the other queue no sooner than this one is done
                queued.add(values)
        with _in_queue(sums):
            queued.fetch()
        yield queued

    def _sent(self, block: Block, first: int, count: int, queue: Any) -> tuple[torch.Tensor, Any]:
        """(models, count) float64 on the device, and what tells that it is there; nothing is waited for."""
        values = torch.empty((block.models, count), dtype=torch.float64, device=self._device)
        for part in block.parts:
            for row, stored in zip(range(part.rows.start, part.rows.stop), part.values, strict=True):
                moved = stored[first : first + count].to(self._device, non_blocking=True)
                values[row] = moved if moved.dtype is torch.float64 else moved.float()
        return values, None if queue is None else queue.record_event()

    def _queues(self) -> tuple[Any, Any]:
        if self._device.type != "cuda":
            return None, None
        if not hasattr(self._local, "queues"):
            made = [torch.cuda.Stream(self._device) for _ in range(2)]  # type: ignore[no-untyped-call]  # torch's
            self._local.queues = tuple(made)
        copies, sums = self._local.queues
        return copies, sums


class Queued:
    """The sums of a block that a device is at work on."""

    def __init__(self, models: int, members: int, device: torch.device) -> None:
        self._members = members
        self._distances = torch.zeros((members, models), dtype=torch.float64, device=device)
        self._lost = torch.zeros((models, models), dtype=torch.float64, device=device)
        self._usable = torch.ones(models, dtype=torch.bool, device=device)
        self._fetched: list[torch.Tensor] = []

    def add(self, values: torch.Tensor) -> None:
        """Queue the sums over a piece, (models, count) float64, which is overwritten."""
        least, most = torch.aminmax(values, dim=1)
        here = (least >= -LARGEST) & (most <= LARGEST)
        self._usable &= here
        values.masked_fill_(~here[:, None], 0)
        zeros = (values == 0) & here[:, None]
        # A second product, which costs as much as the first: asked for on the device, to wait for no answer.
        self._lost += (values * values) @ zeros.to(torch.float64).T
        self._distances += pairs.squared_distances(values, self._members)

    def fetch(self) -> None:
        """Queue the results' way back."""
        pinned = self._distances.is_cuda
        for one in (self._distances, self._lost, self._usable):
            into = torch.empty(one.shape, dtype=one.dtype, pin_memory=pinned)
            self._fetched.append(into.copy_(one, non_blocking=pinned))
        self._done = torch.cuda.current_stream().record_event() if pinned else None

    def result(self) -> tuple[Floats, Floats | None, NDArray[np.bool_]]:
        """(m, n) squared distances, (n, n) what is lost to zeros or None, (n,) where numbers are none."""
        if self._done is not None:
            self._done.synchronize()
        distances, lost, usable = (one.numpy() for one in self._fetched)
        lost[self._members :, self._members :] = 0
        return distances, lost if lost.any() else None, ~usable


def _in_queue(queue: Any) -> AbstractContextManager[object]:
    return nullcontext() if queue is None else torch.cuda.stream(queue)
