"""Where the members of a batch keep each layer; small layers that follow one another are read together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from db import measurements
from db.engine import transaction
from lineage.family import LayerKind
from lineage.reading import held_bytes
from lineage.stored_tensor import DTYPES, StoredTensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Engine

    from db.errors import Failure
    from db.models import FamilyLayer
    from lineage.batches import Batch
    from lineage.reading import MemberReader

_HELD = 16  # the share of the memory for small layers that are read together: half of what lineage.layer leaves over


@dataclass(frozen=True)
class Located:
    """A layer, which members of a batch have it, by their number, and where."""

    row: FamilyLayer
    having: tuple[int, ...]
    tensors: tuple[StoredTensor, ...]

    def read(self, new: int) -> int:
        """How many of its members are read, where `new` are new: of a buffer only new ones are."""
        return sum(index < new for index in self.having) if self.row.kind == LayerKind.BUFFER else len(self.having)


def located(
    engine: Engine, batch: Batch, rows: Sequence[FamilyLayer], reader: MemberReader[Failure], memory: int
) -> Iterator[Located]:
    """The layers in order; before a run of small ones their bytes are read, of as many as the memory's share takes."""
    run: list[Located] = []
    size = 0
    for row in rows:
        layer = _locate(engine, batch, row)
        held = held_bytes(layer.tensors[: layer.read(batch.new)])
        if held is None or size + held > memory // _HELD:
            yield from _together(run, batch, reader)
            run, size = [], 0
        if held is None:
            yield layer
        else:
            run.append(layer)
            size += held
    yield from _together(run, batch, reader)


def _together(run: Sequence[Located], batch: Batch, reader: MemberReader[Failure]) -> Iterator[Located]:
    if len(run) > 1:  # a single one is better read block by block
        reader.hold(
            (batch.members[index], tensor)
            for layer in run
            for index, tensor in list(zip(layer.having, layer.tensors, strict=True))[: layer.read(batch.new)]
        )
    yield from run
    reader.hold(())


def _locate(engine: Engine, batch: Batch, row: FamilyLayer) -> Located:
    with transaction(engine) as session:
        places = measurements.places(session, row, [member.revision_id for member in batch.members])
    having = tuple(index for index, member in enumerate(batch.members) if member.revision_id in places)
    return Located(row, having, tuple(_stored(places[batch.members[index].revision_id]) for index in having))


def _stored(place: measurements.Place) -> StoredTensor:
    assert place.dtype in DTYPES, place  # noqa: S101  # others were refused when the header was read
    scale, order = (None if one is None else _stored(one) for one in (place.scale, place.order))
    return StoredTensor(place.file, place.name, place.dtype, place.start, place.stop, scale, order)
