"""Tables of repositories and their revisions, as their sources describe them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, Identity, Index, UniqueConstraint, column, false, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, one_of, reference

KINDS = ("trunk", "vector", "head", "buffer")
CHANGES = ("name", "private", "gated", "disabled", "removed")


class Repository(Base):
    """A repository as its source last described it: one row for its life, whatever its names were."""

    __tablename__ = "repositories"
    __table_args__ = (
        Index(
            "uq_repositories_source_id_name",
            "source_id",
            "name",
            unique=True,
            postgresql_where=text("removed_at IS NULL"),
        ),
        Index("uq_repositories_source_id_hub_id", "source_id", "hub_id", unique=True),
        CheckConstraint("name <> ''", name="named"),
        CheckConstraint("gated IN ('auto', 'manual')", name="gated"),
        CheckConstraint("(removed_at IS NULL) = (removed_why IS NULL)", name="removed_why"),
        # By their patterns: for equality, and for names that begin alike in whatever collation the database has.
        Index(
            "ix_repositories_lower_name",
            func.lower(column("name")).label("whole"),
            postgresql_ops={"whole": "text_pattern_ops"},
        ),
        Index(
            "ix_repositories_lower_last",
            func.lower(func.split_part(column("name"), text("'/'"), text("-1"))).label("last"),
            postgresql_ops={"last": "text_pattern_ops"},
        ),
    )
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    source_id: Mapped[int] = reference("sources.id")
    name: Mapped[str] = mapped_column(index=True)
    hub_id: Mapped[str | None]  # the Hub's own id, which a rename does not change; None in folders
    head_sha: Mapped[str | None]  # the newest commit, where the listing tells it
    author: Mapped[str | None]
    created_at: Mapped[datetime | None]
    last_modified: Mapped[datetime | None]
    downloads: Mapped[int | None]
    likes: Mapped[int | None]
    private: Mapped[bool] = mapped_column(server_default=false())
    gated: Mapped[str | None]
    disabled: Mapped[bool] = mapped_column(server_default=false())
    tags: Mapped[list[str]] = mapped_column(server_default="{}")
    pipeline_tag: Mapped[str | None]
    library_name: Mapped[str | None]
    architectures: Mapped[list[str] | None]
    model_type: Mapped[str | None]
    parameters: Mapped[int | None]  # as the source counts them
    formats: Mapped[list[str] | None]  # of its weights, by its files' names: safetensors, pytorch, gguf and so on
    first_seen: Mapped[datetime] = mapped_column(server_default=func.now())
    removed_at: Mapped[datetime | None]
    removed_why: Mapped[str | None]
    current_revision_id: Mapped[int | None] = mapped_column(
        ForeignKey("revisions.id", ondelete="SET NULL", use_alter=True), index=True
    )


class RepositoryChange(Base):
    """What happened to a repository beside new commits: renamed, hidden, gated, disabled, removed or back again."""

    __tablename__ = "repository_changes"
    __table_args__ = (CheckConstraint(one_of("what", CHANGES), name="what"),)
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    repository_id: Mapped[int] = reference("repositories.id", index=True)
    what: Mapped[str]
    before: Mapped[str | None]
    after: Mapped[str | None]
    at: Mapped[datetime] = mapped_column(server_default=func.now())


class Alias(Base):
    """A name that leads to a repository of another name: a former one, or one that the source redirects."""

    __tablename__ = "aliases"
    __table_args__ = (Index("ix_aliases_lower_name", "source_id", text("lower(name)")),)
    source_id: Mapped[int] = reference("sources.id", primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    target: Mapped[str | None]  # where it led; None: the source knows nothing of that name
    hub_id: Mapped[str | None] = mapped_column(index=True)
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Revision(Base):
    """One commit of a repository. `weights` says what became of its weights; unread: only its listing is known."""

    __tablename__ = "revisions"
    __table_args__ = (
        UniqueConstraint("repository_id", "sha"),
        # Most revisions of a whole Hub are only listed and have neither.
        Index("ix_revisions_weights_digest", "weights_digest", postgresql_where=text("weights_digest IS NOT NULL")),
        Index("ix_revisions_family_id", "family_id", postgresql_where=text("family_id IS NOT NULL")),
        CheckConstraint("weights IN ('safetensors', 'adapter', 'none', 'failed', 'unread')", name="weights"),
        CheckConstraint("(weights = 'unread') = (described_at IS NULL)", name="described"),
        CheckConstraint("family_id IS NULL OR weights = 'safetensors'", name="family_has_weights"),
    )
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    repository_id: Mapped[int] = reference("repositories.id")
    sha: Mapped[str]
    config: Mapped[dict[str, Any] | None]
    card_data: Mapped[dict[str, Any] | None]
    commit_title: Mapped[str | None]
    weights: Mapped[str]
    # Of the files' hashes, where the source tells them: revisions with equal ones hold the same tensors.
    weights_digest: Mapped[bytes | None]
    family_id: Mapped[int | None] = mapped_column(ForeignKey("families.id", ondelete="SET NULL"))
    first_seen: Mapped[datetime] = mapped_column(server_default=func.now())
    described_at: Mapped[datetime | None] = mapped_column(server_default=func.now())


class Layout(Base):
    """The header of a shard. Fine-tunes of one model mostly have equal headers, which are stored once."""

    __tablename__ = "layouts"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    digest: Mapped[bytes] = mapped_column(unique=True)


class TensorSpecRow(Base):
    """One tensor of a layout; offsets are absolute bytes in the file."""

    __tablename__ = "tensor_specs"
    __table_args__ = (
        CheckConstraint('start >= 8 AND "stop" >= start', name="range"),
        CheckConstraint(one_of("kind", KINDS), name="kind"),
    )
    layout_id: Mapped[int] = reference("layouts.id", primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    layer: Mapped[str]  # the canonical name; empty of what belongs to another tensor, as the scales of int8 do
    kind: Mapped[str]
    dtype: Mapped[str]
    shape: Mapped[list[int]]
    start: Mapped[int]
    stop: Mapped[int]


class File(Base):
    """One file of a revision; shards that were read have a layout."""

    __tablename__ = "files"
    __table_args__ = (CheckConstraint("size >= 0", name="size"),)
    revision_id: Mapped[int] = reference("revisions.id", primary_key=True)
    path: Mapped[str] = mapped_column(primary_key=True)
    size: Mapped[int | None]  # None where the source does not tell it
    blob_id: Mapped[str | None]
    sha256: Mapped[str | None] = mapped_column(index=True)
    xet_hash: Mapped[str | None]
    layout_id: Mapped[int | None] = mapped_column(ForeignKey("layouts.id"), index=True)
