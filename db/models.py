"""The tables.

    sources ── repositories ── revisions ── files ── layouts ── tensor_specs
                    │              ├── declared_parents
                    │              └── failures
    sources ── families ── family_layers ── layer_measures ── measure_batches
                    └── runs ── clusters ── cluster_members, edges, duplicates        verdicts (one per revision)

What a source says is kept per revision (a commit sha), never overwritten by a newer one. What is measured hangs on a
revision and a metric version; what is inferred hangs on a run. Revisions are named by id inside arrays (batches of
members), where a row per number would not scale; everywhere else by foreign keys.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    DateTime,
    Float,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

KINDS = ("trunk", "vector", "head", "buffer")
RELATIONS = ("finetune", "adapter", "quantized", "merge", "duplicate", "unknown")
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


def _one_of(column: str, values: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(value) for value in values)})"


class Base(DeclarativeBase):
    """All tables; constraints are named so that migrations can refer to them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BigInteger,
        str: Text,
        float: Float(53),
        bytes: LargeBinary,
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(none_as_null=True),
        list[int]: ARRAY(BigInteger),
        list[float]: ARRAY(Float(53)),
        list[str]: ARRAY(Text),
        list[bytes]: ARRAY(LargeBinary),
    }


def _reference(target: str, *, index: bool = False, primary_key: bool = False) -> Any:
    return mapped_column(ForeignKey(target, ondelete="CASCADE"), index=index, primary_key=primary_key)


class SourceRow(Base):
    """A Hub or a folder that was crawled."""

    __tablename__ = "sources"
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)


class Crawl(Base):
    """One pass over a listing; the cursor moves in the transaction that stores the page before it."""

    __tablename__ = "crawls"
    __table_args__ = (
        Index("uq_crawls_unfinished", "source_id", "query", unique=True, postgresql_where=text("finished_at IS NULL")),
    )
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    source_id: Mapped[int] = _reference("sources.id")
    query: Mapped[dict[str, Any]]
    cursor: Mapped[str | None]
    pages: Mapped[int] = mapped_column(server_default="0")
    started_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]


class Repository(Base):
    """A repository as its source last described it."""

    __tablename__ = "repositories"
    __table_args__ = (
        UniqueConstraint("source_id", "name"),
        CheckConstraint("name <> ''", name="named"),
        CheckConstraint("gated IN ('auto', 'manual')", name="gated"),
        Index("ix_repositories_lower_name", text("lower(name)")),
    )
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    source_id: Mapped[int] = _reference("sources.id")
    name: Mapped[str]
    hub_id: Mapped[str | None]
    head_sha: Mapped[str | None]  # the newest commit, where the listing tells it
    author: Mapped[str | None] = mapped_column(index=True)
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
    first_seen: Mapped[datetime] = mapped_column(server_default=func.now())
    seen_in_crawl: Mapped[int | None]
    removed_at: Mapped[datetime | None]
    current_revision_id: Mapped[int | None] = mapped_column(
        ForeignKey("revisions.id", ondelete="SET NULL", use_alter=True), index=True
    )


