"""What inference asks of a family that is too large for all its measures to be in memory.

A family of N members has N² pairs in every layer. What inference needs of them in one place is little: of all pairs the
sums over layers, which are passed block by block, and everything only within pieces of a few hundred members. A
`PairStore` gives both, wherever the measures lie: `AllPairs` has them as arrays, `FewPairs` has those of a few
candidates of each member, and `lineage.stored_pairs` reads them from the database.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lineage.family import FamilyMeasures

Ints = NDArray[np.intp]
_ROWS = 256  # of a strip


@dataclass(frozen=True)
class Strip:
    """Pairs of members: `first` and `second` are positions that broadcast against each other.

    They are rows (r, 1) and columns (1, c), or one by one (e,) and (e,). A pair may come twice and either way round; a
    member with itself is none.
    """

    first: Ints
    second: Ints

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is known of the pairs."""
        return np.broadcast_shapes(self.first.shape, self.second.shape)


@dataclass(frozen=True)
class LayerPairs:
    """One layer of a strip, in its shape; NaN where a pair was not measured or one of the two lacks the layer."""

    squared_distance: NDArray[np.floating[Any]]
    lost: NDArray[np.float32] | None = None  # squares of the first where the second is zero; None: none anywhere
    lost_of: NDArray[np.float32] | None = None  # squares of the second where the first is


@dataclass(frozen=True)
class Block:
    """Strips whose layers come together: what has to be held at once to sum over layers."""

    strips: tuple[Strip, ...]
    layers: Iterable[tuple[int, Iterable[LayerPairs]]]  # the number of each layer, then its pairs by strip


class PairStore(Protocol):
    """The measures of a family, as far as they are asked for."""

    @property
    def family(self) -> FamilyMeasures:
        """All that is known of single members; of pairs nothing, all are NaN."""
        ...

    def blocks(self, layers: Sequence[int]) -> Iterator[Block]:
        """All measured pairs of these layers (indices), block by block."""
        ...

    def pieces(self, groups: Sequence[Sequence[int]]) -> Iterator[FamilyMeasures]:
        """All measures of each group of members (ascending positions), in the order of groups.

        Memory goes with the largest groups, not with their number.
        """
        ...


def without_pairs(measures: FamilyMeasures) -> FamilyMeasures:
    """The same members, of whose pairs nothing is known; takes no memory for pairs."""
    shape = (len(measures.layers), len(measures.members), len(measures.members))
    unknown = np.broadcast_to(np.float32(np.nan), shape)
    return replace(
        measures,
        squared_distance=np.broadcast_to(np.float64(np.nan), shape),
        slope=unknown,
        rank=np.broadcast_to(np.int32(-1), shape),
        equal=unknown,
        lost=None,
        estimated=None,
        estimate_error=None,
    )


def members_of(measures: FamilyMeasures, group: Sequence[int]) -> FamilyMeasures:
    """The measures of some members (positions) and nobody else; pairs that are not known take no memory."""
    chosen = list(group)
    across = np.ix_(range(len(measures.layers)), chosen, chosen)

    def cut(values: NDArray[Any]) -> NDArray[Any]:
        if values.size and not any(values.strides):
            return np.broadcast_to(values[0, 0, 0], (len(values), len(chosen), len(chosen)))
        return values[across]

    return replace(
        measures,
        members=tuple(measures.members[one] for one in chosen),
        digest=tuple(tuple(row[one] for one in chosen) for row in measures.digest),
        lost=None if measures.lost is None else measures.lost[across],
        estimated=None if measures.estimated is None else measures.estimated[np.ix_(chosen, chosen)],
        count=measures.count[:, chosen],
        squared_norm=measures.squared_norm[:, chosen],
        variance=measures.variance[:, chosen],
        kurtosis=measures.kurtosis[:, chosen],
        zeros=measures.zeros[:, chosen],
        outliers=measures.outliers[:, chosen],
        form=measures.form[:, chosen],
        squared_distance=cut(measures.squared_distance),
        slope=cut(measures.slope),
        rank=cut(measures.rank),
        equal=cut(measures.equal),
    )


