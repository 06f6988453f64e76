"""Queries on sources, repositories, revisions and what they declare."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert

from db.models import Alias, Family, File, Layout, Repository, Revision, SourceRow, TensorSpecRow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Spec:
    """One tensor of a shard, with its canonical layer."""

    name: str
    layer: str
    kind: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def replace_name(session: Session, placeholder: Repository, repository: int) -> None:
    """Let a name that was asked for lead to the repository that it turned out to be."""
    target = session.get_one(Repository, repository)
    statement = insert(Alias).values(
        source_id=placeholder.source_id, name=placeholder.name, target=target.name, hub_id=target.hub_id
    )
    session.execute(
        statement.on_conflict_do_update(
            index_elements=["source_id", "name"],
            set_={"target": statement.excluded.target, "hub_id": statement.excluded.hub_id, "seen_at": func.now()},
        )
    )
    nothing_known = (
        Repository.hub_id.is_(None) & ~select(Revision.id).where(Revision.repository_id == placeholder.id).exists()
    )
    session.execute(delete(Repository).where(Repository.id == placeholder.id, nothing_known))


def store_revision(session: Session, repository_id: int, values: Mapping[str, Any]) -> int:
    """Store a described revision as its repository's newest and return its id; an older description is replaced.

    Weights that were described before are kept where they could not be read again.
    """
    statement = insert(Revision).values(repository_id=repository_id, described_at=func.now(), **values)
    changed: dict[str, Any] = {name: statement.excluded[name] for name in values if name != "sha"}
    lost = (statement.excluded.weights == "failed") & (Revision.weights != "unread")
    for name in ("weights", "weights_digest"):
        changed[name] = case((lost, getattr(Revision, name)), else_=statement.excluded[name])
    changed["family_id"] = case((changed["weights"] == "safetensors", Revision.family_id))
    revision = session.scalars(
        statement.on_conflict_do_update(
            index_elements=["repository_id", "sha"], set_={**changed, "described_at": func.now()}
        ).returning(Revision.id)
    ).one()
    session.execute(update(Repository).where(Repository.id == repository_id).values(current_revision_id=revision))
    return revision


def store_files(session: Session, revision_id: int, files: Sequence[Mapping[str, Any]]) -> None:
    """Store the files of a revision; `layout_id` of those that are shards comes with `store_layout`."""
    rows = [{**file, "revision_id": revision_id} for file in files]
    if rows:
        session.execute(insert(File).on_conflict_do_nothing(), rows)


def store_layout(session: Session, revision_id: int, path: str, specs: Sequence[Spec]) -> None:
    """Store the header of a shard; equal ones are stored once, tensors and all, in one transaction."""
    digest = _layout_digest(specs)
    layout = session.scalar(insert(Layout).values(digest=digest).on_conflict_do_nothing().returning(Layout.id))
    if layout is None:  # then its tensors are there, too
        layout = session.scalars(select(Layout.id).where(Layout.digest == digest)).one()
    else:
        _store_specs(session, layout, specs)
    session.execute(update(File).where(File.revision_id == revision_id, File.path == path).values(layout_id=layout))


def _store_specs(session: Session, layout: int, specs: Sequence[Spec]) -> None:
    rows = [
        {
            "layout_id": layout,
            "name": spec.name,
            "layer": spec.layer,
            "kind": spec.kind,
            "dtype": spec.dtype,
            "shape": list(spec.shape),
            "start": spec.start,
            "stop": spec.stop,
        }
        for spec in specs
    ]
    if rows:
        session.execute(insert(TensorSpecRow).on_conflict_do_nothing(), rows)


def _layout_digest(specs: Sequence[Spec]) -> bytes:
    digest = hashlib.sha256()
    for spec in sorted(specs, key=lambda one: one.name):
        text = "\0".join((spec.name, spec.layer, spec.kind, spec.dtype)).encode()
        digest.update(struct.pack("<I", len(text)) + text)
        numbers = (len(spec.shape), *spec.shape, spec.start, spec.stop)
        digest.update(struct.pack(f"<{len(numbers)}q", *numbers))
    return digest.digest()


def content_of(session: Session, source: str, model: str, sha: str, path: str) -> tuple[str, int] | None:
    """The hash and the size of a file, however many repositories hold it; None where they are not known."""
    query = (
        select(func.coalesce(File.sha256, File.xet_hash), File.size)
        .join(Revision, Revision.id == File.revision_id)
        .join(Repository, Repository.id == Revision.repository_id)
        .join(SourceRow, SourceRow.id == Repository.source_id)
        .where(SourceRow.name == source, Repository.name == model, Revision.sha == sha, File.path == path)
        .limit(1)
    )
    row = session.execute(query).first()
    return (row[0], row[1]) if row is not None and row[0] is not None and row[1] is not None else None


_SHARE_LAYOUTS = """
WITH twins AS (
    SELECT copy.id AS copy_id, min(original.id) AS original_id
    FROM repositories AS here
    JOIN revisions AS copy ON copy.id = here.current_revision_id
    JOIN revisions AS original ON original.weights_digest = copy.weights_digest
    JOIN repositories AS there ON there.id = original.repository_id AND there.source_id = here.source_id
    WHERE here.source_id = :source AND copy.weights = 'failed' AND original.weights IN ('safetensors', 'adapter')
    GROUP BY copy.id
), shared AS (
    UPDATE files SET layout_id = known.layout_id
    FROM twins JOIN files AS known ON known.revision_id = twins.original_id AND known.layout_id IS NOT NULL
    WHERE files.revision_id = twins.copy_id AND files.sha256 = known.sha256
    RETURNING files.revision_id
)
UPDATE revisions SET weights = original.weights
FROM twins JOIN revisions AS original ON original.id = twins.original_id
WHERE revisions.id = twins.copy_id AND revisions.id IN (SELECT revision_id FROM shared)
RETURNING revisions.id
"""


def share_layouts(session: Session, source: int) -> int:
    """Give revisions whose headers could not be read those of an exact copy, as the files' hashes tell.

    So the copy of a model that is gated takes part under the original's measures. Returns how many there were.
    """
    return len(session.scalars(text(_SHARE_LAYOUTS), {"source": source}).all())


@dataclass(frozen=True)
class Described:
    """A current revision with weights to compare."""

    revision_id: int
    family_id: int | None
    config: dict[str, Any] | None
    layouts: tuple[int, ...]


def described(session: Session, source: int) -> list[Described]:
    """The current revisions of a source that have weights to compare, in the order of their repositories."""
    query = (
        select(Revision.id, Revision.family_id, Revision.config, func.array_agg(File.layout_id.distinct()))
        .join(Repository, Repository.current_revision_id == Revision.id)
        .join(File, File.revision_id == Revision.id)
        .where(Repository.source_id == source, Revision.weights == "safetensors", File.layout_id.is_not(None))
        .group_by(Revision.id)
        .order_by(Revision.repository_id)
    )
    return [
        Described(revision, family, config, tuple(sorted(layouts)))
        for revision, family, config, layouts in session.execute(query)
    ]


def trunk_of(session: Session, layouts: Sequence[int]) -> list[tuple[str, str, tuple[int, ...]]]:
    """(layer, dtype, shape) of the trunk tensors of a model made of these layouts."""
    query = (
        select(TensorSpecRow.layer, TensorSpecRow.dtype, TensorSpecRow.shape)
        .where(TensorSpecRow.layout_id.in_(layouts), TensorSpecRow.kind == "trunk")
        .order_by(TensorSpecRow.layer)
    )
    return [(layer, dtype, tuple(shape)) for layer, dtype, shape in session.execute(query)]


def family_id(session: Session, source: int, name: str) -> int:
    """The id of a family of that name, which is added if it is new."""
    session.execute(insert(Family).values(source_id=source, name=name).on_conflict_do_nothing())
    return session.scalars(select(Family.id).where(Family.source_id == source, Family.name == name)).one()


def set_family(session: Session, revisions: Sequence[int], family: int) -> None:
    """Put revisions into a family."""
    session.execute(update(Revision).where(Revision.id.in_(revisions)).values(family_id=family))