class Revision(Base):
    """One commit of a repository. `weights` says what became of its weights."""

    __tablename__ = "revisions"
    __table_args__ = (
        UniqueConstraint("repository_id", "sha"),
        CheckConstraint("weights IN ('safetensors', 'adapter', 'none', 'failed')", name="weights"),
        CheckConstraint("family_id IS NULL OR weights = 'safetensors'", name="family_has_weights"),
    )
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    repository_id: Mapped[int] = _reference("repositories.id")
    sha: Mapped[str]
    config: Mapped[dict[str, Any] | None]
    card_data: Mapped[dict[str, Any] | None]
    commit_title: Mapped[str | None]
    weights: Mapped[str]
    # Of the files' hashes, where the source tells them: revisions with equal ones hold the same tensors.
    weights_digest: Mapped[bytes | None] = mapped_column(index=True)
    family_id: Mapped[int | None] = mapped_column(ForeignKey("families.id", ondelete="SET NULL"), index=True)
    described_at: Mapped[datetime] = mapped_column(server_default=func.now())


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
        CheckConstraint(_one_of("kind", KINDS), name="kind"),
    )
    layout_id: Mapped[int] = _reference("layouts.id", primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    layer: Mapped[str]  # the canonical name, and what part of a network it is
    kind: Mapped[str]
    dtype: Mapped[str]
    shape: Mapped[list[int]]
    start: Mapped[int]
    stop: Mapped[int]


class File(Base):
    """One file of a revision; shards that were read have a layout."""

    __tablename__ = "files"
    __table_args__ = (CheckConstraint("size >= 0", name="size"),)
    revision_id: Mapped[int] = _reference("revisions.id", primary_key=True)
    path: Mapped[str] = mapped_column(primary_key=True)
    size: Mapped[int | None]  # None where the source does not tell it
    blob_id: Mapped[str | None]
    sha256: Mapped[str | None] = mapped_column(index=True)
    xet_hash: Mapped[str | None]
    layout_id: Mapped[int | None] = mapped_column(ForeignKey("layouts.id"), index=True)


class DeclaredParent(Base):
    """A parent that a revision declares. Its name is resolved to a repository when verdicts are made."""

    __tablename__ = "declared_parents"
    __table_args__ = (
        UniqueConstraint("revision_id", "name", "relation", "source"),
        CheckConstraint(_one_of("relation", RELATIONS), name="relation"),
        CheckConstraint("kind IN ('hub', 'local path', 'invalid')", name="kind"),
        Index("ix_declared_parents_lower_name", text("lower(name)")),
    )
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    revision_id: Mapped[int] = _reference("revisions.id")
    name: Mapped[str]
    relation: Mapped[str]
    source: Mapped[str]
    kind: Mapped[str]


class FailureRow(Base):
    """Why something of a repository could not be used; resolved when a later try succeeds."""

    __tablename__ = "failures"
    __table_args__ = (
        UniqueConstraint("repository_id", "revision_id", "stage", "file", "tensor", postgresql_nulls_not_distinct=True),
        CheckConstraint("stage IN ('crawl', 'card', 'describe', 'measure')", name="stage"),
    )
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    repository_id: Mapped[int] = _reference("repositories.id")
    revision_id: Mapped[int | None] = _reference("revisions.id", index=True)
    stage: Mapped[str]
    kind: Mapped[str]
    file: Mapped[str | None]
    tensor: Mapped[str | None]
    reason: Mapped[str]
    attempts: Mapped[int] = mapped_column(server_default="1")
    first_at: Mapped[datetime] = mapped_column(server_default=func.now())
    last_at: Mapped[datetime] = mapped_column(server_default=func.now())
    resolved_at: Mapped[datetime | None]


class Family(Base):
    """Revisions of one source whose trunks are comparable."""

    __tablename__ = "families"
    __table_args__ = (UniqueConstraint("source_id", "name"),)
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    source_id: Mapped[int] = _reference("sources.id")
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class FamilyLayer(Base):
    """One canonical tensor of a family; a name that occurs with two shapes is two layers."""

    __tablename__ = "family_layers"
    __table_args__ = (
        UniqueConstraint("family_id", "name", "shape"),
        CheckConstraint(_one_of("kind", KINDS), name="kind"),
    )
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    family_id: Mapped[int] = _reference("families.id")
    position: Mapped[int]
    name: Mapped[str]
    shape: Mapped[list[int]]
    kind: Mapped[str]


class MeasureBatch(Base):
    """Members that are measured together: all pairs among `members`, and each of them with each of `against`."""

    __tablename__ = "measure_batches"
    __table_args__ = (
        Index(
            "uq_measure_batches_unfinished",
            "family_id",
            "metric_version",
            unique=True,
            postgresql_where=text("finished_at IS NULL"),
        ),
        CheckConstraint("cardinality(members) > 0 AND NOT members && against", name="members"),
    )
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    family_id: Mapped[int] = _reference("families.id", index=True)
    metric_version: Mapped[int]
    members: Mapped[list[int]]
    against: Mapped[list[int]]
    lost: Mapped[list[int]] = mapped_column(server_default="{}")  # members that failed on the way
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]


