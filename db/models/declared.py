"""Tables of what revisions declare, and of what went wrong with them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, one_of, reference

RELATIONS = ("finetune", "adapter", "quantized", "merge", "duplicate", "unknown")
RESOLUTIONS = ("exact", "case", "renamed", "dangling")
PROBLEMS = ("self-reference", "cycle", "contradiction")


class DeclaredParent(Base):
    """A parent that a revision declares, and the repository of the catalogue that its name stands for."""

    __tablename__ = "declared_parents"
    __table_args__ = (
        UniqueConstraint("revision_id", "name", "relation", "source"),
        CheckConstraint(one_of("relation", RELATIONS), name="relation"),
        CheckConstraint("kind IN ('hub', 'local path', 'invalid')", name="kind"),
        CheckConstraint(one_of("resolution", RESOLUTIONS), name="resolution"),
        CheckConstraint("resolution IS NULL OR kind = 'hub'", name="resolved_kind"),
        Index("ix_declared_parents_parent_id", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
        CheckConstraint("parent_id IS NULL OR resolution IN ('exact', 'case', 'renamed')", name="resolved_to"),
    )
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    revision_id: Mapped[int] = reference("revisions.id")
    name: Mapped[str] = mapped_column(index=True)
    relation: Mapped[str]
    source: Mapped[str]
    kind: Mapped[str]
    hub_id: Mapped[str | None]  # the parent's own id, where the source tells it
    weight: Mapped[float | None]  # its share of a merge, where one number says it
    layers: Mapped[list[Any] | None] = mapped_column(JSONB(none_as_null=True))  # [first, last) of it that a merge takes
    detail: Mapped[dict[str, Any] | None]  # a merge's method, the parent's role and other parameters
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("repositories.id", ondelete="SET NULL"))
    resolution: Mapped[str | None]  # how the name was resolved; None: not yet, or no Hub name


class DeclaredProblem(Base):
    """What is wrong with what a revision declares: it names itself, parents go in a circle, or sources disagree."""

    __tablename__ = "declared_problems"
    __table_args__ = (CheckConstraint(one_of("kind", PROBLEMS), name="kind"),)
    revision_id: Mapped[int] = reference("revisions.id", primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    detail: Mapped[str] = mapped_column(primary_key=True)
    found_at: Mapped[datetime] = mapped_column(server_default=func.now())


class FailureRow(Base):
    """Why something of a repository could not be used; resolved when a later try succeeds."""

    __tablename__ = "failures"
    __table_args__ = (
        UniqueConstraint("repository_id", "revision_id", "stage", "file", "tensor", postgresql_nulls_not_distinct=True),
        CheckConstraint("stage IN ('crawl', 'card', 'describe', 'measure')", name="stage"),
    )
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    repository_id: Mapped[int] = reference("repositories.id")
    revision_id: Mapped[int | None] = reference("revisions.id", index=True)
    stage: Mapped[str]
    kind: Mapped[str]
    file: Mapped[str | None]
    tensor: Mapped[str | None]
    reason: Mapped[str]
    attempts: Mapped[int] = mapped_column(server_default="1")
    first_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_at: Mapped[datetime] = mapped_column(server_default=func.now())
    resolved_at: Mapped[datetime | None]
