"""Queries on runs, trees, edges and verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Text, any_, func, literal, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY

from db.models import (
    AbsentParent,
    Cluster,
    ClusterMember,
    DeclaredParent,
    Duplicate,
    Edge,
    Family,
    Repository,
    Revision,
    Run,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Model:
    """A repository at its current revision."""

    repository_id: int
    revision_id: int
    name: str
    family: str | None
    weights: str
    gated: str | None
    disabled: bool
    created_at: datetime | None


def known_run(session: Session, family_id: int, inputs_digest: bytes) -> Run | None:
    """The run of a family that had exactly these inputs, if there was one."""
    query = select(Run).where(Run.family_id == family_id, Run.inputs_digest == inputs_digest)
    return session.scalars(query).one_or_none()


def set_current(session: Session, run: Run) -> None:
    """Make a run the one that answers for its family."""
    others = update(Run).where(Run.family_id == run.family_id, Run.id != run.id, Run.is_current)
    session.execute(others.values(is_current=False))
    run.is_current = True
    session.flush()


def add_run(session: Session, values: Mapping[str, Any]) -> Run:
    """Store a run, not yet current."""
    run = Run(**values, is_current=False)
    session.add(run)
    session.flush()
    return run


def add_cluster(
    session: Session,
    run_id: int,
    position: int,
    root: tuple[int | None, float | None],
    members: Sequence[int],
    edges: Sequence[Mapping[str, Any]],
    absent: Sequence[Mapping[int, float | None]] = (),
) -> None:
    """Store one tree of a run.

    `absent` are groups of members whose common parent is not here, each with its squared distance to that parent.
    """
    cluster = Cluster(run_id=run_id, position=position, root_revision_id=root[0], root_confidence=root[1])
    session.add(cluster)
    session.flush()
    session.add_all(ClusterMember(cluster_id=cluster.id, revision_id=member, run_id=run_id) for member in members)
    session.add_all(Edge(cluster_id=cluster.id, **edge) for edge in edges)
    session.flush()  # members before what refers to them
    session.add_all(
        AbsentParent(cluster_id=cluster.id, number=number, child_id=child, squared_distance=distance)
        for number, group in enumerate(absent)
        for child, distance in group.items()
    )
    session.flush()


def add_duplicates(session: Session, run_id: int, groups: Sequence[Sequence[int]]) -> None:
    """Store groups of duplicates; the first of each stands for it."""
    rows = [Duplicate(run_id=run_id, revision_id=copy, of_id=group[0]) for group in groups for copy in group[1:]]
    session.add_all(rows)
    session.flush()


def current_runs(session: Session, source_id: int) -> list[tuple[Family, Run]]:
    """The run that answers for each family of a source, by the family's name."""
    query = (
        select(Family, Run)
        .join(Run, Run.family_id == Family.id)
        .where(Family.source_id == source_id, Run.is_current)
        .order_by(Family.name)
    )
    return [(family, run) for family, run in session.execute(query)]


def clusters(session: Session, run_id: int) -> list[tuple[Cluster, list[int]]]:
    """The trees of a run with their members."""
    members: dict[int, list[int]] = {}
    for cluster, revision in session.execute(
        select(ClusterMember.cluster_id, ClusterMember.revision_id)
        .join(Revision, Revision.id == ClusterMember.revision_id)
        .where(ClusterMember.run_id == run_id)
        .order_by(Revision.repository_id)
    ):
        members.setdefault(cluster, []).append(revision)
    query = select(Cluster).where(Cluster.run_id == run_id).order_by(Cluster.position)
    return [(cluster, members.get(cluster.id, [])) for cluster in session.scalars(query)]


def absent_parents(session: Session, run_id: int) -> dict[int, list[list[int]]]:
    """By tree: the groups of members whose common parent is not here."""
    query = (
        select(AbsentParent)
        .join(Cluster, Cluster.id == AbsentParent.cluster_id)
        .where(Cluster.run_id == run_id)
        .order_by(AbsentParent.cluster_id, AbsentParent.number, AbsentParent.child_id)
    )
    groups: dict[tuple[int, int], list[int]] = {}
    for row in session.scalars(query):
        groups.setdefault((row.cluster_id, row.number), []).append(row.child_id)
    found: dict[int, list[list[int]]] = {}
    for (cluster, _), group in groups.items():
        found.setdefault(cluster, []).append(group)
    return found


