"""Stored sketches of a family's members, as the learning-free detectors need them beside the measures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from db import layer_measures, measurements
from lineage.measure_options import METRIC_VERSION
from lineage.packed import unpack_sketches

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy.orm import Session

    from lineage.family import FamilyMeasures


def load_sketches(session: Session, family_id: int, measures: FamilyMeasures) -> tuple[NDArray[np.float64], ...] | None:
    """Per layer of `measures` the (N, k) CountSketches of its members, in their order; None where none is stored.

    A member that has no sketch of a layer is NaN there; k is 0 for layers without any. A later batch overwrites an
    earlier one, as in `lineage.stored`.
    """
    numbers = {row.name: row.id for row in measurements.family_layers(session, family_id)}
    place = {member: index for index, member in enumerate(measures.members)}
    found = []
    for layer in measures.layers:
        rows: dict[int, NDArray[np.float64]] = {}
        for members, lost, _, data in layer_measures.load_sketches(session, numbers[layer.name], METRIC_VERSION):
            sketches = unpack_sketches(data, len(members))
            if sketches.shape[1]:
                wanted = (n for n, member in enumerate(members) if member in place and member not in lost)
                rows |= {place[members[n]]: sketches[n] for n in wanted}
        values = np.full((len(place), len(next(iter(rows.values()))) if rows else 0), np.nan)
        for index, sketch in rows.items():
            values[index] = sketch
        found.append(values)
    return tuple(found) if any(values.shape[1] for values in found) else None
