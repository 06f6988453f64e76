"""Measures a family: its layers, one by one over all members, into the database.

A family is measured in batches: the members that are new, among themselves and against those measured before. A batch's
members are fixed when it begins, and every layer is stored in a transaction of its own, so that a process that was
killed goes on at the layer where it stood and ends with the same numbers.

A small family is measured whole: every pair exactly. To a large one new members are compared by sketches first, for
which no byte of older members is read, and exactly with those that are nearest by them (`lineage.candidates`).
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from db import failures, measurements
from db.engine import exclusive, transaction
from db.errors import Failure, TensorUnusable
from lineage import batches
from lineage.batches import Batch
from lineage.candidates import Estimated, candidates
from lineage.columns import columns
from lineage.family import Layer, LayerKind
from lineage.locating import Located, located
from lineage.packed import unpack_sketches
from lineage.projecting import Projecting
from lineage.rank import PROBES
from lineage.reading import MemberReader
from lineage.sketch import BUCKETS, CountSketch, buckets
from lineage.sketch_store import SketchStore
from lineage.sketching import LayerSketches, sketch_only
from lineage.stream import DTYPES, LayerStream, layer_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from db.models import FamilyLayer, MeasureBatch
    from lineage.reading import ByteSource

METRIC_VERSION = 4


@dataclass(frozen=True)
class Options:
    """How to measure. Where memory is short for a layer, its ranks are left out and its slopes are taken from less.

    Where `sketches` names a folder, projections of large matrices are kept there for the ranks of later differences.
    New members of a family that has more than `exact_members` with them are measured exactly against their
    `exact_neighbours` nearest only.
    """

    memory: int = 1 << 30  # bytes, above the interpreter and torch
    device: str = "cpu"
    retry_failed: bool = False
    sketches: Path | None = None
    sketches_size: int = 50 << 30  # bytes
    probes: int = PROBES  # of a projection: ranks up to four fifths of it are told from full rank
    buckets: int = BUCKETS  # of the CountSketches of all layers of a family; a family keeps what it began with
    exact_members: int = 256
    exact_neighbours: int = 16


@dataclass(frozen=True)
class Progress:
    """How far a family is: layers done of all, of one batch."""

    family: str
    members: int
    layer: str
    done: int
    layers: int


def measure_family(
    engine: Engine,
    family_id: int,
    family: str,
    source: ByteSource[Failure],
    *,
    options: Options,
    progress: Callable[[Progress], None] = lambda _: None,
) -> int:
    """Measure all members of a family that are not measured yet; return the number of layers that were measured.

    Members that cannot be read or hold numbers that are none are recorded as failures and left out from there on. Those
    that failed for a passing reason are tried again by the next call, the others where the options say so.
    """
    measured = 0
    tried: set[int] = set()
    with exclusive(engine, f"measure family {family_id}"):
        while (batch := _next_batch(engine, family_id, source, options, tried)) is not None:
            tried.update(member.revision_id for member in batch.members[: batch.new])
            measured += _measure_batch(engine, batch, (family_id, family), source, options, progress)
    return measured


def _next_batch(
    engine: Engine, family_id: int, source: ByteSource[Failure], options: Options, tried: set[int]
) -> Batch | None:
    """The batch that was begun and not finished, or a new one of all members that have no measures."""
    with transaction(engine) as session:
        begun = next((one for one in _batches(session, family_id) if one.finished_at is None), None)
        if begun is not None:
            return batches.of_row(session, begun)
        new, old = batches.waiting(session, family_id, _batches(session, family_id), options.retry_failed, tried)
    if not new:
        return None
    if old and len(new) + len(old) > options.exact_members:
        old = _nearest(engine, family_id, new, old, source, options)
    with transaction(engine) as session:
        return batches.of_row(session, measurements.open_batch(session, family_id, METRIC_VERSION, new, old))


def _batches(session: Session, family_id: int) -> list[MeasureBatch]:
    return measurements.batches(session, family_id, METRIC_VERSION)


def _nearest(
    engine: Engine,
    family_id: int,
    new: Sequence[int],
    old: Sequence[int],
    source: ByteSource[Failure],
    options: Options,
) -> list[int]:
    """Those of the old members that the new ones are measured against exactly: the nearest by their sketches.

    The new ones are read for that, and no old one. What cannot be read is left to the measuring itself, which says why.
    """
    with transaction(engine) as session:
        layers = _sync(session, family_id, new, options)
        fresh = Batch(0, len(new), tuple(measurements.member(session, one) for one in new), frozenset())
    trunk = [layer for layer in layers if layer.kind == LayerKind.TRUNK]
    rows = {revision: number for number, revision in enumerate([*new, *old])}
    estimated = Estimated(len(rows))
    reader = MemberReader(source, ())
    with layer_stream(reader, options.device, request=source.request_bytes) as stream:
        for place in located(engine, fresh, trunk, reader, options.memory):
            reader.begin([fresh.members[index] for index in place.having])
            row = place.row
            sketches = np.full((len(rows), row.buckets), np.nan)
            with closing(LayerSketches(_counting(row), place.tensors, count=range(len(place.having)))) as taken:
                sketch_only(stream, taken, _layer(row).size, options.memory)
                sketches[list(place.having)] = taken.counted
            sketches[[place.having[index] for index in reader.failed]] = np.nan
            with transaction(engine) as session:
                for revision, (_, sketch) in _known(session, row).items():
                    if revision in rows:
                        sketches[rows[revision]] = sketch
            estimated.add(sketches)
    chosen = candidates(estimated.relative(), range(len(new)), options.exact_neighbours)
    return sorted(old[one - len(new)] for one in chosen)


def _known(session: Session, row: FamilyLayer) -> dict[int, tuple[bytes, NDArray[np.float64]]]:
    """Digest and sketch of the layer of each revision that was measured; a later batch overwrites an earlier one."""
    found = {}
    for members, lost, digests, data in measurements.load_sketches(session, row.id, METRIC_VERSION):
        sketches = unpack_sketches(data, len(members))
        for revision, digest, sketch in zip(members, digests, sketches, strict=True):
            if digest and revision not in lost:
                found[revision] = bytes(digest), sketch
    return found


def _sync(session: Session, family_id: int, revisions: Sequence[int], options: Options) -> list[FamilyLayer]:
    """The layers of these revisions."""
    return measurements.sync_layers(
        session, family_id, revisions, DTYPES.keys(), lambda sizes: buckets(sizes, options.buckets)
    )


def _layer(row: FamilyLayer) -> Layer:
    return Layer(row.name, tuple(row.shape), LayerKind(row.kind))


def _counting(row: FamilyLayer) -> CountSketch:
    return CountSketch.of(_layer(row), row.buckets)


def _measure_batch(
    engine: Engine,
    batch: Batch,
    family: tuple[int, str],
    source: ByteSource[Failure],
    options: Options,
    progress: Callable[[Progress], None],
) -> int:
    with transaction(engine) as session:
        new = [member.revision_id for member in batch.members[: batch.new]]
        layers = _sync(session, family[0], new, options)
        done = measurements.measured_layers(session, batch.id)
    reader = MemberReader(source, batch.lost)
    places = located(engine, batch, [layer for layer in layers if layer.id not in done], reader, options.memory)
    projecting = Projecting(
        None if options.sketches is None else SketchStore(options.sketches, options.sketches_size),
        options.probes,
        options.memory,
    )
    with layer_stream(reader, options.device, request=source.request_bytes) as stream:
        for number, layer in enumerate(layers):
            progress(Progress(family[1], batch.new, layer.name, number, len(layers)))
            if layer.id not in done:
                _measure_one(engine, batch, next(places), stream, reader, projecting)
        progress(Progress(family[1], batch.new, "", len(layers), len(layers)))
    with transaction(engine) as session:
        measurements.finish_batch(session, batch.id)
        for member in batch.members[: batch.new]:
            if member.revision_id not in reader.lost:
                failures.resolve(session, member.repository_id, ["measure"])
    return len(layers) - len(done)


def _measure_one(
    engine: Engine,
    batch: Batch,
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
            digests = {revision: digest for revision, (digest, _) in _known(session, row).items()}
        known = {
            i: digests[one.revision_id] for i, one in enumerate(members) if one.revision_id in digests and i >= new
        }
    found, sketch = projecting.measure(stream, _layer(row), tensors, new, known, _counting(row))
    with transaction(engine) as session:
        for index in sorted(found.unusable.keys() | reader.failed.keys()):
            member = members[index]
            if member.revision_id in reader.lost:
                continue
            failure = reader.failed.get(index) or TensorUnusable(
                found.unusable[index], file=tensors[index].file, tensor=tensors[index].name
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
        measurements.store_layer(
            session, batch.id, row.id, columns(found, sketch, having, batch.new, len(batch.members))
        )
