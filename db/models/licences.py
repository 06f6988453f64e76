"""Tables of declared licences, and of what does not follow along inferred edges."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, one_of, reference

LICENCE_FINDINGS = (
    "more-permissive",
    "non-commercial",
    "no-derivatives",
    "share-alike",
    "attribution",
    "naming",
    "missing",
    "incompatible",
    "unclear",
)
SEVERITIES = ("conflict", "duty", "read")


class LicenceRow(Base):
    """What a revision declares as its licence, and the licences of its verified ancestors, as compared last."""

    __tablename__ = "licences"
    revision_id: Mapped[int] = reference("revisions.id", primary_key=True)
    declared: Mapped[list[str]]  # as written
    licences: Mapped[list[str]]  # the rules that it names
    name: Mapped[str | None]  # license_name
    link: Mapped[str | None]  # license_link
    declared_in: Mapped[str | None]  # card or tags
    # [{"model", "licences", "path", "relations", "confidence"}], the surest first
    ancestors: Mapped[list[Any]] = mapped_column(JSONB, server_default="[]")
    unchecked: Mapped[str | None]  # why there are no verified ancestors, in words
    compared_at: Mapped[datetime] = mapped_column(server_default=func.now())


class LicenceFinding(Base):
    """What of an ancestor's licence does not reach a revision; of several ancestors with one licence the surest."""

    __tablename__ = "licence_findings"
    __table_args__ = (
        CheckConstraint(one_of("kind", LICENCE_FINDINGS), name="kind"),
        CheckConstraint(one_of("severity", SEVERITIES), name="severity"),
        CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence"),
        CheckConstraint("cardinality(path) > 1", name="path"),
    )
    revision_id: Mapped[int] = reference("revisions.id", primary_key=True)
    kind: Mapped[str] = mapped_column(primary_key=True)
    licence: Mapped[str] = mapped_column(primary_key=True)  # of the ancestor
    severity: Mapped[str]
    path: Mapped[list[str]]  # names, from the ancestor down to the model
    confidence: Mapped[float]  # the product of those of the edges on the path
    why: Mapped[str]
    cite: Mapped[str]
    found_at: Mapped[datetime] = mapped_column(server_default=func.now())
