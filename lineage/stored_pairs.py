"""The measures of a large family as batches stored them, as far as inference asks for them (`lineage.pair_store`).

What a batch measured of a layer is read as it is stored, one after another, and what is not asked for is let go of at
once: of all pairs the squared distances of the trunk, once; then everything, of which pieces keep what is theirs.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from db import layer_measures
from lineage.measure_options import METRIC_VERSION
from lineage.packed import condensed_place, unpack
from lineage.pair_store import Block, LayerPairs, Strip, members_of
from lineage.stored import MemberArrays, PairArrays, Shelf, wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from db.layer_measures import PairRow
    from db.models import MeasureBatch
    from lineage.family import FamilyMeasures

    # Columns of pairs, by the ids of a batch and a layer.
    Read = Callable[[tuple[int, int], Sequence[str]], PairRow]

_ROWS = 256  # of a strip
_BYTES = 20  # of a pair in each layer, in memory
_AT_ONCE = 1 << 30  # bytes of pieces that are filled while the stored measures are passed
_LOST = ("lost", "lost_of")


def load_pair_store(session: Session, family_id: int, *, equal: bool) -> StoredPairs:
    """The measures of a family in the database, to be asked for as long as the session lasts."""
    shelf = Shelf.of(session, family_id)
    singles = MemberArrays(len(shelf.place), shelf.members)
    for row in layer_measures.load_singles(session, family_id, METRIC_VERSION):
        singles.take(row, shelf.batches[row.batch_id], shelf.place[row.layer_id])
    read = partial(layer_measures.load_pairs, session)
    return StoredPairs(shelf, singles.measures(shelf.layers), read, equal=equal)


class StoredPairs:
    """A `lineage.pair_store.PairStore` of what batches measured. Pieces estimate pairs that none did, blocks do not.

    Without `equal` nothing is read of shares of equal elements, a fifth of all that pieces need: of all methods only
    the detector makes use of them, and it answers without.
    """

    def __init__(self, shelf: Shelf, family: FamilyMeasures, read: Read, *, equal: bool = True) -> None:
        self.family, self._shelf, self._read, self._equal = family, shelf, read, equal

    def blocks(self, layers: Sequence[int]) -> Iterator[Block]:
        """A block for each batch, in strips of its rows."""
        place = {member: index for index, member in enumerate(self._shelf.members)}
        asked = set(layers)
        for batch in self._shelf.batches.values():
            own = _BatchStrips(batch, place)
            if own.strips:
                stored = [one for one in self._shelf.stored[batch.id] if self._shelf.place[one] in asked]
                yield Block(own.strips, ((self._shelf.place[one], self._strips(own, one)) for one in stored))

    def _strips(self, own: _BatchStrips, layer: int) -> Iterator[LayerPairs]:
        row = self._read((own.batch.id, layer), ("squared_distance", *_LOST))
        squared = own.strips_of(row.squared_distance, "<f8")
        if not row.lost:
            return (LayerPairs(one) for one in squared)
        lost, back = own.strips_of(row.lost, "<f4"), own.strips_of(row.lost_of, "<f4")
        return (LayerPairs(*parts) for parts in zip(squared, lost, back, strict=True))

    def pieces(self, groups: Sequence[Sequence[int]]) -> Iterator[FamilyMeasures]:
        """The measures of each group; all that is stored is passed once for every GiB of them."""
        first = 0
        while first < len(groups):
            room, last = _AT_ONCE, first
            while last < len(groups) and (last == first or room > 0):
                room -= _BYTES * len(self._shelf.layers) * len(groups[last]) ** 2
                last += 1
            yield from self._filled(groups[first:last])
            first = last

    def _filled(self, groups: Sequence[Sequence[int]]) -> Iterator[FamilyMeasures]:
        members = self._shelf.members
        layers = len(self._shelf.layers)
        arrays = [PairArrays(layers, [members[one] for one in group], equal=self._equal) for group in groups]
        asked = {batch.id: [one for one in arrays if one.cover(batch)] for batch in self._shelf.batches.values()}
        columns = ["squared_distance", "slope", "rank", *_LOST, *(["equal"] if self._equal else [])]
        if any(one.estimated for one in arrays):
            columns.append("sketch")
        for batch in self._shelf.batches.values():
            for layer in self._shelf.stored[batch.id] if asked[batch.id] else []:
                row = self._read((batch.id, layer), columns)
                for one in asked[batch.id]:
                    one.take(row, batch, self._shelf.place[layer])
        for group in groups:
            yield arrays.pop(0).measures(members_of(self.family, group))


class _BatchStrips:
    """The pairs of a batch in strips: some of its members against the older ones and those after them."""

    def __init__(self, batch: MeasureBatch, place: dict[int, int]) -> None:
        self.batch = batch
        self._new = wanted(place, batch.members, batch.lost)
        self._old = wanted(place, batch.against, batch.lost)
        self._starts = range(0, len(self._new), _ROWS)
        columns = [position for _, position in (*self._old, *self._new)]
        self.strips = tuple(
            Strip(
                np.array([position for _, position in self._new[first : first + _ROWS]])[:, None],
                np.array(columns[: len(self._old)] + columns[len(self._old) + first :])[None, :],
            )
            for first in self._starts
        )

    def strips_of(self, data: bytes, dtype: str) -> Iterator[NDArray[Any]]:
        """The numbers of each strip; NaN where it has a pair the other way round."""
        size = len(self.batch.members)
        against, own = unpack(data, size, len(self.batch.against), dtype)
        old, new = (np.array([number for number, _ in some], dtype=np.intp) for some in (self._old, self._new))
        for first in self._starts:
            rows, after = new[first : first + _ROWS], new[first:]
            found = np.full((len(rows), len(old) + len(after)), np.nan, dtype=own.dtype)
            if len(old):
                found[:, : len(old)] = against[np.ix_(rows, old)]
            for index, row in enumerate(rows.tolist()):
                later = after[index + 1 :]
                if len(later):
                    start = int(condensed_place(size, np.array(row), later[0])) - int(later[0])
                    whole = int(later[-1]) - int(later[0]) + 1 == len(later)
                    stop = start + int(later[-1]) + 1
                    found[index, len(old) + index + 1 :] = (
                        own[start + int(later[0]) : stop] if whole else own[start + later]
                    )
            yield found
