"""Stored measures as arrays: what inference works on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from db import layer_measures, measurements
from lineage.family import FamilyMeasures, Layer, LayerKind
from lineage.measure_options import METRIC_VERSION
from lineage.packed import directed, spread, unpack, unpack_sketches
from lineage.sketch import estimates, relative_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from db.layer_measures import PairRow, SingleRow
    from db.models import MeasureBatch

_NUMBERS = ("squared_norm", "variance", "kurtosis")


def load_measures(session: Session, family_id: int) -> FamilyMeasures:
    """All measures of the current members of a family that were measured whole and have no failure since.

    Pairs that no batch measured are estimated from the members' sketches, and marked.
    """
    shelf = Shelf.of(session, family_id)
    singles, pairs = MemberArrays(len(shelf.place), shelf.members), PairArrays(len(shelf.place), shelf.members)
    for batch in shelf.batches.values():
        pairs.cover(batch)
    for row in layer_measures.load_layers(session, family_id, METRIC_VERSION):
        batch, layer = shelf.batches[row.batch_id], shelf.place[row.layer_id]
        singles.take(row, batch, layer)
        pairs.take(row, batch, layer)
    return pairs.measures(singles.measures(shelf.layers))


@dataclass(frozen=True)
class Shelf:
    """What is stored of a family, without the numbers."""

    members: tuple[int, ...]  # revisions, ascending in the order of their repositories
    layers: tuple[Layer, ...]
    place: dict[int, int]  # of each layer's id among `layers`
    batches: dict[int, MeasureBatch]  # those that were finished, by id, oldest first
    stored: dict[int, list[int]]  # the ids of the layers of which each batch has measures

    @staticmethod
    def of(session: Session, family_id: int) -> Shelf:
        """The current members that were measured whole and have no failure since."""
        stored = measurements.batches(session, family_id, METRIC_VERSION)
        batches = {batch.id: batch for batch in stored if batch.finished_at is not None}
        failed = measurements.failed_members(session, family_id)
        whole = {one for batch in batches.values() for one in batch.members if one not in batch.lost}
        measured = whole - failed.keys()
        current = [member.revision_id for member in measurements.members(session, family_id)]
        members = tuple(one for one in current if one in measured)
        rows = {row.id: row for row in measurements.family_layers(session, family_id)}
        known: dict[int, list[int]] = {batch: [] for batch in batches}
        for batch_id, layer_id in layer_measures.layer_places(session, family_id, METRIC_VERSION):
            known[batch_id].append(layer_id)
        has = {layer for layers in known.values() for layer in layers}
        place = {layer: index for index, layer in enumerate(layer for layer in rows if layer in has)}
        layers = tuple(Layer(rows[one].name, tuple(rows[one].shape), LayerKind(rows[one].kind)) for one in place)
        return Shelf(members, layers, place, batches, known)


def wanted(place: Mapping[int, int], revisions: Sequence[int], lost: Sequence[int]) -> list[tuple[int, int]]:
    """Of a batch's members those that have a place and were not lost: their numbers in the batch, and their places."""
    return [(n, place[one]) for n, one in enumerate(revisions) if one in place and one not in lost]


class MemberArrays:
    """What is known of single members, while it is filled, batch by batch; a later batch overwrites an earlier one."""

    def __init__(self, layers: int, members: Sequence[int]) -> None:
        self._members = tuple(members)
        self._place = {member: index for index, member in enumerate(members)}
        each = (layers, len(members))
        self._count = np.zeros(each, dtype=np.int64)
        self._zeros = np.zeros(each, dtype=np.int64)
        self._outliers = np.zeros(each, dtype=np.int64)
        self._form = np.full(each, -1, dtype=np.int8)
        self._numbers = {name: np.full(each, np.nan) for name in _NUMBERS}
        self._digest = [[b""] * len(members) for _ in range(layers)]

    def take(self, row: SingleRow, batch: MeasureBatch, layer: int) -> None:
        """Take one layer of one batch."""
        new = wanted(self._place, batch.members, batch.lost)
        rows, here = [index for index, _ in new], [place for _, place in new]
        self._count[layer, here] = np.array(row.count)[rows]
        self._zeros[layer, here] = np.array(row.zeros)[rows]
        self._outliers[layer, here] = np.array(row.outliers)[rows]
        self._form[layer, here] = np.array(row.form)[rows]
        for name in _NUMBERS:
            self._numbers[name][layer, here] = np.array(getattr(row, name), dtype=np.float64)[rows]
        for index, member in new:
            self._digest[layer][member] = row.digest[index]

    def measures(self, layers: tuple[Layer, ...]) -> FamilyMeasures:
        """The members, of whose pairs nothing is known: they are NaN, and take no memory."""
        pairs = (len(layers), len(self._members), len(self._members))
        unknown = np.broadcast_to(np.float32(np.nan), pairs)
        return FamilyMeasures(
            members=self._members,
            layers=layers,
            count=self._count,
            digest=tuple(tuple(row) for row in self._digest),
            squared_distance=np.broadcast_to(np.float64(np.nan), pairs),
            slope=unknown,
            rank=np.broadcast_to(np.int32(-1), pairs),
            equal=unknown,
            zeros=self._zeros,
            outliers=self._outliers,
            form=self._form,
            squared_norm=self._numbers["squared_norm"],
            variance=self._numbers["variance"],
            kurtosis=self._numbers["kurtosis"],
        )


