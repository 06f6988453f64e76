"""Queries on sources, repositories, revisions and what they declare."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, select, update
from sqlalchemy.dialects.postgresql import insert

from db.models import (
    Crawl,
    DeclaredParent,
    FailureRow,
    Family,
    File,
    Layout,
    Repository,
    Revision,
    SourceRow,
    TensorSpecRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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


def source_id(session: Session, name: str) -> int:
    """The id of a source, which is added if it is new."""
    session.execute(insert(SourceRow).values(name=name).on_conflict_do_nothing())
    return session.scalars(select(SourceRow.id).where(SourceRow.name == name)).one()


def begin_crawl(session: Session, source: int, query: dict[str, Any]) -> Crawl:
    """The unfinished crawl of this query, to go on where it stood, or a new one."""
    unfinished = select(Crawl).where(Crawl.source_id == source, Crawl.query == query, Crawl.finished_at.is_(None))
    crawl = session.scalars(unfinished.with_for_update()).one_or_none()
    if crawl is None:
        crawl = Crawl(source_id=source, query=query)
        session.add(crawl)
        session.flush()
    return crawl


def store_page(session: Session, crawl: Crawl, rows: Sequence[Mapping[str, Any]], cursor: str | None) -> None:
    """Store a page's repositories and move the crawl's cursor behind it."""
    if rows:
        stamped = [{**row, "source_id": crawl.source_id, "seen_in_crawl": crawl.id, "removed_at": None} for row in rows]
        statement = insert(Repository).values(stamped)
        changed: dict[str, Any] = {
            name: statement.excluded[name] for name in stamped[0] if name not in {"source_id", "name"}
        }
        # A listing that does not carry a fact must not erase it.
        for name in {"architectures", "hub_id", "created_at"} & stamped[0].keys():
            changed[name] = func.coalesce(statement.excluded[name], getattr(Repository, name))
        session.execute(statement.on_conflict_do_update(index_elements=["source_id", "name"], set_=changed))
    crawl.cursor = cursor
    crawl.pages += 1


def finish_crawl(session: Session, crawl: Crawl, *, complete: bool) -> int:
    """End a crawl. After a complete listing, repositories that it did not show are removed; return their number."""
    crawl.finished_at = datetime.now(UTC)
    if not complete:
        return 0
    statement = (
        update(Repository)
        .where(
            Repository.source_id == crawl.source_id,
            Repository.seen_in_crawl.is_distinct_from(crawl.id),
            Repository.removed_at.is_(None),
        )
        .values(removed_at=func.now())
        .returning(Repository.id)
    )
    return len(session.scalars(statement).all())


def store_listed(session: Session, repository_id: int, row: Mapping[str, Any]) -> None:
    """Store what a source says of a single repository, which may be more than its listing did."""
    facts = {name: value for name, value in row.items() if name != "name"}
    session.execute(update(Repository).where(Repository.id == repository_id).values(facts))


def seen(session: Session, crawl_id: int) -> list[tuple[Repository, str | None]]:
    """The repositories that a crawl saw, with the sha of the newest revision that is known of each, by name."""
    query = (
        select(Repository, Revision.sha)
        .outerjoin(Revision, Revision.id == Repository.current_revision_id)
        .where(Repository.seen_in_crawl == crawl_id)
        .order_by(Repository.name)
    )
    return [(repository, sha) for repository, sha in session.execute(query)]


def failures_to_describe(session: Session, source: int) -> dict[int, dict[str, datetime]]:
    """Per repository the kinds of its unresolved failures of being described, and when they last happened."""
    query = (
        select(FailureRow.repository_id, FailureRow.kind, FailureRow.last_at)
        .join(Repository, Repository.id == FailureRow.repository_id)
        .where(
            Repository.source_id == source,
            FailureRow.stage.in_(("card", "describe")),
            FailureRow.resolved_at.is_(None),
        )
    )
    kinds: dict[int, dict[str, datetime]] = {}
    for repository, kind, last_at in session.execute(query):
        kinds.setdefault(repository, {})[kind] = last_at
    return kinds


def store_revision(session: Session, repository_id: int, values: Mapping[str, Any]) -> int:
    """Store a described revision as its repository's newest and return its id; an older description is replaced.

    Weights that were described before are kept where they could not be read again.
    """
    statement = insert(Revision).values(repository_id=repository_id, **values)
    changed: dict[str, Any] = {name: statement.excluded[name] for name in values if name != "sha"}
    lost = statement.excluded.weights == "failed"
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
    for some in _portions(rows):
        session.execute(insert(File).values(some).on_conflict_do_nothing())


def _portions(rows: Sequence[Mapping[str, Any]]) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Rows for one statement at a time, which takes 65,535 parameters."""
    for first in range(0, len(rows), 5_000):
        yield rows[first : first + 5_000]


def store_layout(session: Session, revision_id: int, path: str, specs: Sequence[Spec]) -> None:
    """Store the header of a shard; equal ones are stored once."""
    digest = _layout_digest(specs)
    session.execute(insert(Layout).values(digest=digest).on_conflict_do_nothing())
    layout = session.scalars(select(Layout.id).where(Layout.digest == digest)).one()
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
    for some in _portions(rows):
        session.execute(insert(TensorSpecRow).values(some).on_conflict_do_nothing())
    session.execute(update(File).where(File.revision_id == revision_id, File.path == path).values(layout_id=layout))


def _layout_digest(specs: Sequence[Spec]) -> bytes:
    digest = hashlib.sha256()
    for spec in sorted(specs, key=lambda one: one.name):
        text = "\0".join((spec.name, spec.layer, spec.kind, spec.dtype)).encode()
        digest.update(struct.pack("<I", len(text)) + text)
        numbers = (len(spec.shape), *spec.shape, spec.start, spec.stop)
        digest.update(struct.pack(f"<{len(numbers)}q", *numbers))
    return digest.digest()


def store_declared(session: Session, revision_id: int, parents: Sequence[Mapping[str, Any]]) -> None:
    """Store what a revision declares of its parents."""
    if parents:
        statement = insert(DeclaredParent).values([{**parent, "revision_id": revision_id} for parent in parents])
        session.execute(statement.on_conflict_do_nothing())


@dataclass(frozen=True)
class Described:
    """A current revision with weights to compare."""

    revision_id: int
    family_id: int | None
    config: dict[str, Any] | None
    layouts: tuple[int, ...]


def described(session: Session, source: int) -> list[Described]:
    """The current revisions of a source that have weights to compare, oldest in the catalogue first."""
    query = (
        select(Revision.id, Revision.family_id, Revision.config, func.array_agg(File.layout_id.distinct()))
        .join(Repository, Repository.current_revision_id == Revision.id)
        .join(File, File.revision_id == Revision.id)
        .where(Repository.source_id == source, Revision.weights == "safetensors", File.layout_id.is_not(None))
        .group_by(Revision.id)
        .order_by(Revision.id)
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