def edges(session: Session, run_id: int) -> list[Edge]:
    """The edges of a run."""
    query = (
        select(Edge)
        .join(Cluster, Cluster.id == Edge.cluster_id)
        .where(Cluster.run_id == run_id)
        .order_by(Cluster.position, Edge.parent_id, Edge.child_id)
    )
    return list(session.scalars(query))


def duplicate_groups(session: Session, run_id: int) -> list[list[int]]:
    """The groups of duplicates of a run, each with its representative first."""
    groups: dict[int, list[int]] = {}
    query = (
        select(Duplicate)
        .join(Revision, Revision.id == Duplicate.revision_id)
        .where(Duplicate.run_id == run_id)
        .order_by(Revision.repository_id)
    )
    for row in session.scalars(query):
        groups.setdefault(row.of_id, [row.of_id]).append(row.revision_id)
    return list(groups.values())


def models(session: Session, source_id: int) -> list[Model]:
    """Every repository of a source that is still there and was described, by name."""
    query = (
        select(
            Repository.id,
            Revision.id,
            Repository.name,
            Family.name,
            Revision.weights,
            Repository.gated,
            Repository.disabled,
            Repository.created_at,
        )
        .join(Revision, Revision.id == Repository.current_revision_id)
        .outerjoin(Family, Family.id == Revision.family_id)
        .where(Repository.source_id == source_id, Repository.removed_at.is_(None), Revision.weights != "unread")
        .order_by(Repository.name)
    )
    return [Model(*row) for row in session.execute(query)]


def declared(session: Session, source_id: int) -> dict[int, list[DeclaredParent]]:
    """What the current, described revisions of a source declare, in the order in which it was found."""
    query = (
        select(DeclaredParent)
        .join(Repository, Repository.current_revision_id == DeclaredParent.revision_id)
        .join(Revision, Revision.id == DeclaredParent.revision_id)
        .where(Repository.source_id == source_id, Revision.weights != "unread")
        .order_by(DeclaredParent.id)
    )
    found: dict[int, list[DeclaredParent]] = {}
    for row in session.scalars(query):
        found.setdefault(row.revision_id, []).append(row)
    return found


def names(session: Session, repositories: Collection[int]) -> dict[int, str]:
    """The names of repositories, by their ids."""
    query = select(Repository.id, Repository.name).where(
        Repository.id == any_(literal(list(repositories), ARRAY(BigInteger)))
    )
    return {row[0]: row[1] for row in session.execute(query)}


def known_names(session: Session, source_id: int, names: Collection[str]) -> dict[str, str]:
    """The repositories of a source with these names, by the name in small letters."""
    lower = [name.lower() for name in names]
    query = select(Repository.name).where(
        Repository.source_id == source_id,
        Repository.removed_at.is_(None),
        func.lower(Repository.name) == any_(literal(lower, ARRAY(Text))),
    )
    return {name.lower(): name for name in session.scalars(query)}


def missing_ancestors(session: Session, run_id: int) -> dict[int, list[dict[str, Any]]]:
    """By the number of the tree in its run: the unnamed nodes that its siblings show, as the view has them."""
    query = text("SELECT * FROM hublineage.missing_ancestors WHERE run = :run ORDER BY tree, parent")
    found: dict[int, list[dict[str, Any]]] = {}
    for row in session.execute(query, {"run": run_id}).mappings():
        found.setdefault(row["tree"], []).append(dict(row))
    return found


def shas(session: Session, revisions: Collection[int]) -> dict[str, str]:
    """The commits of revisions, by the names of their repositories."""
    query = (
        select(Repository.name, Revision.sha)
        .join(Revision, Revision.repository_id == Repository.id)
        .where(Revision.id == any_(literal(list(revisions), ARRAY(BigInteger))))
    )
    return {row[0]: row[1] for row in session.execute(query)}
