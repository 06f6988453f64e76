"""Blocks of layers of a batch: what one worker measures at a time, whoever measures the others.

A layer's measures depend on no other layer, so blocks go in any order and side by side. Each layer is stored in a
transaction of its own, with the failures that it brought; a member that failed in one is left out of all that are begun
later.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select

from db import failures, layer_measures, measurements
from db.engine import transaction
from db.errors import Failure, TensorUnusable
from db.models import MeasureBatch
from lineage import batches
from lineage.batches import Batch
from lineage.columns import columns
from lineage.family import Layer, LayerKind
from lineage.locating import Located, located
from lineage.packed import unpack_sketches
from lineage.projecting import Projecting
from lineage.reading import MemberReader
from lineage.sketch import CountSketch, buckets
from lineage.sketch_store import SketchStore
from lineage.stored_tensor import DTYPES
from lineage.stream import LayerStream, layer_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from db.models import FamilyLayer
    from lineage.measure_options import Options
    from lineage.reading import ByteSource

_NUMBER = 4  # bytes of a weight, for the size of a block: some are stored in two, few in eight


@dataclass(frozen=True)
class Block:
    """Neighbouring layers of a batch. The same batch is always cut in the same way."""

    number: int  # from 0
    layers: tuple[int, ...]  # ids
    nbytes: int  # that are read of all members together, about
    is_measured: bool


def blocks(engine: Engine, batch_id: int, options: Options, *, size: int) -> list[Block]:
    """The blocks of a batch, each of about `size` bytes or of one larger layer."""
    with transaction(engine) as session:
        row = session.get_one(MeasureBatch, batch_id)
        layers = batch_layers(session, row.family_id, row.members, options.buckets)
        done = layer_measures.measured_layers(session, batch_id)
    members = len(row.members) + len(row.against)
    cut: list[tuple[list[int], int]] = []
    for layer in layers:
        nbytes = math.prod(layer.shape) * _NUMBER * members
        if not cut or cut[-1][1] + nbytes > size:
            cut.append(([], 0))
        cut[-1] = [*cut[-1][0], layer.id], cut[-1][1] + nbytes
    return [Block(number, tuple(ids), nbytes, done >= set(ids)) for number, (ids, nbytes) in enumerate(cut)]


def measure_layers(
    engine: Engine,
    batch_id: int,
    wanted: Collection[int] | None,
    source: ByteSource[Failure],
    options: Options,
    progress: Callable[[str, int, int], None] = lambda _layer, _done, _layers: None,
) -> int:
    """Measure these layers of a batch (None: all) as far as nobody did; return how many that were.

    `progress` is called before each layer, and after the last one, with its name, how many are done and of how many;
    an error that it raises ends the work there, with nothing lost.
    """
    batch, layers, done, version = _of(engine, batch_id, wanted, options)
    reader = MemberReader(source, batch.lost)
    places = located(engine, batch, [layer for layer in layers if layer.id not in done], reader, options.memory)
    projecting = _projecting(options)
    with layer_stream(reader, options.device, request=source.request_bytes) as stream:
        for number, layer in enumerate(layers):
            progress(layer.name, number, len(layers))
            if layer.id not in done:
                _measure_one(engine, batch, version, next(places), stream, reader, projecting)
        progress("", len(layers), len(layers))
    return len(layers) - len(done)


def try_members(
    engine: Engine,
    batch_id: int,
    wanted: Collection[int],
    source: ByteSource[Failure],
    options: Options,
    about: Callable[[int, str], None],
) -> None:
    """Measure each member alone in these layers, and store nothing: what a worker died of shows by name.

    `about` is called before each member, with its revision's id and its repository's name.
    """
    batch, layers, done, _ = _of(engine, batch_id, wanted, options)
    left = [layer for layer in layers if layer.id not in done]
    for number, member in enumerate(batch.members):
        if member.revision_id in batch.lost:
            continue
        about(member.revision_id, member.name)
        alone = Batch(batch.id, int(number < batch.new), (member,), batch.lost)
        reader = MemberReader(source, batch.lost)
        with layer_stream(reader, options.device, request=source.request_bytes) as stream:
            for place in located(engine, alone, left, reader, options.memory):
                reader.begin([member] * len(place.having))
                if place.tensors:
                    row = place.row
                    _projecting(options).measure(stream, layer_of(row), place.tensors, 1, {}, counting_of(row))


def lose_member(engine: Engine, batch_id: int, revision_id: int, failure: Failure) -> None:
    """Leave a member out of the rest of a batch, and record why."""
    with transaction(engine) as session:
        member = measurements.member(session, revision_id)
        failures.record(
            session, failure, stage="measure", repository_id=member.repository_id, revision_id=member.revision_id
        )
        measurements.lose_member(session, batch_id, revision_id)


def finish_batch(engine: Engine, batch_id: int, count: int) -> bool:
    """Mark a batch as measured if all its layers are; return whether it is. `count`: the family's buckets.

    Failures of members that none was lost of are overcome then.
    """
    with transaction(engine) as session:
        query = select(MeasureBatch).where(MeasureBatch.id == batch_id).with_for_update()
        row = session.scalars(query).one()
        if row.finished_at is not None:
            return True
        layers = batch_layers(session, row.family_id, row.members, count)
        if not {layer.id for layer in layers} <= layer_measures.measured_layers(session, batch_id):
            return False
        measurements.finish_batch(session, batch_id)
        for revision in row.members:
            if revision not in row.lost:
                failures.resolve(session, measurements.member(session, revision).repository_id, ["measure"])
        return True


def batch_layers(session: Session, family_id: int, revisions: Sequence[int], count: int) -> list[FamilyLayer]:
    """The layers of these revisions, in order; those that the family did not know yet are added to it."""
    return measurements.sync_layers(session, family_id, revisions, DTYPES.keys(), lambda sizes: buckets(sizes, count))


def known_sketches(session: Session, row: FamilyLayer, version: int) -> dict[int, tuple[bytes, NDArray[np.float64]]]:
    """Digest and sketch of the layer of each revision that was measured; a later batch overwrites an earlier one."""
    found = {}
    for members, lost, digests, data in layer_measures.load_sketches(session, row.id, version):
        sketches = unpack_sketches(data, len(members))
        for revision, digest, sketch in zip(members, digests, sketches, strict=True):
            if digest and revision not in lost:
                found[revision] = bytes(digest), sketch
    return found


def layer_of(row: FamilyLayer) -> Layer:
    """A row as the mathematics knows it."""
    return Layer(row.name, tuple(row.shape), LayerKind(row.kind))


def counting_of(row: FamilyLayer) -> CountSketch:
    """The sketch that all members of the family have of this layer."""
    return CountSketch.of(layer_of(row), row.buckets)


def _projecting(options: Options) -> Projecting:
    store = None if options.sketches is None else SketchStore(options.sketches, options.sketches_size)
    return Projecting(store, options.probes, options.memory)


def _of(
    engine: Engine, batch_id: int, wanted: Collection[int] | None, options: Options
) -> tuple[Batch, list[FamilyLayer], set[int], int]:
    """A batch, those of its layers that are wanted, which of these are measured, and the version of the metric."""
    with transaction(engine) as session:
        row = session.get_one(MeasureBatch, batch_id)
        layers = batch_layers(session, row.family_id, row.members, options.buckets)
        chosen = [layer for layer in layers if wanted is None or layer.id in wanted]
        done = layer_measures.measured_layers(session, batch_id) & {layer.id for layer in chosen}
        return batches.of_row(session, row), chosen, done, row.metric_version


def _measure_one(
    engine: Engine,
    batch: Batch,
    version: int,
    located: Located,
    stream: LayerStream,
    reader: MemberReader[Failure],
    projecting: Projecting,
) -> None:
    """Measure one layer and store it, with the failures that it brought, in one transaction."""
    row, having, tensors = located.row, located.having, located.tensors
    members = [batch.members[index] for index in having]
    new = sum(index < batch.new for index in having)
    reader.begin(members)
    known: dict[int, bytes] = {}  # digests of older members
    if new < len(members) and projecting.store is not None:
        with transaction(engine) as session:
            digests = {revision: digest for revision, (digest, _) in known_sketches(session, row, version).items()}
        known = {
            i: digests[one.revision_id] for i, one in enumerate(members) if one.revision_id in digests and i >= new
        }
    found, sketch = projecting.measure(stream, layer_of(row), tensors, new, known, counting_of(row))
    with transaction(engine) as session:
        for index in sorted(found.unusable.keys() | reader.failed.keys()):
            member = members[index]
            if member.revision_id in reader.lost:
                continue
            failure = reader.failed.get(index) or TensorUnusable(
                found.unusable[index], model=member.name, file=tensors[index].file, tensor=tensors[index].name
            )
            failures.record(
                session,
                failure,
                stage="measure",
                repository_id=member.repository_id,
                revision_id=member.revision_id,
            )
            measurements.lose_member(session, batch.id, member.revision_id)
            reader.lost.add(member.revision_id)
        layer_measures.store_layer(
            session, batch.id, row.id, columns(found, sketch, having, batch.new, len(batch.members))
        )
