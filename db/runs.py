"""Queries on runs through time: which there are, what each saw, which are pinned, and which may go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, select, update

from db.models import (
    AbsentParent,
    Cluster,
    ClusterMember,
    Duplicate,
    Edge,
    Family,
    MeasureBatch,
    Repository,
    Revision,
    Run,
    SourceRow,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session


@dataclass(frozen=True)
class RunRow:
    """A run in a list."""

    number: int
    source: str
    family: str
    method: str
    parameters: dict[str, Any]
    is_current: bool
    pinned: bool
    finished_at: datetime
    members: int
    trees: int
    edges: int
    decided: int


@dataclass(frozen=True)
class RunContent:
    """All that a run saw; models are ids of repositories, edges go from parent to child."""

    run: Run
    members: list[tuple[int, str, str, int | None]]  # (repository, its name now, revision's sha, root of its tree)
    edges: dict[tuple[int, int], tuple[str, float, bool]]  # (parent, child): relation, confidence, decided
    duplicates: list[tuple[int, int]]  # (copy, whom it equals)
    absent: list[tuple[int, int, int]]  # (tree, number of the parent, child)


def find(session: Session, number: int) -> Run | None:
    """A run by its number."""
    return session.get(Run, number)


def before(session: Session, run: Run) -> Run | None:
    """The run of the same family before this one."""
    query = select(Run).where(Run.family_id == run.family_id, Run.id < run.id).order_by(Run.id.desc()).limit(1)
    return session.scalars(query).first()


def families(session: Session) -> list[str]:
    """The names of all families, inferred or not."""
    return list(session.scalars(select(Family.name).distinct().order_by(Family.name)))


def listed(session: Session, family: str | None = None) -> list[RunRow]:
    """The runs of a family, or of all, by source and family, the newest first."""
    trees = select(Cluster.run_id, func.count().label("trees")).group_by(Cluster.run_id).subquery()
    members = select(ClusterMember.run_id, func.count().label("members")).group_by(ClusterMember.run_id).subquery()
    edges = (
        select(Cluster.run_id, func.count().label("edges"), func.count().filter(Edge.decided).label("decided"))
        .join(Edge, Edge.cluster_id == Cluster.id)
        .group_by(Cluster.run_id)
        .subquery()
    )
    query = (
        select(
            Run.id,
            SourceRow.name,
            Family.name,
            Run.method,
            Run.parameters,
            Run.is_current,
            Run.pinned,
            Run.finished_at,
            func.coalesce(members.c.members, 0),
            func.coalesce(trees.c.trees, 0),
            func.coalesce(edges.c.edges, 0),
            func.coalesce(edges.c.decided, 0),
        )
        .join(Family, Family.id == Run.family_id)
        .join(SourceRow, SourceRow.id == Family.source_id)
        .outerjoin(trees, trees.c.run_id == Run.id)
        .outerjoin(members, members.c.run_id == Run.id)
        .outerjoin(edges, edges.c.run_id == Run.id)
        .order_by(SourceRow.name, Family.name, Run.id.desc())
    )
    if family is not None:
        query = query.where(Family.name == family)
    return [RunRow(*row) for row in session.execute(query)]


def content(session: Session, run: Run) -> RunContent:
    """What a run saw."""
    roots = select(Revision.id, Revision.repository_id).subquery()
    members = session.execute(
        select(Repository.id, Repository.name, Revision.sha, roots.c.repository_id)
        .select_from(ClusterMember)
        .join(Cluster, Cluster.id == ClusterMember.cluster_id)
        .join(Revision, Revision.id == ClusterMember.revision_id)
        .join(Repository, Repository.id == Revision.repository_id)
        .outerjoin(roots, roots.c.id == Cluster.root_revision_id)
        .where(ClusterMember.run_id == run.id)
    )
    parent, child = select(Revision).subquery(), select(Revision).subquery()
    edges = session.execute(
        select(parent.c.repository_id, child.c.repository_id, Edge.relation, Edge.confidence, Edge.decided)
        .join(Cluster, Cluster.id == Edge.cluster_id)
        .join(parent, parent.c.id == Edge.parent_id)
        .join(child, child.c.id == Edge.child_id)
        .where(Cluster.run_id == run.id)
    )
    duplicates = session.execute(
        select(parent.c.repository_id, child.c.repository_id)
        .select_from(Duplicate)
        .join(parent, parent.c.id == Duplicate.revision_id)
        .join(child, child.c.id == Duplicate.of_id)
        .where(Duplicate.run_id == run.id)
    )
    absent = session.execute(
        select(AbsentParent.cluster_id, AbsentParent.number, Revision.repository_id)
        .join(Cluster, Cluster.id == AbsentParent.cluster_id)
        .join(Revision, Revision.id == AbsentParent.child_id)
        .where(Cluster.run_id == run.id)
    )
    return RunContent(
        run,
        [tuple(row) for row in members],
        {(row[0], row[1]): (row[2], row[3], row[4]) for row in edges},
        [tuple(row) for row in duplicates],
        [(row[0], row[1], row[2]) for row in absent],
    )


def pin(session: Session, number: int, *, pinned: bool) -> bool:
    """Keep a run whatever its age, or no more. Returns whether there is such a run."""
    found: Any = session.execute(update(Run).where(Run.id == number).values(pinned=pinned).returning(Run.id))
    return found.first() is not None


def removable(session: Session) -> dict[int, list[tuple[int, datetime]]]:
    """By family: number and end of the runs that may go, the newest first.

    Not those that answer now, are pinned, or that a verdict rests on: it would go with its run.
    """
    query = (
        select(Run.family_id, Run.id, Run.finished_at)
        .where(~Run.is_current, ~Run.pinned, ~select(Verdict.run_id).where(Verdict.run_id == Run.id).exists())
        .order_by(Run.family_id, Run.id.desc())
    )
    found: dict[int, list[tuple[int, datetime]]] = {}
    for family, number, finished in session.execute(query):
        found.setdefault(family, []).append((number, finished))
    return found


def remove(session: Session, numbers: Sequence[int]) -> None:
    """Remove runs with their trees and edges, unless one became current or was pinned meanwhile."""
    session.execute(delete(Run).where(Run.id.in_(numbers), ~Run.is_current, ~Run.pinned))


def outdated_batches(session: Session, metric_version: int) -> dict[int, list[int]]:
    """By family: batches of measures of older versions."""
    query = select(MeasureBatch.family_id, MeasureBatch.id).where(MeasureBatch.metric_version < metric_version)
    found: dict[int, list[int]] = {}
    for family, batch in session.execute(query.order_by(MeasureBatch.id)):
        found.setdefault(family, []).append(batch)
    return found


def remove_batches(session: Session, batches: Collection[int]) -> None:
    """Remove batches with what they measured."""
    session.execute(delete(MeasureBatch).where(MeasureBatch.id.in_(batches)))
