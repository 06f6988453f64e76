"""All measures of one layer, from one pass over its members' bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import torch

from lineage import moments, pairs, rank, slope
from lineage.block import SCRATCH_BYTES, Found, Work, piece_elements
from lineage.digest import Digest, Hashes, hash_part
from lineage.family import Layer, LayerKind
from lineage.stream import STRIDE, LayerStream, StoredTensor, block_elements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from lineage.pairs import Centres
    from lineage.stream import Block

NEAREST = 16  # ranks are measured between each member and this many of its nearest models in the layer
_RELATED = 0.7**2  # squared relative distance beyond which a difference is not worth a rank
_UNUSABLE = "holds NaN, infinity or numbers beyond 1e60"
_SMALLEST_SIDE = 2  # a matrix with a single row or column has no rank worth the name
_COLUMNS = ("mean", "variance", "skewness", "kurtosis", "squared_norm", "minimum", "maximum")
_RESERVE = 48 << 20  # bytes that the allocator keeps of what it is given back, and that libraries keep for themselves
_LITTLE = 16  # the share of the memory that buffers may keep while ranks and slopes are measured
_FEWEST = 256  # elements of each model on a thread's bench, however many models
_BYTES_PER_PAIR = 96  # Gram matrices and distances of the blocks in flight


@dataclass(frozen=True)
class LayerMeasures:
    """Measures of one layer: of its `members` (m), and of them with all `models` (n, the members first).

    A member that could not be read or that holds NaN or infinity is in `unusable`, with NaN for its numbers.
    """

    count: int
    zeros: NDArray[np.int64]  # (m,)
    mean: NDArray[np.float64]  # (m,), as the five below
    variance: NDArray[np.float64]
    skewness: NDArray[np.float64]
    kurtosis: NDArray[np.float64]
    squared_norm: NDArray[np.float64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    digest: tuple[bytes, ...]  # m: of the values; equal for equal numbers, whatever their dtype or shard
    squared_distance: NDArray[np.float64]  # (m, n)
    slope: NDArray[np.float32]  # (m, n)
    rank: NDArray[np.int16]  # (m, n), -1 where not measured
    unusable: dict[int, str]  # index among the models -> reason; unreadable ones are known to the reader


def measure_layer(  # what is measured, of what, and within what
    stream: LayerStream,
    layer: Layer,
    tensors: Sequence[StoredTensor],
    members: int,
    memory: int,
    *,
    ranks: bool = True,
) -> LayerMeasures:
    """Measure a layer of len(tensors) models, the first `members` of which are new, within `memory` bytes.

    Without `ranks` none are measured.
    """
    memory -= min(memory // 2, _RESERVE)
    if layer.kind == LayerKind.BUFFER:
        return _measure_buffer(stream, layer, tensors, members, memory)
    rows, columns = _matrix_shape(layer)
    models = len(tensors)
    matrix = layer.kind != LayerKind.VECTOR and min(rows, columns) >= _SMALLEST_SIDE
    # A quarter of the memory for whole layers (ranks), a quarter for the window of slopes, a quarter for the blocks,
    # and the last for what is computed on the way; a difference and its factors come after the blocks.
    fits = layer.size * models * _Kept.itemsize(tensors) <= memory // 4 and layer.size * 8 * 3 <= memory // 2
    whole = _Kept(tensors, 0, rows, columns) if matrix and fits and ranks else None
    seen = _Kept(tensors, *slope.window(rows, columns, memory // (16 * models))) if matrix else None
    total = _Total(tensors, members)
    for group in _groups(stream, tensors, members, memory):
        _pass(stream, layer, tensors, group, total, [one for one in (whole, seen) if one is not None], memory)
    if stream.held > memory // _LITTLE:
        stream.release()  # its memory is wanted for what follows
    return _collect(stream, layer.size, total, whole=whole, seen=seen, dtypes=[tensor.dtype for tensor in tensors])


class _Total:
    """What is known of a layer's models so far."""

    def __init__(self, tensors: Sequence[StoredTensor], members: int) -> None:
        self.members = members
        self.distances = np.full((members, len(tensors)), np.nan)
        self.bad = np.zeros(len(tensors), dtype=np.bool_)
        self.digests = [b""] * members
        self.columns = {name: np.full(members, np.nan) for name in _COLUMNS}
        self.zeros = np.zeros(members, dtype=np.int64)


