"""Measures a layer with its sketches, and takes the ranks of large matrices from projections.

A projection is taken of every member that none is kept of, in the pass that measures the layer: no member's bytes are
read again for a rank, and no whole layer is in memory. Small matrices are kept whole while they are measured, and their
ranks are taken from all their singular values.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from lineage import rank
from lineage.cluster import THRESHOLD
from lineage.family import Layer, LayerKind
from lineage.layer import LayerMeasures, measure_layer
from lineage.projection import Probes, Projection, projected_ranks
from lineage.sketching import LayerSketches
from lineage.whole import NEAREST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from lineage.sketch import CountSketch
    from lineage.sketch_store import SketchStore
    from lineage.stored_tensor import StoredTensor
    from lineage.stream import LayerStream

_NUMBER = 4  # bytes of a number of a projection; of float64 tensors 8


@dataclass(frozen=True)
class Projecting:
    """How layers are measured: where projections are kept, with how many probes, and within how much memory."""

    store: SketchStore | None
    probes: int
    memory: int

    def measure(
        self,
        stream: LayerStream,
        layer: Layer,
        tensors: Sequence[StoredTensor],
        members: int,
        known: Mapping[int, bytes],
        counting: CountSketch,
    ) -> tuple[LayerMeasures, NDArray[np.float64] | None]:
        """Measures of a layer and the (m, k) CountSketches of its new members, the first of the models; None: a buffer.

        `known` are digests of older models, by their number.
        """
        if layer.kind == LayerKind.BUFFER:
            return measure_layer(stream, layer, tensors, members, self.memory), None
        shape = (layer.shape[0], layer.size // layer.shape[0]) if len(layer.shape) > 1 else (1, layer.size)
        project: list[int] = []
        probes = Probes(shape[1], self.probes)
        by_projections = layer.kind != LayerKind.VECTOR and self._projected(shape, tensors)
        if by_projections:
            project = [model for model in range(len(tensors)) if not self._kept(known.get(model), shape)]
        sketches = LayerSketches(counting, tensors, count=range(members), shape=shape, probes=probes, project=project)
        with closing(sketches):
            watched = sketches.watch(stream)
            found = measure_layer(watched, layer, tensors, members, self.memory, with_ranks=not by_projections)
            if by_projections:
                found = self._with_ranks(found, sketches, shape, known)
            return found, sketches.counted[:members]

    def _with_ranks(
        self, found: LayerMeasures, sketches: LayerSketches, shape: tuple[int, int], known: Mapping[int, bytes]
    ) -> LayerMeasures:
        """The measures with ranks from projections, of which those that were taken now are kept."""
        digests = dict(known) | dict(enumerate(found.digest))
        at_once = max(2, self.memory // 8 // (shape[0] * (self.probes + 2) * 2 * _NUMBER))

        @lru_cache(at_once)
        def projection(model: int) -> Projection | None:
            taken = sketches.projection(model)
            if taken is None and self.store is not None and model in digests:
                return self.store.find(digests[model], shape, self.probes)
            return taken

        for model, digest in digests.items():
            taken = sketches.projection(model)
            if self.store is not None and taken is not None and model not in found.unusable:
                self.store.keep(digest, shape, taken)
        ranks = projected_ranks(
            projection, found.squared_distance, found.squared_norm, shape, nearest=NEAREST, related=THRESHOLD**2
        )
        ranks[found.squared_distance == 0] = 0
        return replace(found, rank=ranks)

    def _projected(self, shape: tuple[int, int], tensors: Sequence[StoredTensor]) -> bool:
        """Whether ranks of matrices of this shape are taken from projections: not of small ones that fit whole."""
        rows, columns = shape
        smaller = all(self.probes * _number(tensor) < columns * tensor.itemsize for tensor in tensors)
        whole = rows * columns * len(tensors) * max(4, *(tensor.itemsize for tensor in tensors))
        if not smaller or min(shape) < 2 or (rank.small(shape) and whole <= self.memory // 4):
            return False
        # The probes, two matrices' projections, and what is known of each row of each model.
        needed = Probes(columns, self.probes).nbytes + rows * (4 * self.probes * _NUMBER + 8 * len(tensors))
        return needed <= self.memory // 4

    def _kept(self, digest: bytes | None, shape: tuple[int, int]) -> bool:
        return digest is not None and self.store is not None and self.store.has(digest, shape, self.probes)


def _number(tensor: StoredTensor) -> int:
    return 2 * _NUMBER if tensor.dtype == "F64" else _NUMBER
