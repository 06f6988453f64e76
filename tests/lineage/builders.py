"""What the tests of `lineage` build on: measures made by plain numpy, and layers that are read from memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from lineage.digest import FORMS
from lineage.family import FamilyMeasures, Layer
from lineage.layer import LayerMeasures, measure_layer
from lineage.stored_tensor import DTYPES, StoredTensor
from lineage.stream import layer_stream

Model = Mapping[str, NDArray[np.float64]]

_EXACT = 1e-9
PLENTY = 1 << 30


def measured(
    models: Sequence[Model],
    layers: Sequence[Layer],
    *,
    first_id: int = 0,
    grids: Sequence[float] | None = None,
    slopes: bool = False,
) -> FamilyMeasures:
    """What measuring would give, computed literally; members are numbered from `first_id` on.

    `grids[i]` is the step that model i is rounded to; ranks count what is above the rounding of the coarser of a pair.
    """
    size, pairs = (len(layers), len(models)), (len(layers), len(models), len(models))
    numbers = {name: np.full(size, np.nan) for name in ("squared_norm", "variance", "kurtosis")}
    count, zeros = np.zeros(size, dtype=np.int64), np.zeros(size, dtype=np.int64)
    squared, slope = np.full(pairs, np.nan), np.full(pairs, np.nan, dtype=np.float32)
    rank = np.full(pairs, -1, dtype=np.int32)
    equal, lost = np.full(pairs, np.nan, dtype=np.float32), np.zeros(pairs, dtype=np.float32)
    grid = np.array(grids or [0.0] * len(models))
    for n, layer in enumerate(layers):
        for i, model in enumerate(models):
            if layer.name not in model:
                continue
            values = model[layer.name]
            centred = values - values.mean()
            variance = (centred**2).mean()
            count[n, i], zeros[n, i] = layer.size, (values == 0).sum()
            numbers["squared_norm"][n, i], numbers["variance"][n, i] = (values**2).sum(), variance
            numbers["kurtosis"][n, i] = (centred**4).mean() / variance**2 if variance else np.nan
            for j, other in enumerate(models):
                if layer.name not in other:
                    continue
                delta = values - other[layer.name]
                equal[n, i, j] = (delta == 0).mean()
                lost[n, i, j] = (values[other[layer.name] == 0] ** 2).sum()
                squared[n, i, j] = (delta**2).sum()
                if delta.ndim > 1:
                    matrix = delta.reshape(len(delta), -1)
                    floor = 1.5 * max(grid[i], grid[j]) / np.sqrt(12) * sum(np.sqrt(matrix.shape))
                    rank[n, i, j] = np.linalg.matrix_rank(matrix, tol=max(_EXACT, floor))
                    if slopes and squared[n, i, j] > 0:
                        slope[n, i, j] = slope_constancy(values.reshape(matrix.shape), other[layer.name])
    return FamilyMeasures(
        members=tuple(range(first_id, first_id + len(models))),
        layers=tuple(layers),
        count=count,
        zeros=zeros,
        outliers=np.zeros_like(zeros),
        form=np.where(count > 0, FORMS.index("F32"), -1).astype(np.int8),
        equal=equal,
        lost=lost if lost.any() else None,
        digest=tuple(
            tuple(model[layer.name].tobytes() if layer.name in model else b"" for model in models) for layer in layers
        ),
        squared_distance=squared,
        slope=slope,
        rank=rank,
        **numbers,
    )


def slope_constancy(i: NDArray[np.float64], j: NDArray[np.float64]) -> float:
    """Evidence that matrix i is the parent of matrix j, by the definition in docs/method.md."""
    j = j.reshape(i.shape)
    over = _scatter(i, j) + _scatter(i.T, j.T)
    under = _scatter(j, i) + _scatter(j.T, i.T)
    return float(np.log(over / under)) if over > 0 and under > 0 else np.nan


def _scatter(y: NDArray[np.float64], x: NDArray[np.float64]) -> float:
    """Of the slopes of y on x: sum_r <x_r,y_r>^2 / <x_r,x_r> - (sum_r <x_r,y_r>)^2 / sum_r <x_r,x_r>."""
    products, squares = (x * y).sum(axis=1), (x * x).sum(axis=1)
    if not squares.any():
        return 0.0
    rows = np.divide(products**2, squares, out=np.zeros_like(squares), where=squares > 0)
    return float(rows.sum() - products.sum() ** 2 / squares.sum())


@dataclass
class Memory:
    """A reader of tensors that are in memory; those in `broken` cannot be read from that byte on."""

    files: list[bytes]
    broken: dict[int, int] = field(default_factory=dict)
    reads: list[tuple[int, int, int]] = field(default_factory=list)  # member, first byte, length

    def __call__(self, member: int, tensor: StoredTensor, start: int, buffer: memoryview) -> bool:
        stop = start + len(buffer)
        if stop > self.broken.get(member, stop):
            return False
        assert tensor.start <= start <= stop <= tensor.stop
        self.reads.append((member, start, len(buffer)))
        buffer[:] = self.files[member][start:stop]
        return True


def in_memory(tensors: Sequence[torch.Tensor]) -> tuple[Memory, list[StoredTensor]]:
    """Tensors as they lie in files, behind a few other bytes, and their places."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    contents = [tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes() for tensor in tensors]
    files = [b"\xff" * 3 * index + content for index, content in enumerate(contents)]
    places = [
        StoredTensor("model.safetensors", "w", names[tensor.dtype], 3 * index, len(file))
        for index, (tensor, file) in enumerate(zip(tensors, files, strict=True))
    ]
    return Memory(files), places


def measure(
    layer: Layer,
    tensors: Sequence[torch.Tensor],
    *,
    members: int | None = None,
    memory: int = PLENTY,
    broken: dict[int, int] | None = None,
) -> LayerMeasures:
    """Measure a layer of tensors that are in memory; the first `members` (default: all) are the new ones."""
    reader, places = in_memory(tensors)
    reader.broken = broken or {}
    with layer_stream(reader) as stream:
        return measure_layer(stream, layer, places, len(tensors) if members is None else members, memory)
