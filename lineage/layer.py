"""All measures of one layer, from one pass over its members' bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from lineage import moments, pairs, slope
from lineage.block import Found, Work, scratch_bytes
from lineage.digest import Digest, Hashes, hash_part
from lineage.family import Layer, LayerKind
from lineage.stream import STRIDE, LayerStream, StoredTensor
from lineage.whole import Kept, itemsize, ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from lineage.pairs import Centres
    from lineage.stream import Block

_UNUSABLE = "holds NaN, infinity or numbers beyond 1e60"
_SPARSE = 1e-3  # of a squared norm: below it what is lost to zeros is nothing to speak of
_SMALLEST_SIDE = 2  # a matrix with a single row or column has no rank worth the name
_COLUMNS = ("mean", "variance", "skewness", "kurtosis", "squared_norm", "minimum", "maximum")
_RESERVE = 48 << 20  # bytes that the allocator keeps of what it is given back, and that libraries keep for themselves
_LITTLE = 16  # the share of the memory that buffers may keep while ranks and slopes are measured
_BYTES_PER_PAIR = 192  # Gram matrices, distances and losses of the blocks in flight


@dataclass(frozen=True)
class LayerMeasures:
    """Measures of one layer: of its `members` (m), and of them with all `models` (n, the members first).

    A member that could not be read or that holds NaN or infinity is in `unusable`, with NaN for its numbers.
    """

    count: int
    zeros: NDArray[np.int64]  # (m,)
    outliers: NDArray[np.int64]  # (m,) numbers beyond six standard deviations of their stride (`lineage.strides`)
    form: tuple[str, ...]  # m: the narrowest form that holds all values, one of `digest.FORMS`
    mean: NDArray[np.float64]  # (m,), as the five below
    variance: NDArray[np.float64]
    skewness: NDArray[np.float64]
    kurtosis: NDArray[np.float64]
    squared_norm: NDArray[np.float64]
    minimum: NDArray[np.float64]
    maximum: NDArray[np.float64]
    digest: tuple[bytes, ...]  # m: of the values; equal for equal numbers, whatever their dtype or shard
    squared_distance: NDArray[np.float64]  # (m, n)
    lost: NDArray[np.float64]  # (m, n) squares of the member where the model is exactly 0, where the layer is sparse
    lost_of: NDArray[np.float64]  # (m, n) squares of the model where the member is exactly 0
    equal: NDArray[np.float32]  # (m, n) share of the window of `lineage.slope` where the two are equal; NaN: none
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
    with_ranks: bool = True,
) -> LayerMeasures:
    """Measure a layer of len(tensors) models, the first `members` of which are new, within `memory` bytes.

    Without `with_ranks` no ranks are measured.
    """
    memory -= min(memory // 2, _RESERVE)
    if layer.kind == LayerKind.BUFFER:
        return _measure_buffer(stream, layer, tensors, members, memory)
    rows, columns = _matrix_shape(layer)
    models = len(tensors)
    matrix = layer.kind != LayerKind.VECTOR and min(rows, columns) >= _SMALLEST_SIDE
    # A quarter of the memory for whole layers (ranks), a quarter for the window of slopes, a quarter for the blocks,
    # and the last for what is computed on the way; a difference and its factors come after the blocks.
    fits = layer.size * models * itemsize(tensors) <= memory // 4 and layer.size * 8 * 3 <= memory // 2
    whole = Kept(tensors, 0, rows, columns) if matrix and fits and with_ranks else None
    seen = Kept(tensors, *slope.window(rows, columns, memory // (16 * models))) if matrix else None
    total = _Total(tensors, members)
    for group in _groups(stream, tensors, members, memory):
        _pass(stream, layer, tensors, group, total, [one for one in (whole, seen) if one is not None], memory)
    if whole is not None and stream.held > memory // _LITTLE:
        stream.release()  # its memory is wanted for what follows
    return _collect(stream, layer.size, total, whole=whole, seen=seen, forms=[tensor.form for tensor in tensors])


class _Sums:
    """Of the pairs of a group of n models, m of them new, over the blocks so far."""

    def __init__(self, members: int, models: int) -> None:
        self.distances = np.zeros((members, models))
        self.lost = np.zeros((models, models))
        self.bad = np.zeros(models, dtype=np.bool_)

    def add(self, found: Found) -> None:
        """Add a block's."""
        self.distances += found.distances
        self.bad |= found.bad
        if found.lost is not None:
            self.lost += found.lost


