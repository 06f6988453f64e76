"""Passes over a layer's blocks: which models are in memory together, and what is summed of them."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from lineage import moments, pairs
from lineage.block import Found, Work, scratch_bytes
from lineage.digest import Digest
from lineage.stored_tensor import StoredTensor
from lineage.stream import STRIDE, LayerStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from lineage.family import Layer
    from lineage.pairs import Centres
    from lineage.stored_tensor import Block
    from lineage.whole import Kept

NUMBERS = ("mean", "variance", "skewness", "kurtosis", "squared_norm", "minimum", "maximum")
_BYTES_PER_PAIR = 192  # Gram matrices, distances and losses of the blocks in flight


class Total:
    """What is known of a layer's models so far: numbers of its new members, and of their pairs with all models."""

    def __init__(self, tensors: Sequence[StoredTensor], members: int) -> None:
        self.members = members
        self.distances = np.full((members, len(tensors)), np.nan)
        self.lost, self.lost_of = np.zeros((2, members, len(tensors)))
        self.bad = np.zeros(len(tensors), dtype=np.bool_)
        self.digests = [b""] * members
        self.form = [""] * members
        self.columns = {name: np.full(members, np.nan) for name in NUMBERS}
        self.zeros, self.outliers = np.zeros((2, members), dtype=np.int64)

    def take(self, sums: _Sums, new: NDArray[np.intp], rows: NDArray[np.intp]) -> None:
        """Take a group's pairs, whose new models and models these are."""
        here = np.ix_(new, rows)
        self.distances[here] = sums.distances
        self.lost[here], self.lost_of[here] = sums.lost[: len(new)], sums.lost[:, : len(new)].T
        self.bad[rows] |= sums.bad


def groups(stream: LayerStream, tensors: Sequence[StoredTensor], members: int, memory: int) -> Iterator[list[int]]:
    """The models that are in memory together, in one pass or several: every new one meets every other in one of them.

    Where all have room for blocks worth reading, there is one group. Where not, models are cut into sets of which two
    have room, and every two of them are a group.
    """
    everyone = sorted(range(len(tensors)), key=lambda row: (row >= members, tensors[row].form, row))
    each = max(tensor.itemsize for tensor in tensors) * STRIDE * stream.in_flight
    each += scratch_bytes(len(everyone)) // len(everyone) * stream.threads
    together = max(2, min(for_blocks(memory) // each, math.isqrt(memory // 8 // _BYTES_PER_PAIR)))
    if len(everyone) <= together:
        yield everyone
        return
    half = together // 2
    sets = [everyone[first : first + half] for first in range(0, len(everyone), half)]
    for one, another in combinations(sets, 2):
        if one[0] < members:
            yield one + another


def add_group(  # what is passed, and what it is added to
    stream: LayerStream,
    layer: Layer,
    tensors: Sequence[StoredTensor],
    group: Sequence[int],
    total: Total,
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

    room = for_blocks(memory) - stream.threads * scratch_bytes(len(rows))
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


def for_blocks(memory: int) -> int:
    """The share of the memory that blocks, and what computing on them takes, may have."""
    return memory // 4
