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
from typing import TYPE_CHECKING, Any

import numpy as np

from db import failures, measurements
from db.engine import exclusive, transaction
from db.errors import Failure, TensorUnusable, Transient
from lineage.candidates import Estimated, candidates
from lineage.digest import FORMS
from lineage.family import Layer, LayerKind
from lineage.layer import LayerMeasures
from lineage.packed import pack, unpack_sketches
from lineage.projecting import Projecting
from lineage.rank import PROBES
from lineage.reading import MemberReader, held_bytes
from lineage.sketch import BUCKETS, CountSketch, buckets
from lineage.sketch_store import SketchStore
from lineage.sketching import LayerSketches, sketch_only
from lineage.stream import DTYPES, LayerStream, StoredTensor, layer_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from db.measurements import Member
    from db.models import FamilyLayer, MeasureBatch
    from lineage.reading import ByteSource

METRIC_VERSION = 3
_HELD = 16  # the share of the memory for small layers that are read together: half of what lineage.layer leaves over


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


@dataclass(frozen=True)
class Located:
    """A layer, which members of a batch have it, by their number, and where."""

    row: FamilyLayer
    having: tuple[int, ...]
    tensors: tuple[StoredTensor, ...]

    def read(self, new: int) -> int:
        """How many of its members are read, where `new` are new: of a buffer only new ones are."""
        return sum(index < new for index in self.having) if self.row.kind == LayerKind.BUFFER else len(self.having)


@dataclass(frozen=True)
class Batch:
    """A batch in progress: its new members come first."""

    id: int
    new: int
    members: tuple[Member, ...]
    lost: frozenset[int]  # revisions that failed before this process took the batch up


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
            return _batch(session, begun)
        new, old = _waiting(session, family_id, options.retry_failed, tried)
    if not new:
        return None
    if old and len(new) + len(old) > options.exact_members:
        old = _nearest(engine, family_id, new, old, source, options)
    with transaction(engine) as session:
        return _batch(session, measurements.open_batch(session, family_id, METRIC_VERSION, new, old))


def _batches(session: Session, family_id: int) -> list[MeasureBatch]:
    return measurements.batches(session, family_id, METRIC_VERSION)


def _batch(session: Session, row: MeasureBatch) -> Batch:
    members = tuple(measurements.member(session, revision) for revision in [*row.members, *row.against])
    return Batch(row.id, len(row.members), members, frozenset(row.lost))


def _waiting(session: Session, family_id: int, retry_failed: bool, tried: set[int]) -> tuple[list[int], list[int]]:
    """The members that are to be measured now, and those that have been."""
    members = {member.revision_id: member for member in measurements.members(session, family_id)}
    failed = measurements.failed_members(session, family_id)
    batches = _batches(session, family_id)
    old = {revision for batch in batches for revision in batch.members if revision not in batch.lost}
    old -= failed.keys()  # one that was lost while others were measured against it is to be measured again
    waiting = {one for one, kind in failed.items() if not (retry_failed or kind == Transient.__name__)}
    copied = {members[one].weights_digest for one in old & members.keys()}
    new = _without_copies([m for m in members.values() if m.revision_id not in waiting | tried | old], copied)
    return new, sorted((old & members.keys()) - set(new))


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
    place = {revision: number for number, revision in enumerate([*new, *old])}
    estimated = Estimated(len(place))
    reader = MemberReader(source, ())
    with layer_stream(reader, options.device, request=source.request_bytes) as stream:
        for located in _located(engine, fresh, trunk, reader, options.memory):
            reader.begin([fresh.members[index] for index in located.having])
            row = located.row
            sketches = np.full((len(place), row.buckets), np.nan)
            with closing(LayerSketches(_counting(row), located.tensors, count=range(len(located.having)))) as taken:
                sketch_only(stream, taken, _layer(row).size, options.memory)
                sketches[list(located.having)] = taken.counted
            sketches[[located.having[index] for index in reader.failed]] = np.nan
            with transaction(engine) as session:
                for revision, (_, sketch) in _known(session, row).items():
                    if revision in place:
                        sketches[place[revision]] = sketch
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


