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

from lineage.compiled import compiled
from lineage.decoding import decode, width_of
from lineage.stream import STRIDE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from lineage.decoding import Rows
    from lineage.family import Layer

BUCKETS = 4096  # of all layers of a family together
_FEWEST = 8  # buckets of a layer, however small its share
_SEED = 20_261_108


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

    def add(self, rows: Rows, start: int, into: NDArray[np.float64]) -> None:
        """Add elements [start, start + count) of each of n models to (n, k) `into`, in float64.

        `start` is a multiple of 4,096, and so is the count unless these are the last elements.
        """
        signs = self._signs(start, rows.count)
        turns = self._turns[start // STRIDE : start // STRIDE - (-rows.count // STRIDE)]
        for row in range(len(rows.at)):
            _add(rows.data, rows.at[row], rows.code[row], rows.count, signs, turns, self._shares, into[row])

    def _signs(self, start: int, count: int) -> NDArray[np.int8]:
        """(count,) of +1 and -1: element i of the layer has bit i of one random stream."""
        stream = np.random.Philox(key=int.from_bytes(self.key, "little"))
        stream.advance(start // 256)  # a step of the generator gives four words of 64 bits
        words = np.asarray(stream.random_raw(-(-count // 64)), dtype="<u8")
        signs = np.unpackbits(words.view(np.uint8), count=count).view(np.int8)
        signs *= 2
        signs -= 1
        return signs

    @property
    def _turns(self) -> NDArray[np.int64]:
        return _placing(self.key, self.length, self.size)[0]

    @property
    def _shares(self) -> NDArray[np.int64]:
        return _placing(self.key, self.length, self.size)[1]


@lru_cache(maxsize=8)
def _placing(key: bytes, length: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """By how many places each stride is turned, and which bucket each of the 4,096 sums goes to."""
    random = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little") ^ (1 << 127)))
    turns = random.integers(0, STRIDE, -(-length // STRIDE))
    return turns, random.permutation(STRIDE) * size // STRIDE


@compiled
def _add(
    data: NDArray[np.uint8],
    at: int,
    code: int,
    count: int,
    signs: NDArray[np.int8],
    turns: NDArray[np.int64],
    shares: NDArray[np.int64],
    into: NDArray[np.float64],
) -> None:
    """Add one row: every stride is turned and added to the others, then the sums are shared out."""
    width = width_of(code)
    values, sums = np.empty(STRIDE), np.zeros(STRIDE)
    for stride in range(len(turns)):
        first = stride * STRIDE
        size = min(STRIDE, count - first)
        decode(data, at + first * width, code, size, values)
        head = min(size, STRIDE - turns[stride])
        _add_signed(sums[turns[stride] :], values[:head], signs[first : first + head])
        _add_signed(sums, values[head:size], signs[first + head : first + size])
    for i in range(STRIDE):
        into[shares[i]] += sums[i]


@compiled
def _add_signed(sums: NDArray[np.float64], values: NDArray[np.float64], signs: NDArray[np.int8]) -> None:
    for i in range(len(values)):
        sums[i] += values[i] * signs[i]


def estimates(one: NDArray[np.float64], another: NDArray[np.float64]) -> NDArray[np.float64]:
    """(m, n) estimated squared distances between models with (m, k) and (n, k) sketches; NaN where one is missing."""
    centre = np.nan_to_num(one).mean(axis=0) if len(one) else 0.0
    a, b = one - centre, another - centre
    both = np.vecdot(a, a)[:, None] + np.vecdot(b, b)[None, :]
    return np.asarray(np.maximum(both - 2 * (a @ b.T), 0))
