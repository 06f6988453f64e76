"""Tables of runs, trees and verdicts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Identity, Index, UniqueConstraint, false, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, one_of, reference

VERDICTS = (
    "agrees",
    "ancestor",
    "reversed",
    "sibling",
    "contradicted",
    "undeclared",
    "unmeasured",
    "undecided",
    "root",
    "duplicate",
)


class Run(Base):
    """One inference over a family, with all that it came from."""

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("family_id", "inputs_digest"),
        Index("uq_runs_current", "family_id", unique=True, postgresql_where=text("is_current")),
    )
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    family_id: Mapped[int] = reference("families.id")
    method: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    versions: Mapped[dict[str, Any]]
    inputs: Mapped[dict[str, Any]]  # {"org/name": sha} of every revision, and the batches
    inputs_digest: Mapped[bytes]  # of method, parameters, versions and inputs
    notes: Mapped[list[str]] = mapped_column(server_default="{}")  # what was left out, in words
    is_current: Mapped[bool]
    pinned: Mapped[bool] = mapped_column(server_default=false())  # kept whatever its age
    finished_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Cluster(Base):
    """One model tree of a run."""

    __tablename__ = "clusters"
    __table_args__ = (CheckConstraint("root_confidence BETWEEN 0 AND 1", name="root_confidence"),)
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    run_id: Mapped[int] = reference("runs.id", index=True)
    position: Mapped[int]
    root_revision_id: Mapped[int | None] = reference("revisions.id", index=True)
    root_confidence: Mapped[float | None]


class ClusterMember(Base):
    """A revision's place in a run: it belongs to one tree of it."""

    __tablename__ = "cluster_members"
    __table_args__ = (UniqueConstraint("run_id", "revision_id"),)
    cluster_id: Mapped[int] = reference("clusters.id", primary_key=True)
    revision_id: Mapped[int] = reference("revisions.id", primary_key=True, index=True)
    run_id: Mapped[int] = reference("runs.id")


class AbsentParent(Base):
    """A child of a parent that is not among the tree's members: siblings show that it is missing."""

    __tablename__ = "absent_parents"
    __table_args__ = (
        CheckConstraint("number >= 0", name="number"),
        CheckConstraint("squared_distance >= 0", name="squared_distance"),
        ForeignKeyConstraint(
            ["cluster_id", "child_id"],
            ["cluster_members.cluster_id", "cluster_members.revision_id"],
            ondelete="CASCADE",
        ),
    )
    cluster_id: Mapped[int] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # of the parent, within its tree
    child_id: Mapped[int] = mapped_column(primary_key=True, index=True)
    squared_distance: Mapped[float | None]  # from the absent parent, estimated


class Edge(Base):
    """An inferred parent, with the evidence for it. A merge has several, of which some may be in other trees."""

    __tablename__ = "edges"
    __table_args__ = (
        CheckConstraint("parent_id <> child_id", name="no_self"),
        CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence"),
    )
    cluster_id: Mapped[int] = reference("clusters.id", primary_key=True)
    parent_id: Mapped[int] = reference("revisions.id", primary_key=True, index=True)
    child_id: Mapped[int] = reference("revisions.id", primary_key=True, index=True)
    relation: Mapped[str]
    confidence: Mapped[float]
    decided: Mapped[bool]
    evidence: Mapped[dict[str, Any]]


class Duplicate(Base):
    """Members of a run with the same numbers in every tensor; `of_id` stands for the group in the tree."""

    __tablename__ = "duplicates"
    __table_args__ = (CheckConstraint("revision_id <> of_id", name="no_self"),)
    run_id: Mapped[int] = reference("runs.id", primary_key=True)
    revision_id: Mapped[int] = reference("revisions.id", primary_key=True, index=True)
    of_id: Mapped[int] = reference("revisions.id", index=True)


class Verdict(Base):
    """What the comparison of declared and inferred says of one revision."""

    __tablename__ = "verdicts"
    __table_args__ = (CheckConstraint(one_of("verdict", VERDICTS), name="verdict"),)
    revision_id: Mapped[int] = reference("revisions.id", primary_key=True)
    run_id: Mapped[int | None] = reference("runs.id", index=True)
    verdict: Mapped[str] = mapped_column(index=True)
    why: Mapped[str]
    declared: Mapped[list[str]]
    inferred: Mapped[list[str]]
    compared_at: Mapped[datetime] = mapped_column(server_default=func.now())