class PairArrays:
    """What is known of the pairs of some members, while it is filled, batch by batch, the later over the earlier.

    Without `equal` the shares of equal elements are left out.
    """

    def __init__(self, layers: int, members: Sequence[int], *, equal: bool = True) -> None:
        self._place = {member: index for index, member in enumerate(members)}
        pairs = (layers, len(members), len(members))
        self._squared = np.full(pairs, np.nan)
        self._slope = np.full(pairs, np.nan, dtype=np.float32)
        self._rank = np.full(pairs, -1, dtype=np.int32)
        self._equal = np.full(pairs, np.nan, dtype=np.float32) if equal else None
        self._lost: NDArray[np.float32] | None = None  # only where anything is
        self._unmeasured = ~np.eye(len(members), dtype=np.bool_)
        self._sketches: list[dict[int, NDArray[np.float64]]] = [{} for _ in range(layers)]
        self._error = np.zeros(layers)
        self._batches: dict[int, tuple[list[tuple[int, int]], list[tuple[int, int]]]] = {}

    @property
    def estimated(self) -> bool:
        """Whether sketches are needed, of all batches that were covered."""
        return bool(self._unmeasured.any())

    def cover(self, batch: MeasureBatch) -> bool:
        """Take note of the pairs that a batch measured; returns whether it has any of these members."""
        new, old = ([place for _, place in some] for some in self._wanted(batch))
        for here, there in ((new, new), (new, old), (old, new)):
            self._unmeasured[np.ix_(here, there)] = False
        return bool(new)

    def _wanted(self, batch: MeasureBatch) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Of these members those that a batch measured as new ones, and those as older ones."""
        if batch.id not in self._batches:
            own = (wanted(self._place, some, batch.lost) for some in (batch.members, batch.against))
            self._batches[batch.id] = next(own), next(own)
        return self._batches[batch.id]

    def take(self, row: PairRow, batch: MeasureBatch, layer: int) -> None:
        """Take one layer of one batch."""
        new, old = self._wanted(batch)
        sizes = len(batch.members), len(batch.against)
        spread(self._squared[layer], unpack(row.squared_distance, *sizes, "<f8"), new, old, 1)
        spread(self._slope[layer], unpack(row.slope, *sizes, "<f4"), new, old, -1)
        spread(self._rank[layer], unpack(row.rank, *sizes, "<i2"), new, old, 1)
        if self._equal is not None:
            spread(self._equal[layer], unpack(row.equal, *sizes, "<f4"), new, old, 1)
        if row.lost:
            if self._lost is None:
                self._lost = np.zeros(self._squared.shape, dtype=np.float32)
            to, back = unpack(row.lost, *sizes, "<f4"), unpack(row.lost_of, *sizes, "<f4")
            directed(self._lost[layer], to, back, new, old)
        if self.estimated:
            sketches = unpack_sketches(row.sketch, len(batch.members))
            self._sketches[layer].update((member, sketches[index]) for index, member in new if sketches.shape[1])

    def measures(self, singles: FamilyMeasures) -> FamilyMeasures:
        """The filled arrays, of these members. One at no distance from itself has a zero there, unless it lacks it."""
        for layer in range(len(singles.layers)):
            self._estimate(singles, layer)
        index = np.arange(len(singles.members))
        here = singles.count > 0
        self._squared[:, index, index] = np.where(here, 0.0, np.nan)
        self._slope[:, index, index] = np.nan
        self._rank[:, index, index] = np.where(here, 0, -1)
        if self._equal is not None:
            self._equal[:, index, index] = np.where(here, 1, np.nan)
        return replace(
            singles,
            squared_distance=self._squared,
            slope=self._slope,
            rank=self._rank,
            equal=singles.equal if self._equal is None else self._equal,
            lost=self._lost,
            estimated=self._unmeasured if self.estimated else None,
            estimate_error=self._error if self.estimated else None,
        )

    def _estimate(self, singles: FamilyMeasures, layer: int) -> None:
        """Fill in the pairs that no batch measured. What is not equal is not at distance 0, however near it seems."""
        sketches = self._sketches[layer]
        having = sorted(member for member in sketches if singles.count[layer, member] > 0)
        if not having:
            return
        values = np.stack([sketches[member] for member in having])
        self._error[layer] = relative_error(values.shape[1])
        pairs = np.ix_(having, having)
        codes: dict[bytes, int] = {}
        code = np.array([codes.setdefault(singles.digest[layer][member], len(codes)) for member in having])
        found = np.maximum(estimates(values, values), np.finfo(np.float64).tiny)
        found = np.where(code[:, None] == code[None, :], 0.0, (found + found.T) / 2)
        self._squared[layer][pairs] = np.where(self._unmeasured[pairs], found, self._squared[layer][pairs])
