"""All that is measured of one block, while its bytes are in the processor's cache or on their way to a device.

Of each new model alone: moments, extremes, zeros, outliers and hashes, stride by stride (`lineage.strides`). Of all
models together: inner products, from which distances follow (`lineage.products`), on the processor or on a device.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from lineage import digest, pairs, products, strides
from lineage.decoding import rows
from lineage.device import DeviceProducts
from lineage.pairs import Centres
from lineage.products import LARGEST
from lineage.stored_tensor import Part

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lineage.moments import Moments
    from lineage.stored_tensor import Block

    Floats = NDArray[np.float64]

_PILOT = 4096  # elements of each model from which the first centres are found
_PILOT_OF_ALL = 1 << 18


@dataclass(frozen=True)
class Found:
    """What a block holds of n models, the first m of which are new."""

    moments: Moments  # (m,)
    distances: Floats  # (m, n)
    lost: Floats | None  # (n, n) [i, j]: squares of i where j is zero, one of them new; None: there are no zeros
    bad: NDArray[np.bool_]  # (n,) holds numbers that are none, or could not be read
    hashes: list[digest.Hashes]  # m
    strayed: bool  # whether models were centred far away from what they are near to


def scratch_bytes(models: int) -> int:
    """What a thread needs beside blocks of so many models."""
    return models * products.piece(models) * 8 + (1 << 17)


class Work:
    """Measures blocks of a layer of `models` models, the first `members` of which are new."""

    def __init__(self, models: int, members: int, device: torch.device) -> None:
        self._models = models
        self._members = members
        self._device = None if device.type == "cpu" else DeviceProducts(device)
        self._local = threading.local()

    def pilot(self, block: Block) -> Centres:
        """Centres for the models, from a part of a block."""
        if self._device is not None:
            return Centres(np.zeros(self._models, dtype=np.intp), 0)  # there, every block finds its own
        count = min(_PILOT, max(1, _PILOT_OF_ALL // self._models), block.count)
        values = torch.cat([_float64(part.values[:, :count]) for part in block.parts])
        usable = (values.abs() <= LARGEST).all(dim=1)
        found = pairs.squared_distances(torch.where(usable[:, None], values, 0), self._members)
        found[~usable[: self._members]] = torch.nan
        found[:, ~usable] = torch.nan
        return pairs.centres(found.numpy())

    def measure(self, block: Block, centres: Centres, forms: Sequence[tuple[str, ...]]) -> Found:
        """Measure a block; `forms[i]` are the forms in which the values of new model i are hashed."""
        stored = rows(block)
        if self._device is not None:
            with self._device.begun(block, self._members) as queued:  # it computes while the rows are measured here
                alone = strides.measured(stored, self._members)
            distances, lost, bad = queued.result()
            cancelled = np.zeros(distances.shape, dtype=np.bool_)
        else:
            alone = strides.measured(stored, self._members)
            found = products.products(stored, self._members, centres, self._scratch())
            distances, cancelled = centres.distances(found.gram, found.squares)
            lost, bad = found.lost, found.bad
        bad[list(block.unread)] = True
        if cancelled.any():
            self._refine(block, distances, cancelled)
        hashes: list[digest.Hashes] = []
        for part in block.parts:
            new = part.values[: max(0, self._members - part.rows.start)]
            here = slice(part.rows.start, part.rows.start + len(new))
            hashes += digest.hash_part(Part(here, part.dtype, new), forms[here], alone.hashes[here])
        return Found(alone.moments, distances, lost, bad, hashes, bool(cancelled.any()))

    def _refine(self, block: Block, distances: Floats, cancelled: NDArray[np.bool_]) -> None:
        """Measure pairs again that were cancelled."""
        models = np.flatnonzero(
            cancelled.any(axis=0) | np.pad(cancelled.any(axis=1), (0, self._models - self._members))
        )
        new = models[models < self._members]
        again = torch.zeros((len(new), len(models)), dtype=torch.float64)
        step = max(products.piece(self._models), products.piece(len(models)))
        for first in range(0, block.count, step):
            values = _chosen(block, models, slice(first, first + step))
            values[~(values.abs() <= LARGEST).all(dim=1)] = 0
            again += pairs.squared_distances(values, len(new))
        where = np.ix_(new, models)
        distances[where] = np.where(cancelled[where], again.numpy(), distances[where])

    def _scratch(self) -> Floats:
        """Memory of this thread that is used over and over."""
        scratch: Floats | None = getattr(self._local, "scratch", None)
        if scratch is None:
            scratch = self._local.scratch = np.empty(self._models * products.piece(self._models))
        return scratch


def _chosen(block: Block, models: NDArray[np.intp], elements: slice) -> torch.Tensor:
    """(k, n) float64: some elements of some models, in ascending order."""
    found = []
    for part in block.parts:
        here = models[(models >= part.rows.start) & (models < part.rows.stop)] - part.rows.start
        found.append(_float64(part.values[torch.from_numpy(here), elements]))
    return torch.cat(found)


def _float64(values: torch.Tensor) -> torch.Tensor:
    return values.to(torch.float64) if values.dtype is torch.float64 else values.float().double()
