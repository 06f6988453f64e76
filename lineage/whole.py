"""Parts of a layer that are kept of every model while its blocks pass: what ranks and slopes are taken from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from lineage import rank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from lineage.stored_tensor import Block, StoredTensor

NEAREST = 16  # ranks are measured between each member and this many of its nearest models in the layer
_RELATED = 0.7**2  # squared relative distance beyond which a difference is not worth a rank


class Kept:
    """A part of the layer of every model, gathered from the blocks as they pass."""

    def __init__(self, tensors: Sequence[StoredTensor], start: int, rows: int, columns: int) -> None:
        exact = torch.float64 if itemsize(tensors) == 8 else torch.float32
        self._start = start
        self.values = torch.empty((len(tensors), rows, columns), dtype=exact)

    def take(self, block: Block, rows: NDArray[np.intp]) -> None:
        """Copy what this is a part of, of a block that holds these models."""
        flat = self.values.view(len(self.values), -1)
        start, stop = max(block.start, self._start), min(block.stop, self._start + flat.shape[1])
        if start >= stop:
            return
        for part in block.parts:
            for row, stored in zip(rows[part.rows].tolist(), part.values, strict=True):
                flat[row, start - self._start : stop - self._start] = stored[start - block.start : stop - block.start]


def itemsize(tensors: Sequence[StoredTensor]) -> int:
    """Bytes per element that is kept: float32 holds what all but float64 stores."""
    return 8 if any(tensor.dtype == "F64" for tensor in tensors) else 4


def ranks(
    values: torch.Tensor,
    distances: NDArray[np.float64],
    squared_norm: NDArray[np.float64],
    forms: Sequence[str],
    steps: Mapping[int, NDArray[np.float32]],
) -> NDArray[np.int16]:
    """(m, n) ranks of the differences between each member and its nearest related models; -1 elsewhere.

    `values` (n, rows, columns) are whole layers, `distances` (m, n) squared, `squared_norm` is (m,). `steps` are those
    of the rows (m,) of models that were rounded to whole steps, by their number.
    """
    members, models = distances.shape
    found = np.full((members, models), -1, dtype=np.int16)
    rounding = [
        rank.step_noise(steps[index]) if index in steps else rank.rounding(values[index], forms[index])
        for index in range(models)
    ]
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
            error = np.hypot(rounding[member], rounding[other])
            one, another = sketches[member], sketches[other]
            if one is not None and another is not None and rank.surely_full(one - another, longer, error.max()):
                found[member, other] = shorter
            else:
                difference = values[member].to(torch.float64, copy=True)
                difference -= values[other]
                found[member, other] = rank.numerical_rank(difference, error)
            if other < members:
                found[other, member] = found[member, other]
    return found
