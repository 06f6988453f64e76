"""CountSketches: what later comparisons need of a tensor, in little room.

A CountSketch throws the elements, each with a random sign, into k buckets and adds them up. It is linear, so the
sketch of a difference is the difference of the sketches, and its squared norm is an unbiased estimate of the squared
distance: over the random signs and buckets its variance is at most 2 / k of the squared distance's square (Charikar,
Chen, Farach-Colton 2002; Weinberger et al. 2009). Buckets are found in two steps, so that nothing is scattered:
every stride of 4,096 elements is turned by a random number of places and added to the others, and the 4,096 sums are
shared out over the k buckets by a random permutation. Two elements of different strides still meet with probability
1 / k, and two of one stride with less.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch

from lineage.stream import STRIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lineage.family import Layer

BUCKETS = 4096  # of all layers of a family together
_FEWEST = 8  # buckets of a layer, however small its share
_SEED = 20_261_108
_AT_ONCE = 1 << 18  # elements of all models that are decoded at once: what is computed of them stays in the cache


def buckets(sizes: Sequence[int], total: int = BUCKETS) -> list[int]:
    """`total` buckets shared out over layers of these sizes by their parameters: 8 at least, 4,096 at most each.

    A layer with as few elements as buckets is not estimated better by more: there the buckets are its elements' number.
    """
    parameters = max(1, sum(sizes))
    return [max(1, min(size, STRIDE, max(_FEWEST, round(total * size / parameters)))) for size in sizes]


def relative_error(size: int) -> float:
    """An upper bound: the standard error of a squared distance estimated from `size` buckets, over that distance."""
    return math.sqrt(2 / size)


@dataclass(frozen=True)
class CountSketch:
    """The random signs and buckets of one layer; two layers have their own unless name and shape are equal."""

    key: bytes
    length: int  # elements of the layer
    size: int  # k

    @staticmethod
    def of(layer: Layer, size: int, seed: int = _SEED) -> CountSketch:
        """Of a layer, with so many buckets."""
        text = f"{seed} {layer.name} {'x'.join(map(str, layer.shape))}"
        return CountSketch(hashlib.blake2b(text.encode(), digest_size=16).digest(), layer.size, size)

    def add(self, values: torch.Tensor, start: int, into: torch.Tensor) -> None:
        """Add elements [start, start + count) of each of n models, (n, count), to (n, k) `into`, in float64.

        `start` is a multiple of 4,096, and so is the count unless these are the last elements.
        """
        models, count = values.shape
        sums = torch.zeros((models, STRIDE), dtype=torch.float64)
        signs = self._signs(start, count)
        step = max(1, _AT_ONCE // max(1, models) // STRIDE) * STRIDE
        for first in range(0, count, step):
            signed = values[:, first : first + step].double() * signs[first : first + step]
            for at in range(0, signed.shape[1], STRIDE):
                turn = int(self._turns[(start + first + at) // STRIDE])
                piece = signed[:, at : at + STRIDE]
                head = piece[:, : STRIDE - turn]
                sums[:, turn : turn + head.shape[1]] += head
                if piece.shape[1] > STRIDE - turn:
                    tail = piece[:, STRIDE - turn :]
                    sums[:, : tail.shape[1]] += tail
        into.index_add_(1, self._shares, sums)

    def _signs(self, start: int, count: int) -> torch.Tensor:
        """(count,) of +1 and -1: element i of the layer has bit i of one random stream."""
        stream = np.random.Philox(key=int.from_bytes(self.key, "little"))
        stream.advance(start // 256)  # a step of the generator gives four words of 64 bits
        words = np.asarray(stream.random_raw(-(-count // 64)), dtype="<u8")
        bits = np.unpackbits(words.view(np.uint8), count=count)
        return torch.from_numpy(bits).double().mul_(2).sub_(1)

    @property
    def _turns(self) -> NDArray[np.int64]:
        return _placing(self.key, self.length, self.size)[0]

    @property
    def _shares(self) -> torch.Tensor:
        return _placing(self.key, self.length, self.size)[1]


@lru_cache(maxsize=8)
def _placing(key: bytes, length: int, size: int) -> tuple[NDArray[np.int64], torch.Tensor]:
    """By how many places each stride is turned, and which bucket each of the 4,096 sums goes to."""
    random = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little") ^ (1 << 127)))
    turns = random.integers(0, STRIDE, -(-length // STRIDE))
    return turns, torch.from_numpy(random.permutation(STRIDE) * size // STRIDE)


def estimates(one: NDArray[np.float64], another: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m, n) estimated squared distances between models with (m, k) and (n, k) sketches; NaN where one is missing."""
    centre = np.nan_to_num(one).mean(axis=0) if len(one) else 0.0
    a, b = one - centre, another - centre
    both = np.vecdot(a, a)[:, None] + np.vecdot(b, b)[None, :]
    return np.asarray(np.maximum(both - 2 * (a @ b.T), 0))