class _Total:
    """What is known of a layer's models so far."""

    def __init__(self, tensors: Sequence[StoredTensor], members: int) -> None:
        self.members = members
        self.distances = np.full((members, len(tensors)), np.nan)
        self.lost, self.lost_of = np.zeros((2, members, len(tensors)))
        self.bad = np.zeros(len(tensors), dtype=np.bool_)
        self.digests = [b""] * members
        self.form = [""] * members
        self.columns = {name: np.full(members, np.nan) for name in _COLUMNS}
        self.zeros, self.outliers = np.zeros((2, members), dtype=np.int64)

    def take(self, sums: _Sums, new: NDArray[np.intp], rows: NDArray[np.intp]) -> None:
        """Take a group's pairs, whose new models and models these are."""
        here = np.ix_(new, rows)
        self.distances[here] = sums.distances
        self.lost[here], self.lost_of[here] = sums.lost[: len(new)], sums.lost[:, : len(new)].T
        self.bad[rows] |= sums.bad


def _pass(  # what is passed, and what it is added to
    stream: LayerStream,
    layer: Layer,
    tensors: Sequence[StoredTensor],
    group: Sequence[int],
    total: _Total,
    kept: Sequence[Kept],
    memory: int,
) -> None:
    """Measure the models of a group, given in the order in which they stand in the blocks: new ones first."""
    rows = np.array(group)
    new = rows[rows < total.members]
    work = Work(len(rows), len(new), stream.device)
    digests = [Digest(tensors[row].form) for row in new]
    summed, sums = moments.nothing(len(new)), _Sums(len(new), len(rows))
    centres: Centres | None = None
    strayed = False

    def plan(first: Block | None) -> Callable[[Block], Found]:
        nonlocal centres, strayed
        if first is not None:
            centres = work.pilot(first)
        elif strayed:
            centres, strayed = pairs.centres(sums.distances), False
        assert centres is not None  # noqa: S101  # the first block was shown
        around, forms = centres, [one.forms for one in digests]

        def measured(block: Block) -> Found:
            for one in kept:
                one.take(block, rows)
            return work.measure(block, around, forms)

        return measured

    room = _for_blocks(memory) - stream.threads * scratch_bytes(len(rows))
    step = stream.step([tensors[row] for row in rows], layer.size, room)
    start = 0
    for found in stream.each([tensors[row] for row in rows], layer.size, step, plan, order=rows.tolist()):
        count = min(step, layer.size - start)
        start += count
        summed = moments.merge(summed, found.moments)
        sums.add(found)
        strayed |= found.strayed
        for one, hashes in zip(digests, found.hashes, strict=True):
            one.update(hashes, count)
    total.take(sums, new, rows)
    total.zeros[new], total.outliers[new] = summed.zeros, summed.outliers
    for name, column in total.columns.items():
        column[new] = getattr(summed, name) if summed.count or name == "squared_norm" else np.nan
    for row, one in zip(new, digests, strict=True):
        total.digests[row], total.form[row] = one.value(), one.forms[0]


