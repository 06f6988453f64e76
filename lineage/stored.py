"""Stored measures as arrays: what inference works on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from db import measurements
from lineage.family import FamilyMeasures, Layer, LayerKind
from lineage.measure import METRIC_VERSION
from lineage.packed import directed, spread, unpack, unpack_sketches
from lineage.sketch import estimates, relative_error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from db.measurements import LayerRow
    from db.models import MeasureBatch

_NUMBERS = ("squared_norm", "variance", "kurtosis")


def load_measures(session: Session, family_id: int) -> FamilyMeasures:
    """All measures of the current members of a family that were measured whole and have no failure since.

    Pairs that no batch measured are estimated from the members' sketches, and marked.
    """
    batches = {batch.id: batch for batch in measurements.batches(session, family_id, METRIC_VERSION)}
    failed = measurements.failed_members(session, family_id)
    whole = {one for batch in batches.values() if batch.finished_at for one in batch.members if one not in batch.lost}
    measured = whole - failed.keys()
    current = [member.revision_id for member in measurements.members(session, family_id)]
    members = tuple(one for one in current if one in measured)
    rows = {row.id: row for row in measurements.family_layers(session, family_id)}
    stored = measurements.stored_layers(session, family_id, METRIC_VERSION)
    place = {layer: index for index, layer in enumerate(layer for layer in rows if layer in stored)}
    arrays = _Arrays(len(place), members)
    for batch in batches.values():
        if batch.finished_at is not None:
            arrays.cover(batch)
    for measures in measurements.load_layers(session, family_id, METRIC_VERSION):
        arrays.take(measures, batches[measures.batch_id], place[measures.layer_id])
    return arrays.measures(
        tuple(Layer(rows[one].name, tuple(rows[one].shape), LayerKind(rows[one].kind)) for one in place)
    )


class _Arrays:
    """The arrays of FamilyMeasures while they are filled, batch by batch; a later batch overwrites an earlier one."""

    def __init__(self, layers: int, members: Sequence[int]) -> None:
        self._members = tuple(members)
        self._place = {member: index for index, member in enumerate(members)}
        each, pairs = (layers, len(members)), (layers, len(members), len(members))
        self._count = np.zeros(each, dtype=np.int64)
        self._zeros = np.zeros(each, dtype=np.int64)
        self._numbers = {name: np.full(each, np.nan) for name in _NUMBERS}
        self._digest = [[b""] * len(members) for _ in range(layers)]
        self._squared = np.full(pairs, np.nan)
        self._slope = np.full(pairs, np.nan, dtype=np.float32)
        self._rank = np.full(pairs, -1, dtype=np.int32)
        self._equal = np.full(pairs, np.nan, dtype=np.float32)
        self._lost: NDArray[np.float32] | None = None  # only where anything is
        self._outliers = np.zeros(each, dtype=np.int64)
        self._form = np.full(each, -1, dtype=np.int8)
        self._unmeasured = ~np.eye(len(members), dtype=np.bool_)
        self._sketches: list[dict[int, NDArray[np.float64]]] = [{} for _ in range(layers)]
        self._error = np.zeros(layers)

    def cover(self, batch: MeasureBatch) -> None:
        """The pairs that a batch measured."""
        new, old = ([place for _, place in self._wanted(some, batch.lost)] for some in (batch.members, batch.against))
        for here, there in ((new, new), (new, old), (old, new)):
            self._unmeasured[np.ix_(here, there)] = False

    def _wanted(self, revisions: Sequence[int], lost: Sequence[int]) -> list[tuple[int, int]]:
        """Of a batch's members those that are wanted and were not lost: their numbers there and places here."""
        return [(n, self._place[one]) for n, one in enumerate(revisions) if one in self._place and one not in lost]

    def take(self, row: LayerRow, batch: MeasureBatch, layer: int) -> None:
        """Take one layer of one batch."""
        new, old = self._wanted(batch.members, batch.lost), self._wanted(batch.against, batch.lost)
        rows, here = [index for index, _ in new], [place for _, place in new]
        self._count[layer, here] = np.array(row.count)[rows]
        self._zeros[layer, here] = np.array(row.zeros)[rows]
        self._outliers[layer, here] = np.array(row.outliers)[rows]
        self._form[layer, here] = np.array(row.form)[rows]
        for name in _NUMBERS:
            self._numbers[name][layer, here] = np.array(getattr(row, name), dtype=np.float64)[rows]
        for index, member in new:
            self._digest[layer][member] = row.digest[index]
        sizes = len(batch.members), len(batch.against)
        spread(self._squared[layer], unpack(row.squared_distance, *sizes, "<f8"), new, old, 1)
        spread(self._slope[layer], unpack(row.slope, *sizes, "<f4"), new, old, -1)
        spread(self._rank[layer], unpack(row.rank, *sizes, "<i2"), new, old, 1)
        spread(self._equal[layer], unpack(row.equal, *sizes, "<f4"), new, old, 1)
        if row.lost:
            if self._lost is None:
                self._lost = np.zeros(self._equal.shape, dtype=np.float32)
            to, back = unpack(row.lost, *sizes, "<f4"), unpack(row.lost_of, *sizes, "<f4")
            directed(self._lost[layer], to, back, new, old)
        if self._unmeasured.any():
            sketches = unpack_sketches(row.sketch, len(batch.members))
            self._sketches[layer].update((member, sketches[index]) for index, member in new if sketches.shape[1])

    def measures(self, layers: tuple[Layer, ...]) -> FamilyMeasures:
        """The filled arrays. A member at no distance from itself has a zero there, unless it lacks the layer."""
        for layer in range(len(layers)):
            self._estimate(layer)
        index = np.arange(len(self._members))
        here = self._count > 0
        self._squared[:, index, index] = np.where(here, 0.0, np.nan)
        self._slope[:, index, index] = np.nan
        self._rank[:, index, index] = np.where(here, 0, -1)
        self._equal[:, index, index] = np.where(here, 1, np.nan)
        return FamilyMeasures(
            members=self._members,
            layers=layers,
            count=self._count,
            digest=tuple(tuple(row) for row in self._digest),
            squared_distance=self._squared,
            slope=self._slope,
            rank=self._rank,
            zeros=self._zeros,
            outliers=self._outliers,
            form=self._form,
            equal=self._equal,
            lost=self._lost,
            squared_norm=self._numbers["squared_norm"],
            variance=self._numbers["variance"],
            kurtosis=self._numbers["kurtosis"],
            estimated=self._unmeasured if self._unmeasured.any() else None,
            estimate_error=self._error if self._unmeasured.any() else None,
        )

    def _estimate(self, layer: int) -> None:
        """Fill in the pairs that no batch measured. What is not equal is not at distance 0, however near it seems."""
        sketches = self._sketches[layer]
        having = sorted(member for member in sketches if self._count[layer, member] > 0)
        if not having:
            return
        values = np.stack([sketches[member] for member in having])
        self._error[layer] = relative_error(values.shape[1])
        pairs = np.ix_(having, having)
        codes: dict[bytes, int] = {}
        code = np.array([codes.setdefault(self._digest[layer][member], len(codes)) for member in having])
        found = np.maximum(estimates(values, values), np.finfo(np.float64).tiny)
        found = np.where(code[:, None] == code[None, :], 0.0, (found + found.T) / 2)
        self._squared[layer][pairs] = np.where(self._unmeasured[pairs], found, self._squared[layer][pairs])
