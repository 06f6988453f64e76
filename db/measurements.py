"""Queries on families, their members and layers, and the batches in which these are measured."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import func, select, text, update

from db.models import (
    FailureRow,
    Family,
    FamilyLayer,
    File,
    MeasureBatch,
    Repository,
    Revision,
    TensorSpecRow,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from sqlalchemy import ColumnElement
    from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Member:
    """A revision of a family."""

    revision_id: int
    repository_id: int
    name: str
    sha: str
    created_at: datetime | None
    weights_digest: bytes | None


_MEMBER = select(
    Revision.id, Repository.id, Repository.name, Revision.sha, Repository.created_at, Revision.weights_digest
).join(Repository, Repository.id == Revision.repository_id)


@dataclass(frozen=True)
class Place:
    """Where a revision keeps a layer; of int8 by rows, also its scales and the byte that tells its order."""

    file: str
    name: str
    dtype: str
    start: int
    stop: int
    scale: Place | None = None
    order: Place | None = None


def families(session: Session, source_id: int) -> list[Family]:
    """The families of a source that have current members, by name."""
    current = select(Revision.family_id).join(Repository, Repository.current_revision_id == Revision.id)
    query = select(Family).where(Family.source_id == source_id, Family.id.in_(current)).order_by(Family.name)
    return list(session.scalars(query))


def members(session: Session, family_id: int) -> list[Member]:
    """The current revisions of a family that are still there, in the order in which their repositories were listed.

    Not in that in which they were described: several workers do that, and results must not depend on which was quick.
    """
    query = (
        _MEMBER.where(Revision.family_id == family_id)
        .where(Repository.current_revision_id == Revision.id, Repository.removed_at.is_(None))
        .order_by(Repository.id)
    )
    return [Member(*row) for row in session.execute(query)]


def member(session: Session, revision_id: int) -> Member:
    """One revision, whether it is still current or not."""
    return Member(*session.execute(_MEMBER.where(Revision.id == revision_id)).one())


def failed_members(session: Session, family_id: int) -> dict[int, str]:
    """Revisions of a family with a measuring failure that no later try resolved, and the failure's kind."""
    query = (
        select(FailureRow.revision_id, FailureRow.kind)
        .join(Revision, Revision.id == FailureRow.revision_id)
        .where(Revision.family_id == family_id, FailureRow.stage == "measure", FailureRow.resolved_at.is_(None))
    )
    return {revision: kind for revision, kind in session.execute(query) if revision is not None}


def batches(session: Session, family_id: int, metric_version: int) -> list[MeasureBatch]:
    """All batches of a family, oldest first."""
    query = (
        select(MeasureBatch)
        .where(MeasureBatch.family_id == family_id, MeasureBatch.metric_version == metric_version)
        .order_by(MeasureBatch.id)
    )
    return list(session.scalars(query))


def open_batch(
    session: Session,
    family_id: int,
    metric_version: int,
    new: Sequence[int],
    against: Sequence[int],
    spanning: bytes | None = None,
) -> MeasureBatch:
    """Begin to measure `new` members among themselves and against the old ones.

    A tree of all members (`spanning`) takes the place of that which an earlier batch left.
    """
    of_family = MeasureBatch.family_id == family_id, MeasureBatch.metric_version == metric_version
    if spanning is not None:
        session.execute(
            update(MeasureBatch).where(*of_family, MeasureBatch.spanning.is_not(None)).values(spanning=None)
        )
    batch = MeasureBatch(
        family_id=family_id,
        metric_version=metric_version,
        members=list(new),
        against=list(against),
        spanning=spanning,
    )
    session.add(batch)
    session.flush()
    return batch


def spanning(session: Session, family_id: int, metric_version: int) -> bytes | None:
    """The tree of all members that the last batch left that was opened with one."""
    return session.scalar(
        select(MeasureBatch.spanning)
        .where(MeasureBatch.family_id == family_id, MeasureBatch.metric_version == metric_version)
        .where(MeasureBatch.spanning.is_not(None))
        .order_by(MeasureBatch.id.desc())
        .limit(1)
    )


def lose_member(session: Session, batch_id: int, revision_id: int) -> None:
    """Leave a member out of the rest of a batch; several processes may measure it."""
    batch = session.get_one(MeasureBatch, batch_id, with_for_update=True, populate_existing=True)
    batch.lost = sorted({*batch.lost, revision_id})