def _without_copies(members: list[Member], known: set[bytes | None]) -> list[int]:
    """Of several members whose weight files are equal by their hashes, the first; none whose hash is known."""
    chosen = []
    seen = known - {None}
    for member in members:
        if member.weights_digest not in seen:
            seen |= {member.weights_digest} - {None}
            chosen.append(member.revision_id)
    return chosen


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
    located = _located(engine, batch, [layer for layer in layers if layer.id not in done], reader, options.memory)
    projecting = Projecting(
        None if options.sketches is None else SketchStore(options.sketches, options.sketches_size),
        options.probes,
        options.memory,
    )
    with layer_stream(reader, options.device, request=source.request_bytes) as stream:
        for number, layer in enumerate(layers):
            progress(Progress(family[1], batch.new, layer.name, number, len(layers)))
            if layer.id not in done:
                _measure_one(engine, batch, next(located), stream, reader, projecting)
        progress(Progress(family[1], batch.new, "", len(layers), len(layers)))
    with transaction(engine) as session:
        measurements.finish_batch(session, batch.id)
        for member in batch.members[: batch.new]:
            if member.revision_id not in reader.lost:
                failures.resolve(session, member.repository_id, ["measure"])
    return len(layers) - len(done)


def _located(
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
        measurements.store_layer(session, batch.id, row.id, _columns(found, sketch, having, batch))


def _stored(place: measurements.Place) -> StoredTensor:
    assert place.dtype in DTYPES, place  # noqa: S101  # others were refused when the header was read
    scale, order = (None if one is None else _stored(one) for one in (place.scale, place.order))
    return StoredTensor(place.file, place.name, place.dtype, place.start, place.stop, scale, order)


def _columns(
    found: LayerMeasures, sketch: NDArray[np.float64] | None, having: Sequence[int], batch: Batch
) -> dict[str, Any]:
    """The stored columns: numbers of the members that have the layer, spread over all members of the batch."""
    new = [index for index in having if index < batch.new]

    def spread(values: NDArray[Any], fill: float) -> list[Any]:
        wide = np.full(batch.new, fill, dtype=values.dtype)
        wide[new] = values
        return list(wide.tolist())

    def spread_pairs(values: NDArray[Any], fill: float) -> bytes:
        wide = np.full((batch.new, len(batch.members)), fill, dtype=values.dtype)
        wide[np.ix_(new, having)] = values
        return pack(wide)

    digests = dict(zip(new, found.digest, strict=True))
    sparse = found.lost.any() or found.lost_of.any()
    sketches = np.empty((batch.new, 0))
    if sketch is not None:
        sketches = np.full((batch.new, sketch.shape[1]), np.nan)
        sketches[new] = sketch
    return {
        "count": spread(np.full(len(new), found.count), 0),
        "zeros": spread(found.zeros, 0),
        **{
            name: spread(getattr(found, name), np.nan)
            for name in ("mean", "variance", "skewness", "kurtosis", "squared_norm", "minimum", "maximum")
        },
        "digest": [digests.get(index, b"") for index in range(batch.new)],
        "outliers": spread(found.outliers, 0),
        "form": spread(np.array([FORMS.index(form) for form in found.form], dtype=np.int16), -1),
        "squared_distance": spread_pairs(found.squared_distance, np.nan),
        "lost": spread_pairs(found.lost.astype(np.float32), 0) if sparse else b"",
        "lost_of": spread_pairs(found.lost_of.astype(np.float32), 0) if sparse else b"",
        "equal": spread_pairs(found.equal, np.nan),
        "slope": spread_pairs(found.slope, np.nan),
        "rank": spread_pairs(found.rank, -1),
        "sketch": sketches.astype("<f8").tobytes(),
    }