class LayerMeasures(Base):
    """What one batch measured of one layer; arrays run over the batch's members.

    The packed columns hold little-endian numbers: first members x against, row by row, then the upper triangle of
    members x members, row by row (float64 squared distances, float32 slopes, int16 ranks).
    """

    __tablename__ = "layer_measures"
    batch_id: Mapped[int] = _reference("measure_batches.id", primary_key=True)
    layer_id: Mapped[int] = _reference("family_layers.id", primary_key=True)
    count: Mapped[list[int]]
    zeros: Mapped[list[int]]
    mean: Mapped[list[float]]
    variance: Mapped[list[float]]
    skewness: Mapped[list[float]]
    kurtosis: Mapped[list[float]]
    squared_norm: Mapped[list[float]]
    minimum: Mapped[list[float]]
    maximum: Mapped[list[float]]
    digest: Mapped[list[bytes]]
    squared_distance: Mapped[bytes]
    slope: Mapped[bytes]
    rank: Mapped[bytes]
    measured_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Run(Base):
    """One inference over a family, with all that it came from."""

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("family_id", "inputs_digest"),
        Index("uq_runs_current", "family_id", unique=True, postgresql_where=text("is_current")),
    )
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    family_id: Mapped[int] = _reference("families.id")
    method: Mapped[str]
    parameters: Mapped[dict[str, Any]]
    versions: Mapped[dict[str, Any]]
    inputs: Mapped[dict[str, Any]]  # {"org/name": sha} of every revision, and the batches
    inputs_digest: Mapped[bytes]  # of method, parameters, versions and inputs
    is_current: Mapped[bool]
    finished_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Cluster(Base):
    """One model tree of a run."""

    __tablename__ = "clusters"
    __table_args__ = (CheckConstraint("root_confidence BETWEEN 0 AND 1", name="root_confidence"),)
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    run_id: Mapped[int] = _reference("runs.id", index=True)
    position: Mapped[int]
    root_revision_id: Mapped[int | None] = _reference("revisions.id")
    root_confidence: Mapped[float | None]


class ClusterMember(Base):
    """A revision's place in a run: it belongs to one tree of it."""

    __tablename__ = "cluster_members"
    __table_args__ = (UniqueConstraint("run_id", "revision_id"),)
    cluster_id: Mapped[int] = _reference("clusters.id", primary_key=True)
    revision_id: Mapped[int] = _reference("revisions.id", primary_key=True)
    run_id: Mapped[int] = _reference("runs.id")


class Edge(Base):
    """An inferred parent, with the evidence for it. A merge has several."""

    __tablename__ = "edges"
    __table_args__ = (
        CheckConstraint("parent_id <> child_id", name="no_self"),
        CheckConstraint("confidence BETWEEN 0 AND 1", name="confidence"),
    )
    cluster_id: Mapped[int] = _reference("clusters.id", primary_key=True)
    parent_id: Mapped[int] = _reference("revisions.id", primary_key=True)
    child_id: Mapped[int] = _reference("revisions.id", primary_key=True)
    relation: Mapped[str]
    confidence: Mapped[float]
    decided: Mapped[bool]
    evidence: Mapped[dict[str, Any]]


class Duplicate(Base):
    """Members of a run with the same numbers in every tensor; `of_id` stands for the group in the tree."""

    __tablename__ = "duplicates"
    __table_args__ = (CheckConstraint("revision_id <> of_id", name="no_self"),)
    run_id: Mapped[int] = _reference("runs.id", primary_key=True)
    revision_id: Mapped[int] = _reference("revisions.id", primary_key=True)
    of_id: Mapped[int] = _reference("revisions.id")


class Verdict(Base):
    """What the comparison of declared and inferred says of one revision."""

    __tablename__ = "verdicts"
    __table_args__ = (CheckConstraint(_one_of("verdict", VERDICTS), name="verdict"),)
    revision_id: Mapped[int] = _reference("revisions.id", primary_key=True)
    run_id: Mapped[int | None] = _reference("runs.id")
    verdict: Mapped[str] = mapped_column(index=True)
    why: Mapped[str]
    declared: Mapped[list[str]]
    inferred: Mapped[list[str]]
    compared_at: Mapped[datetime] = mapped_column(server_default=func.now())
