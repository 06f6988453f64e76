"""All measures of one layer, from one pass over its members' bytes."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from lineage import moments, rank, slope
from lineage.family import Layer, LayerKind
from lineage.pairs import SquaredDistances
from lineage.stream import LayerStream, StoredTensor, block_elements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lineage.stream import Block

NEAREST = 16  # ranks are measured between each member and this many of its nearest models in the layer
_RELATED = 0.7**2  # squared relative distance beyond which a difference is not worth a rank
_WIDE = {"F64", "I64", "I32"}  # dtypes with numbers that float32 cannot hold
_UNUSABLE = "holds NaN, infinity or numbers beyond 1e60"
_LARGEST = 1e60  # a power of four of it still leaves room for sums
_SMALLEST_SIDE = 2  # a matrix with a single row or column has no rank worth the name


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


def measure_layer(
    stream: LayerStream, layer: Layer, tensors: Sequence[StoredTensor], members: int, memory: int
) -> LayerMeasures:
    """Measure a layer of len(tensors) models, the first `members` of which are new, within `memory` bytes."""
    if layer.kind == LayerKind.BUFFER:
        return _measure_buffer(stream, layer, tensors, members, memory)
    rows, columns = _matrix_shape(layer)
    models = len(tensors)
    matrix = layer.kind != LayerKind.VECTOR and min(rows, columns) >= _SMALLEST_SIDE
    # A quarter of the memory for whole layers (ranks), a quarter for the window of slopes, half for the blocks (an
    # eighth of it for what the libraries load and their buffers) and, after them, for a difference and its factors.
    fits = layer.size * models * _Kept.itemsize(tensors) <= memory // 4 and layer.size * 8 * 3 <= memory // 2
    whole = _Kept(tensors, 0, rows, columns) if matrix and fits else None
    seen = _Kept(tensors, *slope.window(rows, columns, memory // (8 * models))) if matrix else None
    distances = SquaredDistances(members, models, stream.device)
    digests = [_Digest(tensor.dtype) for tensor in tensors[:members]]
    total: moments.Moments | None = None
    finite = torch.ones(models, dtype=torch.bool)
    block: Block | None = None
    for block in stream.blocks(tensors, layer.size, block_elements(models, columns, _for_blocks(memory))):
        finite &= _measurable(block.values).cpu()
        distances.add(block.values)
        here = moments.of_block(block.values[:members])
        total = here if total is None else moments.merge(total, here)
        for index, digest in enumerate(digests):
            digest.update(block.values[index])
        for kept in (whole, seen):
            if kept is not None:
                kept.take(block)
    block = None  # its memory is wanted for what follows
    return _collect(
        layer.size,
        total,
        digest=tuple(digest.value() for digest in digests),
        distances=_clean(distances.total, finite),
        whole=whole,
        seen=seen,
        finite=finite,
        dtypes=[tensor.dtype for tensor in tensors],
    )


def _for_blocks(memory: int) -> int:
    return memory * 3 // 8


def _measurable(values: torch.Tensor) -> torch.Tensor:
    """(n,) whether each row of (n, size) holds only numbers whose fourth powers can be summed; no float32 is beyond."""
    lowest, highest = torch.aminmax(values, dim=1)  # NaN for a row that holds one
    return (lowest >= -_LARGEST) & (highest <= _LARGEST)


def _matrix_shape(layer: Layer) -> tuple[int, int]:
    """A tensor seen as a matrix: its first dimension by all the others; a vector is one row."""
    if len(layer.shape) < 2:
        return 1, max(1, layer.size)
    return layer.shape[0], max(1, layer.size // max(1, layer.shape[0]))


def _clean(distances: torch.Tensor, finite: torch.Tensor) -> NDArray[np.float64]:
    """Distances, symmetric to the last bit, and NaN for those that are not numbers."""
    found: NDArray[np.float64] = distances.cpu().numpy()
    members = len(found)
    upper = np.triu(found[:, :members], 1)
    found[:, :members] = upper + upper.T
    bad = ~finite.numpy()
    found[bad[:members], :] = np.nan
    found[:, bad] = np.nan
    return found


def _collect(
    count: int,
    total: moments.Moments | None,
    *,
    digest: tuple[bytes, ...],
    distances: NDArray[np.float64],
    whole: _Kept | None,
    seen: _Kept | None,
    finite: torch.Tensor,
    dtypes: list[str],
) -> LayerMeasures:
    members = len(digest)
    slopes = np.full(distances.shape, np.nan, dtype=np.float32)
    if seen is not None:
        slopes = slope.evidence(seen.values, members).cpu().numpy().astype(np.float32)
        slopes[distances == 0] = np.nan

    def numbers(name: str, without: float = np.nan) -> NDArray[np.float64]:
        values = np.full(members, without) if total is None else getattr(total, name).cpu().numpy()
        return np.where(finite[:members].numpy(), values, np.nan)

    squared_norm = numbers("squared_norm", 0.0)
    ranks = np.full(distances.shape, -1, dtype=np.int16)
    if whole is not None:
        ranks = _ranks(whole.values, distances, squared_norm, dtypes)
    ranks[distances == 0] = 0
    return LayerMeasures(
        count=count,
        zeros=np.zeros(members, dtype=np.int64) if total is None else total.zeros.cpu().numpy(),
        mean=numbers("mean"),
        variance=numbers("variance"),
        skewness=numbers("skewness"),
        kurtosis=numbers("kurtosis"),
        squared_norm=squared_norm,
        minimum=numbers("minimum"),
        maximum=numbers("maximum"),
        digest=digest,
        squared_distance=distances,
        slope=slopes,
        rank=ranks,
        unusable=dict.fromkeys(np.flatnonzero(~finite.numpy()).tolist(), _UNUSABLE),
    )


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

    def take(self, block: Block) -> None:
        flat = self.values.view(len(self.values), -1)
        start, stop = max(block.start, self._start), min(block.stop, self._start + flat.shape[1])
        if start < stop:
            here = block.values[:, start - block.start : stop - block.start]
            flat[:, start - self._start : stop - self._start] = here


class _Digest:
    """A hash of a tensor's values: as float32, and what float32 cannot hold of a wider type.

    Integers beyond 2**53 have been rounded to float64 before they get here.
    """

    def __init__(self, dtype: str) -> None:
        self._values = hashlib.blake2b(digest_size=16)
        self._rest = hashlib.blake2b(digest_size=16)
        self._wide = dtype in _WIDE
        self._exact = True

    def update(self, values: torch.Tensor) -> None:
        narrow = values.float()
        narrow += 0.0  # -0 equals 0
        self._values.update(narrow.cpu().numpy().data)
        if self._wide:
            rest = values - narrow.double()
            self._exact &= not bool(rest.any())
            self._rest.update(rest.cpu().numpy().data)

    def value(self) -> bytes:
        return self._values.digest() if self._exact else self._values.digest() + self._rest.digest()


def _measure_buffer(
    stream: LayerStream, layer: Layer, tensors: Sequence[StoredTensor], members: int, memory: int
) -> LayerMeasures:
    """Of constant tables and integers only equality is asked: their values are hashed and nothing more."""
    new = tensors[:members]
    digests = [_Digest(tensor.dtype) for tensor in new]
    step = block_elements(members, 1, _for_blocks(memory))
    for block in stream.blocks(new, layer.size, step):
        for index, digest in enumerate(digests):
            digest.update(block.values[index])
    nothing = np.full(members, np.nan)
    pairs = (members, len(tensors))
    return LayerMeasures(
        count=layer.size,
        zeros=np.zeros(members, dtype=np.int64),
        mean=nothing,
        variance=nothing,
        skewness=nothing,
        kurtosis=nothing,
        squared_norm=nothing,
        minimum=nothing,
        maximum=nothing,
        digest=tuple(digest.value() for digest in digests),
        squared_distance=np.full(pairs, np.nan),
        slope=np.full(pairs, np.nan, dtype=np.float32),
        rank=np.full(pairs, -1, dtype=np.int16),
        unusable={},
    )
