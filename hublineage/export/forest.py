"""What one run says of a family, with what its models declare: the matter of the exports of lineage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, any_, literal, select
from sqlalchemy.dialects.postgresql import ARRAY

from db import lineage as rows
from db.engine import transaction
from db.errors import NothingToDo, UsageError
from db.models import (
    Cluster,
    ClusterMember,
    DeclaredParent,
    Duplicate,
    Edge,
    Family,
    File,
    Repository,
    Revision,
    Run,
    SourceRow,
)
from hublineage.answers import find_model

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session


@dataclass(frozen=True)
class Node:
    """A revision of a model; `files` are (path, sha256 in hexadecimal digits) of those whose hash is known."""

    id: int
    source: str
    name: str
    sha: str
    card: dict[str, Any]
    config: dict[str, Any]
    architectures: tuple[str, ...]
    model_type: str | None
    pipeline: str | None
    library: str | None
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Declaration:
    """A parent that a revision declares; `model` is the repository that the name stands for, where one is known."""

    child: int
    name: str
    relation: str
    declared_in: str
    model: str | None


@dataclass(frozen=True)
class Tree:
    """One tree of the run; `absent` are groups of children of parents that are not in the catalogue."""

    position: int
    members: tuple[int, ...]
    root: int | None
    root_confidence: float | None
    absent: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Inference:
    """The run that answers for the family."""

    number: int
    family: str
    source: str
    method: str
    parameters: dict[str, Any]
    versions: dict[str, Any]
    inputs_digest: bytes
    finished_at: datetime


@dataclass(frozen=True)
class Forest:
    """Nodes by id, the trees that are meant and the edges and copies among them.

    Of a single model that no run has placed, `run` is None and `why` says so in words. An edge's parent may be outside
    of `trees` (of a merge), but is in `nodes`.
    """

    nodes: dict[int, Node]
    run: Inference | None
    why: str | None
    trees: tuple[Tree, ...]
    edges: tuple[Edge, ...]
    copies: dict[int, int]  # copy: the one of its group that stands in the tree
    declared: tuple[Declaration, ...]


def of_model(engine: Engine, name: str, source: str | None = None) -> tuple[Forest, int]:
    """The tree that holds a model, and the model's node. Raises UsageError with the nearest names for an unknown."""
    _, repository, exact = find_model(engine, name, source)
    with transaction(engine) as session:
        current = session.get_one(Repository, repository).current_revision_id
        found = session.execute(
            select(Run.id, ClusterMember.cluster_id, ClusterMember.revision_id)
            .join(ClusterMember, ClusterMember.run_id == Run.id)
            .join(Revision, Revision.id == ClusterMember.revision_id)
            .where(Run.is_current, Revision.repository_id == repository)
            # Where it moved from one family to another, the run of the newer revision.
            .order_by((Revision.id == current).desc(), Revision.id.desc())
        ).first()
        if found is not None:
            return _forest(session, found[0], cluster=found[1]), found[2]
        if current is None:
            raise NothingToDo(f"{exact} has no known revision: hublineage crawl comes first")
        nodes = _nodes(session, [current])
        return Forest(nodes, None, _why(session, exact, current), (), (), {}, _declared(session, [current])), current


def of_family(engine: Engine, name: str, sources: Sequence[tuple[str, int]]) -> Forest:
    """All trees of a family of one of these sources (name, id). Raises UsageError and NothingToDo, which say why."""
    ids = {number: source for source, number in sources}
    with transaction(engine) as session:
        families = [one for one in session.scalars(select(Family).order_by(Family.name)) if one.source_id in ids]
        found = [one for one in families if one.name == name]
        if not found:
            known = ", ".join(repr(one.name) for one in families[:8]) or "none: hublineage crawl finds them"
            more = f" and {len(families) - 8} more" if len(families) > 8 else ""
            raise UsageError(f"no family {name!r} in the catalogue; there are {known}{more}")
        if len(found) > 1:
            where = ", ".join(ids[one.source_id] for one in found)
            raise UsageError(f"{name} is a family of several sources ({where}): say which by --folder or --endpoint")
        run = session.scalar(select(Run.id).where(Run.family_id == found[0].id, Run.is_current))
        if run is None:
            raise NothingToDo(
                f"the family {name} was never inferred: hublineage measure and hublineage infer come first"
            )
        return _forest(session, run)