def finish_batch(session: Session, batch_id: int) -> MeasureBatch:
    """Mark a batch as measured in all layers."""
    batch = session.get_one(MeasureBatch, batch_id)
    batch.finished_at = datetime.now(UTC)
    return batch


def sync_layers(
    session: Session,
    family_id: int,
    revisions: Sequence[int],
    dtypes: Collection[str],
    buckets: Callable[[Sequence[int]], Sequence[int]],
) -> list[FamilyLayer]:
    """Add the layers of these revisions that the family does not know yet; return all that they have, in order.

    Empty tensors are left out, as there is nothing in them to measure, those of other dtypes than `dtypes`, and what
    belongs to other tensors. New layers get as many buckets as `buckets` gives them, asked with the elements of each
    layer of the family.
    """
    query = (
        select(TensorSpecRow.layer, TensorSpecRow.shape, func.min(TensorSpecRow.kind))
        .join(File, File.layout_id == TensorSpecRow.layout_id)
        .join(Revision, Revision.id == File.revision_id)
        .where(File.revision_id.in_(revisions), TensorSpecRow.dtype.in_(dtypes))
        .where(TensorSpecRow.layer != "", text("0 <> ALL (tensor_specs.shape)"))
        .group_by(TensorSpecRow.layer, TensorSpecRow.shape)
        .order_by(func.min(Revision.repository_id), func.min(File.path), func.min(TensorSpecRow.start))
    )
    found = [(layer, tuple(shape), kind) for layer, shape, kind in session.execute(query)]
    known = {
        (row.name, tuple(row.shape)): row
        for row in session.scalars(select(FamilyLayer).where(FamilyLayer.family_id == family_id))
    }
    new = [(name, shape, kind) for name, shape, kind in found if (name, shape) not in known]
    sizes = [math.prod(shape) for _, shape in known] + [math.prod(shape) for _, shape, _ in new]
    for (name, shape, kind), share in zip(new, buckets(sizes)[len(known) :], strict=True):
        place = {"position": len(known), "name": name, "shape": list(shape)}
        row = FamilyLayer(family_id=family_id, **place, kind=kind, buckets=share)
        session.add(row)
        known[name, shape] = row
    session.flush()
    return sorted((known[name, shape] for name, shape, _ in found), key=lambda row: row.position)


def family_layers(session: Session, family_id: int) -> list[FamilyLayer]:
    """The layers of a family, in order."""
    query = select(FamilyLayer).where(FamilyLayer.family_id == family_id).order_by(FamilyLayer.position)
    return list(session.scalars(query))


def places(session: Session, layer: FamilyLayer, revisions: Sequence[int]) -> dict[int, Place]:
    """Where each of these revisions keeps a layer; those that lack it are left out."""
    found = _places(session, revisions, TensorSpecRow.layer == layer.name, TensorSpecRow.shape == layer.shape)
    places = dict(found)
    packed = {revision: place for revision, place in places.items() if place.dtype in ("I8", "I8T")}
    if packed:
        names = {revision: companions(place.name) for revision, place in packed.items()}
        wanted = {name for pair in names.values() for name in pair}
        beside = {
            (revision, place.name): place
            for revision, place in _places(
                session, list(packed), TensorSpecRow.layer == "", TensorSpecRow.name.in_(wanted)
            )
        }
        for revision, place in packed.items():
            scale, order = (beside.get((revision, name)) for name in names[revision])
            places[revision] = replace(place, scale=scale, order=order)
    return places


def companions(weight: str) -> tuple[str, str]:
    """What the tensors beside an int8 weight are called: its rows' scales, and the order of its values."""
    module = weight.removesuffix("weight")
    return f"{module}SCB", f"{module}weight_format"


def _places(session: Session, revisions: Sequence[int], *where: ColumnElement[bool]) -> Iterator[tuple[int, Place]]:
    query = (
        select(
            File.revision_id,
            File.path,
            TensorSpecRow.name,
            TensorSpecRow.dtype,
            TensorSpecRow.start,
            TensorSpecRow.stop,
        )
        .join(TensorSpecRow, TensorSpecRow.layout_id == File.layout_id)
        .where(File.revision_id.in_(revisions), *where)
    )
    for revision, file, name, dtype, start, stop in session.execute(query):
        yield revision, Place(file, name, dtype, start, stop)
