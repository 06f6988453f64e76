"""All that is measured of one block, while its bytes are in the processor's cache or on their way to a device.

A block is decoded to float64 a piece at a time, and every sum is taken of the piece before the next is touched: moments
and extremes of each new model, the Gram matrix of all centred models. Its bytes are hashed as they are stored.
"""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from lineage import digest, moments, pairs
from lineage.pairs import Centres
from lineage.stream import Part

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from lineage.stream import Block

    Floats = NDArray[np.float64]

LARGEST = 1e60  # numbers beyond it are none: a power of four of it still leaves room for sums
SCRATCH_BYTES = 8 * 2 + 4  # per element of a piece: its value, its square, and its float32 value on the way
_PIECE = 1 << 18  # elements of all models together: what is computed of them fits into a core's share of the cache
_FEWEST = 256  # elements of each model in a piece
_PILOT = 4096  # elements of each model from which the first centres are found
_ON_DEVICE = 1 << 27  # elements of all models together that are on a device at once
_THROUGH_FLOAT32 = {"F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}  # two casts are as fast as one


@dataclass(frozen=True)
class Found:
    """What a block holds of n models, the first m of which are new."""

    moments: moments.Moments  # (m,)
    distances: Floats  # (m, n)
    bad: NDArray[np.bool_]  # (n,) holds numbers that are none, or could not be read
    hashes: list[digest.Hashes]  # m
    strayed: bool  # whether models were centred far away from what they are near to


def piece_elements(models: int, memory: int) -> int:
    """Elements of each model in a piece, which takes an eighth of so many bytes at most: fewer are somewhat slower."""
    fitting = min(_PIECE, memory // 8 // SCRATCH_BYTES) // max(1, models)
    if fitting >= moments.SEGMENT:
        return fitting - fitting % moments.SEGMENT
    return max(_FEWEST, fitting - fitting % _FEWEST)


class Bench:
    """What a thread computes blocks of `models` models with: memory that is used over and over."""

    def __init__(self, models: int, leaders: int, size: int) -> None:
        self.size = size
        self.values = torch.empty((models, self.size), dtype=torch.float64)
        self.powers = np.empty((models, self.size))
        self.narrow = torch.empty((models, self.size), dtype=torch.float32)
        self.leading = np.empty((leaders, self.size))

    def decode(self, block: Block, first: int, count: int) -> torch.Tensor:
        """(models, count) float64: elements [first, first + count) of the block."""
        values = self.values[:, :count]
        for part in block.parts:
            source, into = part.values[:, first : first + count], values[part.rows]
            if part.dtype in _THROUGH_FLOAT32:
                source = self.narrow[part.rows, :count].copy_(source)
            into.copy_(source)
        return values

    def extremes(self, block: Block, first: int, count: int) -> tuple[Floats, Floats]:
        """The least and greatest of what was decoded last, per model, NaN where one is."""
        least, most = np.empty(block.models), np.empty(block.models)
        for part in block.parts:
            if part.dtype == "F32":
                here = part.values[:, first : first + count].numpy()
            elif part.dtype in _THROUGH_FLOAT32:
                here = self.narrow[part.rows, :count].numpy()
            else:
                here = self.values[part.rows, :count].numpy()
            least[part.rows], most[part.rows] = here.min(axis=1), here.max(axis=1)
        return least, most


class Work:
    """Measures blocks of a layer of `models` models, the first `members` of which are new, by pieces of `size`."""

    def __init__(self, models: int, members: int, device: torch.device, size: int) -> None:
        self._models = models
        self._members = members
        self._device = device
        self._size = size
        self._local = threading.local()

    def pilot(self, block: Block) -> Centres:
        """Centres for the models, from a part of a block."""
        if self._device.type != "cpu":
            return Centres(np.zeros(self._models, dtype=np.intp), 0)  # there, every block finds its own
        count = min(_PILOT, max(1, _PIECE // self._models), block.count)
        values = torch.cat([_rows(part.values[:, :count]) for part in block.parts])
        usable = (values.abs() <= LARGEST).all(dim=1)
        found = pairs.squared_distances(torch.where(usable[:, None], values, 0), self._members)
        found[~usable[: self._members]] = torch.nan
        found[:, ~usable] = torch.nan
        return pairs.centres(found.numpy())

    def measure(self, block: Block, centres: Centres, forms: Sequence[tuple[str, ...]]) -> Found:
        """Measure a block; `forms[i]` are the forms in which the values of new model i are hashed."""
        if self._device.type != "cpu":
            return self.measure_on_device(block, forms)
        members = self._members
        bench = self._bench(len(centres.leaders))
        gathered = moments.Gathered(members)
        gram = torch.zeros((members, self._models), dtype=torch.float64)
        old = np.zeros(self._models - members)
        bad = _unread(block)
        first = 0
        while first < block.count:
            count = min(bench.size, block.count - first)
            if count > moments.SEGMENT:
                count -= count % moments.SEGMENT
            values = bench.decode(block, first, count)
            array = values.numpy()
            least, most = bench.extremes(block, first, count)
            wrong = ~((least >= -LARGEST) & (most <= LARGEST))
            if wrong.any():
                bad |= wrong
                array[wrong] = 0
            scratch = bench.powers[:members, :count]
            gathered.add(array[:members], least[:members], most[:members], scratch)
            if self._models > 1:
                centres.centre(array, bench.leading[:, :count])
                pairs.add_products(gram, values)
                old += moments.dots(array[members:], array[members:])
            first += count
        products = pairs.mirrored(gram)
        distances, cancelled = centres.distances(products, np.concatenate([np.diagonal(products), old]))
        strayed = bool(cancelled.any())
        if strayed:
            self._refine(block, distances, cancelled, bench)
        hashes = _hashes(block, members, forms)
        gathered.zeros += np.array([one.zeros for one in hashes], dtype=np.int64)
        return Found(gathered.total(), distances, bad, hashes, strayed)

    def measure_on_device(self, block: Block, forms: Sequence[tuple[str, ...]]) -> Found:
        """As `measure`, by the device; rows are copied to it and computed on in a queue of this thread's own.

        The block's memory is pinned, so that copies of one thread go on while another's sums are computed; the
        results' way back waits for all of it, after which the block may be overwritten.
        """
        members = self._members
        total = moments.nothing(members)
        distances = torch.zeros((members, self._models), dtype=torch.float64, device=self._device)
        usable = torch.ones(self._models, dtype=torch.bool, device=self._device)
        step = max(_FEWEST, _ON_DEVICE // self._models)
        hashes: list[digest.Hashes] = []
        with self._queue():
            for first in range(0, block.count, step):
                values = self._sent(block, first, min(step, block.count - first))
                if not hashes:
                    hashes = _hashes(block, members, forms)  # while the device is at work
                least, most = torch.aminmax(values, dim=1)
                here = (least >= -LARGEST) & (most <= LARGEST)
                usable &= here
                values[~here] = 0
                distances += pairs.squared_distances(values, members)
                total = moments.merge(total, moments.of_block(values[:members]))
            bad = ~usable.cpu().numpy() | _unread(block)
            return Found(total, distances.cpu().numpy(), bad, hashes, strayed=False)

    def _sent(self, block: Block, first: int, count: int) -> torch.Tensor:
        """(models, count) float64 on the device; copies are queued, and not waited for."""
        values = torch.empty((block.models, count), dtype=torch.float64, device=self._device)
        copied = []
        for part in block.parts:
            for row, stored in zip(range(part.rows.start, part.rows.stop), part.values, strict=True):
                moved = stored[first : first + count].to(self._device, non_blocking=True)
                values[row] = moved
                copied.append(moved)
        return values

    def _queue(self) -> AbstractContextManager[object]:
        if self._device.type != "cuda":
            return nullcontext()
        if not hasattr(self._local, "queue"):
            self._local.queue = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        return torch.cuda.stream(self._local.queue)

    def _refine(self, block: Block, distances: Floats, cancelled: NDArray[np.bool_], bench: Bench) -> None:
        """Measure pairs again that were cancelled."""
        rows = np.flatnonzero(cancelled.any(axis=0) | np.pad(cancelled.any(axis=1), (0, self._models - self._members)))
        new = rows[rows < self._members]
        again = torch.zeros((len(new), len(rows)), dtype=torch.float64)
        for first in range(0, block.count, bench.size):
            values = bench.decode(block, first, min(bench.size, block.count - first))[torch.from_numpy(rows)]
            values[~(values.abs() <= LARGEST).all(dim=1)] = 0
            again += pairs.squared_distances(values, len(new))
        where = np.ix_(new, rows)
        distances[where] = np.where(cancelled[where], again.numpy(), distances[where])

    def _bench(self, leaders: int) -> Bench:
        bench: Bench | None = getattr(self._local, "bench", None)
        if bench is None or len(bench.leading) < leaders:
            bench = self._local.bench = Bench(self._models, leaders, self._size)
        return bench


def _rows(values: torch.Tensor) -> torch.Tensor:
    return values.to(torch.float64) if values.dtype is torch.float64 else values.float().double()


def _unread(block: Block) -> NDArray[np.bool_]:
    bad = np.zeros(block.models, dtype=np.bool_)
    bad[list(block.unread)] = True
    return bad


def _hashes(block: Block, members: int, forms: Sequence[tuple[str, ...]]) -> list[digest.Hashes]:
    """Of the new models; those that could not be read are hashed as zeros and not asked for later."""
    found: list[digest.Hashes] = []
    for part in block.parts:
        new = part.values[: max(0, members - part.rows.start)]
        rows = slice(part.rows.start, part.rows.start + len(new))
        found += digest.hash_part(Part(rows, part.dtype, new), forms[rows])
    return found