def _why(session: Session, name: str, revision_id: int) -> str:
    """Why no run has placed a model."""
    revision = session.get_one(Revision, revision_id)
    if revision.weights == "unread":
        return f"{name} was only listed: hublineage crawl reads its card and headers"
    if revision.family_id is None:
        return f"{name} has no weights that can be compared ({revision.weights})"
    family = session.get_one(Family, revision.family_id).name
    return f"{name} has no place in a tree: its family {family} was not inferred since it came, or it was not measured"


def _forest(session: Session, number: int, cluster: int | None = None) -> Forest:
    run = session.get_one(Run, number)
    family = session.get_one(Family, run.family_id)
    absent = rows.absent_parents(session, number)
    trees = []
    for row, members in rows.clusters(session, number):
        if cluster in {None, row.id}:
            groups = tuple(tuple(group) for group in absent.get(row.id, ()))
            trees.append(Tree(row.position, tuple(members), row.root_revision_id, row.root_confidence, groups))
    query = (
        select(Edge)
        .join(Cluster, Cluster.id == Edge.cluster_id)
        .where(Cluster.run_id == number, *([Cluster.id == cluster] if cluster is not None else []))
        .order_by(Edge.child_id, Edge.confidence.desc(), Edge.parent_id)
    )
    edges = tuple(session.scalars(query))
    placed = {one for tree in trees for one in tree.members}
    copies = {
        row.revision_id: row.of_id
        for row in session.scalars(select(Duplicate).where(Duplicate.run_id == number))
        if row.revision_id in placed
    }
    needed = sorted(placed | {edge.parent_id for edge in edges} | set(copies.values()))
    source = session.get_one(SourceRow, family.source_id).name
    known = Inference(
        *(number, family.name, source, run.method, run.parameters, run.versions, run.inputs_digest, run.finished_at)
    )
    declared = _declared(session, needed)
    return Forest(_nodes(session, needed), known, None, tuple(trees), edges, copies, declared)


def _among(column: Any, ids: Collection[int]) -> Any:
    return column == any_(literal(list(ids), ARRAY(BigInteger)))


def _nodes(session: Session, ids: Collection[int]) -> dict[int, Node]:
    files: dict[int, list[tuple[str, str]]] = {}
    hashed = select(File.revision_id, File.path, File.sha256).where(
        _among(File.revision_id, ids), File.sha256.is_not(None)
    )
    for number, path, sha256 in session.execute(hashed):
        files.setdefault(number, []).append((path, str(sha256)))
    query = (
        select(Revision, Repository, SourceRow.name)
        .join(Repository, Repository.id == Revision.repository_id)
        .join(SourceRow, SourceRow.id == Repository.source_id)
        .where(_among(Revision.id, ids))
    )
    found = {}
    for revision, repository, source in session.execute(query):
        config = revision.config or {}
        architectures = repository.architectures or config.get("architectures") or ()
        found[revision.id] = Node(
            revision.id,
            source,
            repository.name,
            revision.sha,
            revision.card_data or {},
            config,
            tuple(str(one) for one in architectures) if isinstance(architectures, list) else (),
            repository.model_type,
            repository.pipeline_tag,
            repository.library_name,
            tuple(sorted(files.get(revision.id, ()))),
        )
    return found


def _declared(session: Session, ids: Collection[int]) -> tuple[Declaration, ...]:
    query = (
        select(DeclaredParent, Repository.name)
        .outerjoin(Repository, Repository.id == DeclaredParent.parent_id)
        .where(_among(DeclaredParent.revision_id, ids))
        .order_by(DeclaredParent.revision_id, DeclaredParent.id)
    )
    return tuple(
        Declaration(row.revision_id, row.name, row.relation, row.source, name) for row, name in session.execute(query)
    )


def above(forest: Forest, node: int, *, decided: bool = False) -> list[int]:
    """A node's ancestors without itself, the nearest first; `decided`: by decided edges alone. Circles end."""
    return _reached(forest, node, decided=decided, up=True)


def below(forest: Forest, node: int, *, decided: bool = False) -> list[int]:
    """A node's descendants without itself, the nearest first."""
    return _reached(forest, node, decided=decided, up=False)


def _reached(forest: Forest, node: int, *, decided: bool, up: bool) -> list[int]:
    onward: dict[int, list[int]] = {}
    for edge in forest.edges:
        if edge.decided or not decided:
            start, end = (edge.child_id, edge.parent_id) if up else (edge.parent_id, edge.child_id)
            onward.setdefault(start, []).append(end)
    found = {node: None}
    waiting = [node]
    for one in waiting:
        for other in onward.get(one, ()):
            if other not in found:
                found[other] = None
                waiting.append(other)
    return waiting[1:]