def _pass(
    stream: LayerStream,
    layer: Layer,
    tensors: Sequence[StoredTensor],
    group: Sequence[int],
    total: _Total,
    kept: Sequence[_Kept],
    memory: int,
) -> None:
    """Measure the models of a group, given in the order in which they stand in the blocks: new ones first."""
    rows = np.array(group)
    new = rows[rows < total.members]
    size = piece_elements(len(rows), _for_blocks(memory) // stream.threads)
    work = Work(len(rows), len(new), stream.device, size)
    digests = [Digest(tensors[row].dtype) for row in new]
    summed, bad = moments.nothing(len(new)), np.zeros(len(rows), dtype=np.bool_)
    distances = np.zeros((len(new), len(rows)))
    centres: Centres | None = None
    strayed = False

    def plan(first: Block | None) -> Callable[[Block], Found]:
        nonlocal centres, strayed
        if first is not None:
            centres = work.pilot(first)
        elif strayed:
            centres, strayed = pairs.centres(distances), False
        assert centres is not None  # noqa: S101  # the first block was shown
        around, forms = centres, [one.forms for one in digests]

        def measured(block: Block) -> Found:
            for one in kept:
                one.take(block, rows)
            return work.measure(block, around, forms)

        return measured

    step = _step(tensors, rows, stream, size, _for_blocks(memory))
    start = 0
    for found in stream.each([tensors[row] for row in rows], layer.size, step, plan, order=rows.tolist()):
        count = min(step, layer.size - start)
        start += count
        summed = moments.merge(summed, found.moments)
        distances += found.distances
        bad |= found.bad
        strayed |= found.strayed
        for one, hashes in zip(digests, found.hashes, strict=True):
            one.update(hashes, count)
    total.bad[rows] |= bad
    total.distances[np.ix_(new, rows)] = distances
    total.zeros[new] = summed.zeros
    for name, column in total.columns.items():
        column[new] = getattr(summed, name) if summed.count or name == "squared_norm" else np.nan
    for row, one in zip(new, digests, strict=True):
        total.digests[row] = one.value()


def _step(tensors: Sequence[StoredTensor], rows: NDArray[np.intp], stream: LayerStream, size: int, memory: int) -> int:
    """Elements of each model in a block: what is left of the memory when every thread has its bench."""
    bench = stream.threads * size * len(rows) * SCRATCH_BYTES
    each = sum(tensors[row].itemsize for row in rows) * stream.in_flight
    return block_elements(each, memory - bench)


def _groups(stream: LayerStream, tensors: Sequence[StoredTensor], members: int, memory: int) -> Iterator[list[int]]:
    """The models that are in memory together, in one pass or several: every new one meets every other in one of them.

    Where all have room for blocks worth reading, there is one group. Where not, models are cut into sets of which two
    have room, and every two of them are a group.
    """
    everyone = sorted(range(len(tensors)), key=lambda row: (row >= members, tensors[row].dtype, row))
    each = max(tensor.itemsize for tensor in tensors) * STRIDE * stream.in_flight
    each += _FEWEST * SCRATCH_BYTES * stream.threads
    together = max(2, min(_for_blocks(memory) // each, math.isqrt(memory // 8 // _BYTES_PER_PAIR)))
    if len(everyone) <= together:
        yield everyone
        return
    half = together // 2
    sets = [everyone[first : first + half] for first in range(0, len(everyone), half)]
    for one, another in combinations(sets, 2):
        if one[0] < members:
            yield one + another


def _for_blocks(memory: int) -> int:
    return memory // 4


def _matrix_shape(layer: Layer) -> tuple[int, int]:
    """A tensor seen as a matrix: its first dimension by all the others; a vector is one row."""
    if len(layer.shape) < 2:
        return 1, max(1, layer.size)
    return layer.shape[0], max(1, layer.size // max(1, layer.shape[0]))


def _collect(
    stream: LayerStream,
    count: int,
    total: _Total,
    *,
    whole: _Kept | None,
    seen: _Kept | None,
    dtypes: list[str],
) -> LayerMeasures:
    members, bad = total.members, total.bad
    distances = _clean(total.distances, bad)
    slopes = np.full(distances.shape, np.nan, dtype=np.float32)
    if seen is not None:
        slopes = slope.evidence(seen.values, members, stream.map).numpy().astype(np.float32)
        slopes[bad[:members], :] = np.nan
        slopes[:, bad] = np.nan
        slopes[distances == 0] = np.nan
    columns = {name: np.where(bad[:members], np.nan, column) for name, column in total.columns.items()}
    ranks = np.full(distances.shape, -1, dtype=np.int16)
    if whole is not None:
        ranks = _ranks(whole.values, distances, columns["squared_norm"], dtypes)
    ranks[distances == 0] = 0
    return LayerMeasures(
        count=count,
        zeros=total.zeros,
        **columns,
        digest=tuple(total.digests),
        squared_distance=distances,
        slope=slopes,
        rank=ranks,
        unusable=dict.fromkeys(np.flatnonzero(bad).tolist(), _UNUSABLE),
    )


def _clean(found: NDArray[np.float64], bad: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distances, symmetric to the last bit, and NaN for those that are not numbers."""
    members = len(found)
    upper = np.triu(found[:, :members], 1)
    found[:, :members] = upper + upper.T
    found[bad[:members], :] = np.nan
    found[:, bad] = np.nan
    return found


def _ranks(
    values: torch.Tensor, distances: NDArray[np.float64], squared_norm: NDArray[np.float64], dtypes: list[str]
) -> NDArray[np.int16]:
    """Ranks of the differences between each member and its nearest related models; -1 elsewhere."""
    members, models = distances.shape
    found = np.full((members, models), -1, dtype=np.int16)
    rounding = [rank.rounding(values[index], dtypes[index]) for index in range(models)]
    sketches = [rank.sketch(matrix) for matrix in values]
    shorter, longer = sorted(values.shape[1:])
    for member in range(members):
        order = np.argsort(distances[member], kind="stable")
        near = [other for other in order[: NEAREST + 1] if other != member]
        for other in near:
            distance = distances[member, other]
            if not 0 < distance <= _RELATED * 2 * squared_norm[member] or found[member, other] >= 0:
                continue
            # Each was rounded for itself, but for a parent on its child's grid, of which this is on the safe side.
            error = math.hypot(rounding[member], rounding[other])
            one, another = sketches[member], sketches[other]
            if one is not None and another is not None and rank.surely_full(one - another, longer, error):
                found[member, other] = shorter
            else:
                difference = values[member].to(torch.float64, copy=True)
                difference -= values[other]
                found[member, other] = rank.numerical_rank(difference, error)
            if other < members:
                found[other, member] = found[member, other]
    return found


class _Kept:
    """A part of the layer of every model, gathered from the blocks as they pass."""

    def __init__(self, tensors: Sequence[StoredTensor], start: int, rows: int, columns: int) -> None:
        exact = torch.float64 if self.itemsize(tensors) == 8 else torch.float32
        self._start = start
        self.values = torch.empty((len(tensors), rows, columns), dtype=exact)

    @staticmethod
    def itemsize(tensors: Sequence[StoredTensor]) -> int:
        """Bytes per element: float32 holds what all but float64 stores."""
        return 8 if any(tensor.dtype == "F64" for tensor in tensors) else 4

    def take(self, block: Block, rows: NDArray[np.intp]) -> None:
        """Copy what this is a part of, of a block that holds these models."""
        flat = self.values.view(len(self.values), -1)
        start, stop = max(block.start, self._start), min(block.stop, self._start + flat.shape[1])
        if start >= stop:
            return
        for part in block.parts:
            for row, stored in zip(rows[part.rows].tolist(), part.values, strict=True):
                flat[row, start - self._start : stop - self._start] = stored[start - block.start : stop - block.start]


def _measure_buffer(
    stream: LayerStream, layer: Layer, tensors: Sequence[StoredTensor], members: int, memory: int
) -> LayerMeasures:
    """Of constant tables and integers only equality is asked: their values are hashed and nothing more."""
    order = sorted(range(members), key=lambda row: (tensors[row].dtype, row))
    digests = [Digest(tensors[row].dtype) for row in order]

    def plan(_: Block | None) -> Callable[[Block], list[Hashes]]:
        forms = [one.forms for one in digests]
        return lambda block: [found for part in block.parts for found in hash_part(part, forms[part.rows])]

    new = [tensors[row] for row in order]
    each = sum(tensor.itemsize for tensor in new) * stream.in_flight
    step, start = block_elements(each, _for_blocks(memory)), 0
    for found in stream.each(new, layer.size, step, plan, order=order):
        count = min(step, layer.size - start)
        start += count
        for one, hashes in zip(digests, found, strict=True):
            one.update(hashes, count)
    values = {row: one.value() for row, one in zip(order, digests, strict=True)}
    nothing = np.full(members, np.nan)
    pairs_of = (members, len(tensors))
    return LayerMeasures(
        count=layer.size,
        zeros=np.zeros(members, dtype=np.int64),
        **dict.fromkeys(_COLUMNS, nothing),
        digest=tuple(values[row] for row in range(members)),
        squared_distance=np.full(pairs_of, np.nan),
        slope=np.full(pairs_of, np.nan, dtype=np.float32),
        rank=np.full(pairs_of, -1, dtype=np.int16),
        unusable={},
    )