@dataclass(frozen=True)
class AllPairs:
    """Measures that are arrays in memory."""

    measures: FamilyMeasures

    @cached_property
    def family(self) -> FamilyMeasures:
        """All that is known of single members."""
        return without_pairs(self.measures)

    def blocks(self, layers: Sequence[int]) -> Iterator[Block]:
        """Rows of the upper triangle, a strip to a block."""
        members = len(self.measures.members)
        for start in range(0, members, _ROWS):
            rows = slice(start, min(members, start + _ROWS))
            strip = Strip(np.arange(rows.start, rows.stop)[:, None], np.arange(start, members)[None, :])
            yield Block((strip,), ((layer, (self._pairs(layer, rows),)) for layer in layers))

    def _pairs(self, layer: int, rows: slice) -> LayerPairs:
        """Of a strip of rows; estimates are no measures."""
        measures = self.measures
        squared = measures.squared_distance[layer, rows, rows.start :]
        if measures.estimated is not None:
            squared = np.where(measures.estimated[rows, rows.start :], np.nan, squared)
        if measures.lost is None:
            return LayerPairs(squared)
        lost = measures.lost[layer]
        return LayerPairs(squared, lost[rows, rows.start :], lost[rows.start :, rows].T)

    def pieces(self, groups: Sequence[Sequence[int]]) -> Iterator[FamilyMeasures]:
        """The measures of each group."""
        return (members_of(self.measures, group) for group in groups)


@dataclass(frozen=True)
class FewPairs:
    """Measures of e pairs in memory: of a few candidates of each member. A pair may be there once only."""

    family: FamilyMeasures  # of its pairs nothing is read
    pairs: Ints  # (e, 2) positions
    squared_distance: NDArray[np.floating[Any]]  # (L, e)
    slope: NDArray[np.float32]  # (L, e) evidence for "pairs[:, 0] is the parent of pairs[:, 1]"; NaN: not measured
    rank: NDArray[np.signedinteger[Any]]  # (L, e); -1: not measured
    lost: NDArray[np.float32] | None = None  # (L, e) squares of the first where the second is zero
    lost_of: NDArray[np.float32] | None = None  # (L, e) squares of the second where the first is

    def blocks(self, layers: Sequence[int]) -> Iterator[Block]:
        """All pairs at once."""
        strip = Strip(self.pairs[:, 0], self.pairs[:, 1])
        yield Block((strip,), ((layer, (self._pairs(layer),)) for layer in layers))

    def _pairs(self, layer: int) -> LayerPairs:
        if self.lost is None or self.lost_of is None:
            return LayerPairs(self.squared_distance[layer])
        return LayerPairs(self.squared_distance[layer], self.lost[layer], self.lost_of[layer])

    @cached_property
    def _by_member(self) -> tuple[Ints, Ints]:
        """The pairs of each member: those of member m are the second of these from the first's [m] to [m + 1]."""
        ends = self.pairs.T.ravel()
        order = np.argsort(ends, kind="stable")
        return np.searchsorted(ends[order], np.arange(len(self.family.members) + 1)), order % len(self.pairs)

    def pieces(self, groups: Sequence[Sequence[int]]) -> Iterator[FamilyMeasures]:
        """The measures of each group; pairs that were not measured are NaN."""
        place = np.full(len(self.family.members), -1, dtype=np.intp)
        bounds, number = self._by_member
        for group in groups:
            chosen = np.array(group, dtype=np.intp)
            place[chosen] = np.arange(len(chosen))
            near = np.unique(np.concatenate([number[bounds[one] : bounds[one + 1]] for one in group]))
            inside = near[(place[self.pairs[near]] >= 0).all(axis=1)]
            a, b = place[self.pairs[inside]].T
            place[chosen] = -1
            yield self._piece(group, inside, a, b)

    def _piece(self, group: Sequence[int], inside: Ints, a: Ints, b: Ints) -> FamilyMeasures:
        piece = members_of(self.family, group)
        shape = (len(piece.layers), len(group), len(group))
        squared = np.full(shape, np.nan)
        slope, rank = np.full(shape, np.nan, dtype=np.float32), np.full(shape, -1, dtype=np.int32)
        squared[:, a, b] = squared[:, b, a] = self.squared_distance[:, inside]
        slope[:, a, b] = self.slope[:, inside]
        slope[:, b, a] = -self.slope[:, inside]
        rank[:, a, b] = rank[:, b, a] = self.rank[:, inside]
        own = np.arange(len(group))
        squared[:, own, own] = np.where(piece.count > 0, 0.0, np.nan)
        rank[:, own, own] = np.where(piece.count > 0, 0, -1)
        lost = None
        if self.lost is not None and self.lost_of is not None:
            lost = np.zeros(shape, dtype=np.float32)
            lost[:, a, b], lost[:, b, a] = self.lost[:, inside], self.lost_of[:, inside]
        return replace(piece, squared_distance=squared, slope=slope, rank=rank, lost=lost)
