"""All measures of one layer, from one pass over its members' bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lineage import slope
from lineage.digest import Digest, Hashes, hash_part
from lineage.family import Layer, LayerKind
from lineage.passes import NUMBERS, Total, add_group, for_blocks, groups
from lineage.stored_tensor import StoredTensor
from lineage.stream import LayerStream
from lineage.whole import Kept, itemsize, ranks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from lineage.stored_tensor import Block

_UNUSABLE = "holds NaN, infinity or numbers beyond 1e60"
_SPARSE = 1e-3  # of a squared distance: below it what is lost to zeros is nothing to speak of
_SMALLEST_SIDE = 2  # a matrix with a single row or column has no rank worth the name
_RESERVE = 48 << 20  # bytes that the allocator keeps of what it is given back, and that libraries keep for themselves
_LITTLE = 16  # the share of the memory that buffers may keep while ranks and slopes are measured


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
    lost: NDArray[np.float64]  # (m, n) squares of the member where the model is exactly 0; 0 where they are little
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
    total = Total(tensors, members)
    for group in groups(stream, tensors, members, memory):
        add_group(stream, layer, tensors, group, total, [one for one in (whole, seen) if one is not None], memory)
    if whole is not None and stream.held > memory // _LITTLE:
        stream.release()  # its memory is wanted for what follows
    return _collect(stream, layer.size, total, whole=whole, seen=seen, forms=[tensor.form for tensor in tensors])


def _matrix_shape(layer: Layer) -> tuple[int, int]:
    """A tensor seen as a matrix: its first dimension by all the others; a vector is one row."""
    if len(layer.shape) < 2:
        return 1, max(1, layer.size)
    return layer.shape[0], max(1, layer.size // max(1, layer.shape[0]))


def _collect(
    stream: LayerStream,
    count: int,
    total: Total,
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
    lost, lost_of = _losses(total, distances)
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


def _losses(total: Total, distances: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is lost to zeros; 0 for pairs where it is nothing to speak of, as with the odd zero of a dense layer.

    Both ways of a pair are judged together, and by nothing but the pair: so whom else a batch has does not matter.
    """
    little = ~(total.lost + total.lost_of > _SPARSE * distances)
    return np.where(little, 0.0, total.lost), np.where(little, 0.0, total.lost_of)


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
    step, start = stream.step(new, layer.size, for_blocks(memory)), 0
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
        **dict.fromkeys(NUMBERS, nothing),
        digest=tuple(values[row][0] for row in range(members)),
        squared_distance=np.full(pairs_of, np.nan),
        lost=np.zeros(pairs_of),
        lost_of=np.zeros(pairs_of),
        equal=np.full(pairs_of, np.nan, dtype=np.float32),
        slope=np.full(pairs_of, np.nan, dtype=np.float32),
        rank=np.full(pairs_of, -1, dtype=np.int16),
        unusable={row: why for row, why in stream.refused.items() if row < members},
    )
