"""Measures a family: its layers, one by one over all members, into the database.

A family is measured in batches: the members that are new, among themselves and against those measured before. A batch's
members are fixed when it begins, and every layer is stored in a transaction of its own, so that a process that was
killed goes on at the layer where it stood and ends with the same numbers. The layers are measured in blocks
(`lineage.blocks`): all by one process here, or each by any worker of a fleet.

A small family is measured whole: every pair exactly. To a large one new members are compared by sketches first, for
which no byte of older members is read, and exactly with those that are nearest by them (`lineage.candidates`).
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from db import measurements
from db.engine import exclusive, transaction
from db.errors import Failure
from lineage import batches
from lineage.batches import Batch
from lineage.blocks import batch_layers, counting_of, finish_batch, known_sketches, layer_of, measure_layers
from lineage.candidates import Estimated, Spanning, nearest
from lineage.family import LayerKind
from lineage.locating import located
from lineage.measure_options import METRIC_VERSION, Options
from lineage.packed import pack_tree, unpack_tree
from lineage.reading import MemberReader
from lineage.sketching import LayerSketches, sketch_only
from lineage.stream import layer_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from db.models import MeasureBatch
    from lineage.reading import ByteSource


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

            def tell(layer: str, done: int, layers: int, members: int = batch.new) -> None:
                progress(Progress(family, members, layer, done, layers))

            measured += measure_layers(engine, batch.id, None, source, options, tell)
            finish_batch(engine, batch.id, options.buckets)
    return measured


def open_batch(
    engine: Engine,
    family_id: int,
    source: ByteSource[Failure],
    *,
    options: Options,
    left_out: Collection[int] = (),
    most: int | None = None,
) -> int | None:
    """The batch that is to be measured now: the one that was begun, or a new one; None where nothing waits.

    Members in `left_out` are not taken into a new one, nor more than `most`: the rest waits for the batch after it.
    What it consists of is for `lineage.blocks` to measure and to finish, in any number of processes.
    """
    batch = _next_batch(engine, family_id, source, options, left_out, most)
    if batch is None:
        return None
    with transaction(engine) as session:  # at once: blocks that begin together would each add them
        new = [member.revision_id for member in batch.members[: batch.new]]
        batch_layers(session, family_id, new, options.buckets)
    return batch.id


def _next_batch(
    engine: Engine,
    family_id: int,
    source: ByteSource[Failure],
    options: Options,
    tried: Collection[int],
    most: int | None = None,
) -> Batch | None:
    """The batch that was begun and not finished, or a new one of all members that have no measures."""
    with exclusive(engine, f"open batch of family {family_id}"):
        with transaction(engine) as session:
            begun = next((one for one in _batches(session, family_id) if one.finished_at is None), None)
            if begun is not None:
                return batches.of_row(session, begun)
            new, old = batches.waiting(session, family_id, _batches(session, family_id), options.retry_failed, tried)
        if not new:
            return None
        new = new[:most]
        tree = None
        if old and len(new) + len(old) > options.exact_members:
            old, tree = _nearest(engine, family_id, new, old, source, options)
        with transaction(engine) as session:
            batch = measurements.open_batch(session, family_id, METRIC_VERSION, new, old, tree)
            return batches.of_row(session, batch)


def _batches(session: Session, family_id: int) -> list[MeasureBatch]:
    return measurements.batches(session, family_id, METRIC_VERSION)


def _nearest(
    engine: Engine,
    family_id: int,
    new: Sequence[int],
    old: Sequence[int],
    source: ByteSource[Failure],
    options: Options,
) -> tuple[list[int], bytes]:
    """Those of the old members that the new ones are measured against exactly, and the tree that joins all, packed.

    They are the nearest by their sketches. The new ones are read for that, and no old one. What cannot be read is left
    to the measuring itself, which says why.
    """
    with transaction(engine) as session:
        layers = batch_layers(session, family_id, new, options.buckets)
        fresh = Batch(0, len(new), tuple(measurements.member(session, one) for one in new), frozenset())
        kept = measurements.spanning(session, family_id, METRIC_VERSION) or b""
    trunk = [layer for layer in layers if layer.kind == LayerKind.TRUNK]
    revisions = [*new, *old]
    rows = {revision: number for number, revision in enumerate(revisions)}
    estimated = Estimated(len(rows), [layer.buckets for layer in trunk])
    reader = MemberReader(source, ())
    with layer_stream(reader, options.device, request=source.request_bytes) as stream:
        for place in located(engine, fresh, trunk, reader, options.memory):
            reader.begin([fresh.members[index] for index in place.having])
            row = place.row
            sketches = np.full((len(rows), row.buckets), np.nan)
            with closing(LayerSketches(counting_of(row), place.tensors, count=range(len(place.having)))) as taken:
                sketch_only(stream, taken, layer_of(row).size, options.memory)
                sketches[list(place.having)] = taken.counted
            sketches[[place.having[index] for index in reader.failed]] = np.nan
            with transaction(engine) as session:
                for revision, (_, sketch) in known_sketches(session, row, METRIC_VERSION).items():
                    if revision in rows:
                        sketches[rows[revision]] = sketch
            estimated.add(sketches)
    edges, squared = unpack_tree(kept, old)
    near = nearest(estimated, len(new), options.exact_neighbours, Spanning(edges + len(new), squared))
    tree = pack_tree(near.spanning.edges, near.spanning.squared, revisions)
    return sorted(revisions[one] for one in near.chosen), tree