def _groups(stream: LayerStream, tensors: Sequence[StoredTensor], members: int, memory: int) -> Iterator[list[int]]:
    """The models that are in memory together, in one pass or several: every new one meets every other in one of them.

    Where all have room for blocks worth reading, there is one group. Where not, models are cut into sets of which two
    have room, and every two of them are a group.
    """
    everyone = sorted(range(len(tensors)), key=lambda row: (row >= members, tensors[row].form, row))
    each = max(tensor.itemsize for tensor in tensors) * STRIDE * stream.in_flight
    each += scratch_bytes(len(everyone)) // len(everyone) * stream.threads
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
    whole: Kept | None,
    seen: Kept | None,
    forms: list[str],
) -> LayerMeasures:
    members, bad = total.members, total.bad
    distances = _clean(total.distances, bad)
    slopes = np.full(distances.shape, np.nan, dtype=np.float32)
    equal = slopes.copy()
    if seen is not None:
        evidence, equal = slope.evidence(seen.values, members, stream.map)
        slopes = evidence.astype(np.float32)
        slopes[bad[:members], :] = np.nan
        slopes[:, bad] = np.nan
        slopes[distances == 0] = np.nan
        equal[bad[:members], :] = np.nan
        equal[:, bad] = np.nan
    columns = {name: np.where(bad[:members], np.nan, column) for name, column in total.columns.items()}
    rank = np.full(distances.shape, -1, dtype=np.int16)
    if whole is not None:
        rank = ranks(whole.values, distances, columns["squared_norm"], forms, stream.steps)
    rank[distances == 0] = 0
    lost, lost_of = _losses(total, columns["squared_norm"])
    return LayerMeasures(
        count=count,
        zeros=total.zeros,
        outliers=total.outliers,
        form=tuple(total.form),
        **columns,
        digest=tuple(total.digests),
        squared_distance=distances,
        lost=lost,
        lost_of=lost_of,
        equal=equal,
        slope=slopes,
        rank=rank,
        unusable={index: stream.refused.get(index, _UNUSABLE) for index in np.flatnonzero(bad).tolist()},
    )


def _clean(found: NDArray[np.float64], bad: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distances, symmetric to the last bit, and NaN for those that are not numbers."""
    members = len(found)
    upper = np.triu(found[:, :members], 1)
    found[:, :members] = upper + upper.T
    found[bad[:members], :] = np.nan
    found[:, bad] = np.nan
    return found


def _losses(total: _Total, squared_norm: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is lost to zeros; all 0 where it is nothing to speak of, as with the odd zero of a dense layer."""
    for found in (total.lost, total.lost_of):
        found[total.bad[: total.members], :] = 0
        found[:, total.bad] = 0
    if (np.maximum(total.lost, total.lost_of) > _SPARSE * np.nan_to_num(squared_norm)[:, None]).any():
        return total.lost, total.lost_of
    return np.zeros_like(total.lost), np.zeros_like(total.lost)


def _measure_buffer(
    stream: LayerStream, layer: Layer, tensors: Sequence[StoredTensor], members: int, memory: int
) -> LayerMeasures:
    """Of constant tables and integers only equality is asked: their values are hashed and nothing more."""
    order = sorted(range(members), key=lambda row: (tensors[row].form, row))
    digests = [Digest(tensors[row].form) for row in order]

    def plan(_: Block | None) -> Callable[[Block], list[Hashes]]:
        forms = [one.forms for one in digests]
        return lambda block: [found for part in block.parts for found in hash_part(part, forms[part.rows])]

    new = [tensors[row] for row in order]
    step, start = stream.step(new, layer.size, _for_blocks(memory)), 0
    for found in stream.each(new, layer.size, step, plan, order=order):
        count = min(step, layer.size - start)
        start += count
        for one, hashes in zip(digests, found, strict=True):
            one.update(hashes, count)
    values = {row: (one.value(), one.forms[0]) for row, one in zip(order, digests, strict=True)}
    nothing = np.full(members, np.nan)
    pairs_of = (members, len(tensors))
    return LayerMeasures(
        count=layer.size,
        zeros=np.zeros(members, dtype=np.int64),
        outliers=np.zeros(members, dtype=np.int64),
        form=tuple(values[row][1] for row in range(members)),
        **dict.fromkeys(_COLUMNS, nothing),
        digest=tuple(values[row][0] for row in range(members)),
        squared_distance=np.full(pairs_of, np.nan),
        lost=np.zeros(pairs_of),
        lost_of=np.zeros(pairs_of),
        equal=np.full(pairs_of, np.nan, dtype=np.float32),
        slope=np.full(pairs_of, np.nan, dtype=np.float32),
        rank=np.full(pairs_of, -1, dtype=np.int16),
        unusable={row: why for row, why in stream.refused.items() if row < members},
    )
