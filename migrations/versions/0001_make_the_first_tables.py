"""Make the first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "layouts",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_layouts")),
        sa.UniqueConstraint("digest", name=op.f("uq_layouts_digest")),
    )
    op.create_table(
        "sources",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sources")),
        sa.UniqueConstraint("name", name=op.f("uq_sources_name")),
    )
    op.create_table(
        "crawls",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("query", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("cursor", sa.Text(), nullable=True),
        sa.Column("pages", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["source_id"], ["sources.id"], name=op.f("fk_crawls_source_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_crawls")),
    )
    op.create_index(
        "uq_crawls_unfinished",
        "crawls",
        ["source_id", "query"],
        unique=True,
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "families",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["sources.id"], name=op.f("fk_families_source_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_families")),
        sa.UniqueConstraint("source_id", "name", name=op.f("uq_families_source_id_name")),
    )
    op.create_table(
        "repositories",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("hub_id", sa.Text(), nullable=True),
        sa.Column("head_sha", sa.Text(), nullable=True),
        sa.Column("author", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_modified", sa.DateTime(timezone=True), nullable=True),
        sa.Column("downloads", sa.BigInteger(), nullable=True),
        sa.Column("likes", sa.BigInteger(), nullable=True),
        sa.Column("private", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("gated", sa.Text(), nullable=True),
        sa.Column("disabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False),
        sa.Column("pipeline_tag", sa.Text(), nullable=True),
        sa.Column("library_name", sa.Text(), nullable=True),
        sa.Column("architectures", postgresql.ARRAY(sa.Text()), nullable=True),
        sa.Column("first_seen", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_in_crawl", sa.BigInteger(), nullable=True),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("current_revision_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("gated IN ('auto', 'manual')", name=op.f("ck_repositories_gated")),
        sa.CheckConstraint("name <> ''", name=op.f("ck_repositories_named")),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_repositories_source_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repositories")),
        sa.UniqueConstraint("source_id", "name", name=op.f("uq_repositories_source_id_name")),
    )
    op.create_index(op.f("ix_repositories_author"), "repositories", ["author"], unique=False)
    op.create_index(op.f("ix_repositories_current_revision_id"), "repositories", ["current_revision_id"], unique=False)
    op.create_index("ix_repositories_lower_name", "repositories", [sa.literal_column("lower(name)")], unique=False)
    op.create_table(
        "tensor_specs",
        sa.Column("layout_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("layer", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("dtype", sa.Text(), nullable=False),
        sa.Column("shape", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("start", sa.BigInteger(), nullable=False),
        sa.Column("stop", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('trunk', 'vector', 'head', 'buffer')", name=op.f("ck_tensor_specs_kind")),
        sa.CheckConstraint('start >= 8 AND "stop" >= start', name=op.f("ck_tensor_specs_range")),
        sa.ForeignKeyConstraint(
            ["layout_id"], ["layouts.id"], name=op.f("fk_tensor_specs_layout_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("layout_id", "name", name=op.f("pk_tensor_specs")),
    )
    op.create_table(
        "family_layers",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("family_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("shape", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('trunk', 'vector', 'head', 'buffer')", name=op.f("ck_family_layers_kind")),
        sa.ForeignKeyConstraint(
            ["family_id"], ["families.id"], name=op.f("fk_family_layers_family_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_family_layers")),
        sa.UniqueConstraint("family_id", "name", "shape", name=op.f("uq_family_layers_family_id_name_shape")),
    )
    op.create_table(
        "measure_batches",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("family_id", sa.BigInteger(), nullable=False),
        sa.Column("metric_version", sa.BigInteger(), nullable=False),
        sa.Column("members", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("against", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("lost", postgresql.ARRAY(sa.BigInteger()), server_default="{}", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "cardinality(members) > 0 AND NOT members && against", name=op.f("ck_measure_batches_members")
        ),
        sa.ForeignKeyConstraint(
            ["family_id"], ["families.id"], name=op.f("fk_measure_batches_family_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_measure_batches")),
    )
    op.create_index(op.f("ix_measure_batches_family_id"), "measure_batches", ["family_id"], unique=False)
    op.create_index(
        "uq_measure_batches_unfinished",
        "measure_batches",
        ["family_id", "metric_version"],
        unique=True,
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    op.create_table(
        "revisions",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("sha", sa.Text(), nullable=False),
        sa.Column("config", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("card_data", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("commit_title", sa.Text(), nullable=True),
        sa.Column("weights", sa.Text(), nullable=False),
        sa.Column("weights_digest", sa.LargeBinary(), nullable=True),
        sa.Column("family_id", sa.BigInteger(), nullable=True),
        sa.Column("described_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "family_id IS NULL OR weights = 'safetensors'", name=op.f("ck_revisions_family_has_weights")
        ),
        sa.CheckConstraint(
            "weights IN ('safetensors', 'adapter', 'none', 'failed')", name=op.f("ck_revisions_weights")
        ),
        sa.ForeignKeyConstraint(
            ["family_id"], ["families.id"], name=op.f("fk_revisions_family_id"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name=op.f("fk_revisions_repository_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revisions")),
        sa.UniqueConstraint("repository_id", "sha", name=op.f("uq_revisions_repository_id_sha")),
    )
    op.create_index(op.f("ix_revisions_family_id"), "revisions", ["family_id"], unique=False)
    op.create_index(op.f("ix_revisions_weights_digest"), "revisions", ["weights_digest"], unique=False)
    op.create_table(
        "runs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("family_id", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("parameters", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("versions", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("inputs", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("inputs_digest", sa.LargeBinary(), nullable=False),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["family_id"], ["families.id"], name=op.f("fk_runs_family_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("family_id", "inputs_digest", name=op.f("uq_runs_family_id_inputs_digest")),
    )
    op.create_index("uq_runs_current", "runs", ["family_id"], unique=True, postgresql_where=sa.text("is_current"))
    op.create_table(
        "clusters",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("root_revision_id", sa.BigInteger(), nullable=True),
        sa.Column("root_confidence", sa.Float(precision=53), nullable=True),
        sa.CheckConstraint("root_confidence BETWEEN 0 AND 1", name=op.f("ck_clusters_root_confidence")),
        sa.ForeignKeyConstraint(
            ["root_revision_id"], ["revisions.id"], name=op.f("fk_clusters_root_revision_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_clusters_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_clusters")),
    )
    op.create_index(op.f("ix_clusters_run_id"), "clusters", ["run_id"], unique=False)
    op.create_table(
        "declared_parents",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("revision_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("relation", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.CheckConstraint("kind IN ('hub', 'local path', 'invalid')", name=op.f("ck_declared_parents_kind")),
        sa.CheckConstraint(
            "relation IN ('finetune', 'adapter', 'quantized', 'merge', 'duplicate', 'unknown')",
            name=op.f("ck_declared_parents_relation"),
        ),
        sa.ForeignKeyConstraint(
            ["revision_id"], ["revisions.id"], name=op.f("fk_declared_parents_revision_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_declared_parents")),
        sa.UniqueConstraint(
            "revision_id",
            "name",
            "relation",
            "source",
            name=op.f("uq_declared_parents_revision_id_name_relation_source"),
        ),
    )
    op.create_index(
        "ix_declared_parents_lower_name", "declared_parents", [sa.literal_column("lower(name)")], unique=False
    )
    op.create_table(
        "duplicates",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("revision_id", sa.BigInteger(), nullable=False),
        sa.Column("of_id", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("revision_id <> of_id", name=op.f("ck_duplicates_no_self")),
        sa.ForeignKeyConstraint(["of_id"], ["revisions.id"], name=op.f("fk_duplicates_of_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["revision_id"], ["revisions.id"], name=op.f("fk_duplicates_revision_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_duplicates_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "revision_id", name=op.f("pk_duplicates")),
    )
    op.create_table(
        "failures",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("revision_id", sa.BigInteger(), nullable=True),
        sa.Column("stage", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=True),
        sa.Column("tensor", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("stage IN ('crawl', 'card', 'describe', 'measure')", name=op.f("ck_failures_stage")),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name=op.f("fk_failures_repository_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["revision_id"], ["revisions.id"], name=op.f("fk_failures_revision_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_failures")),
        sa.UniqueConstraint(
            "repository_id",
            "revision_id",
            "stage",
            "file",
            "tensor",
            name=op.f("uq_failures_repository_id_revision_id_stage_file_tensor"),
            postgresql_nulls_not_distinct=True,
        ),
    )
    op.create_index(op.f("ix_failures_revision_id"), "failures", ["revision_id"], unique=False)
    op.create_table(
        "files",
        sa.Column("revision_id", sa.BigInteger(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("blob_id", sa.Text(), nullable=True),
        sa.Column("sha256", sa.Text(), nullable=True),
        sa.Column("xet_hash", sa.Text(), nullable=True),
        sa.Column("layout_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("size >= 0", name=op.f("ck_files_size")),
        sa.ForeignKeyConstraint(["layout_id"], ["layouts.id"], name=op.f("fk_files_layout_id")),
        sa.ForeignKeyConstraint(
            ["revision_id"], ["revisions.id"], name=op.f("fk_files_revision_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("revision_id", "path", name=op.f("pk_files")),
    )
    op.create_index(op.f("ix_files_layout_id"), "files", ["layout_id"], unique=False)
    op.create_index(op.f("ix_files_sha256"), "files", ["sha256"], unique=False)
    op.create_table(
        "layer_measures",
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.Column("layer_id", sa.BigInteger(), nullable=False),
        sa.Column("count", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("zeros", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("mean", postgresql.ARRAY(sa.Float(precision=53)), nullable=False),
        sa.Column("variance", postgresql.ARRAY(sa.Float(precision=53)), nullable=False),
        sa.Column("skewness", postgresql.ARRAY(sa.Float(precision=53)), nullable=False),
        sa.Column("kurtosis", postgresql.ARRAY(sa.Float(precision=53)), nullable=False),
        sa.Column("squared_norm", postgresql.ARRAY(sa.Float(precision=53)), nullable=False),
        sa.Column("minimum", postgresql.ARRAY(sa.Float(precision=53)), nullable=False),
        sa.Column("maximum", postgresql.ARRAY(sa.Float(precision=53)), nullable=False),
        sa.Column("digest", postgresql.ARRAY(sa.LargeBinary()), nullable=False),
        sa.Column("squared_distance", sa.LargeBinary(), nullable=False),
        sa.Column("slope", sa.LargeBinary(), nullable=False),
        sa.Column("rank", sa.LargeBinary(), nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["batch_id"], ["measure_batches.id"], name=op.f("fk_layer_measures_batch_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["layer_id"], ["family_layers.id"], name=op.f("fk_layer_measures_layer_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("batch_id", "layer_id", name=op.f("pk_layer_measures")),
    )
    op.create_table(
        "verdicts",
        sa.Column("revision_id", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("declared", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("inferred", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("compared_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "verdict IN ('agrees', 'ancestor', 'reversed', 'sibling', 'contradicted', 'undeclared', 'unmeasured', 'undecided', 'root', 'duplicate')",
            name=op.f("ck_verdicts_verdict"),
        ),
        sa.ForeignKeyConstraint(
            ["revision_id"], ["revisions.id"], name=op.f("fk_verdicts_revision_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_verdicts_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("revision_id", name=op.f("pk_verdicts")),
    )
    op.create_index(op.f("ix_verdicts_verdict"), "verdicts", ["verdict"], unique=False)
    op.create_table(
        "cluster_members",
        sa.Column("cluster_id", sa.BigInteger(), nullable=False),
        sa.Column("revision_id", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["cluster_id"], ["clusters.id"], name=op.f("fk_cluster_members_cluster_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["revision_id"], ["revisions.id"], name=op.f("fk_cluster_members_revision_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_cluster_members_run_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("cluster_id", "revision_id", name=op.f("pk_cluster_members")),
        sa.UniqueConstraint("run_id", "revision_id", name=op.f("uq_cluster_members_run_id_revision_id")),
    )
    op.create_table(
        "edges",
        sa.Column("cluster_id", sa.BigInteger(), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=False),
        sa.Column("child_id", sa.BigInteger(), nullable=False),
        sa.Column("relation", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Float(precision=53), nullable=False),
        sa.Column("decided", sa.Boolean(), nullable=False),
        sa.Column("evidence", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.CheckConstraint("confidence BETWEEN 0 AND 1", name=op.f("ck_edges_confidence")),
        sa.CheckConstraint("parent_id <> child_id", name=op.f("ck_edges_no_self")),
        sa.ForeignKeyConstraint(["child_id"], ["revisions.id"], name=op.f("fk_edges_child_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["cluster_id"], ["clusters.id"], name=op.f("fk_edges_cluster_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["parent_id"], ["revisions.id"], name=op.f("fk_edges_parent_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("cluster_id", "parent_id", "child_id", name=op.f("pk_edges")),
    )
    op.create_foreign_key(
        op.f("fk_repositories_current_revision_id"),
        "repositories",
        "revisions",
        ["current_revision_id"],
        ["id"],
        ondelete="SET NULL",
    )


def downgrade() -> None:
    op.drop_constraint(op.f("fk_repositories_current_revision_id"), "repositories", type_="foreignkey")
    op.drop_table("edges")
    op.drop_table("cluster_members")
    op.drop_index(op.f("ix_verdicts_verdict"), table_name="verdicts")
    op.drop_table("verdicts")
    op.drop_table("layer_measures")
    op.drop_index(op.f("ix_files_sha256"), table_name="files")
    op.drop_index(op.f("ix_files_layout_id"), table_name="files")
    op.drop_table("files")
    op.drop_index(op.f("ix_failures_revision_id"), table_name="failures")
    op.drop_table("failures")
    op.drop_table("duplicates")
    op.drop_index("ix_declared_parents_lower_name", table_name="declared_parents")
    op.drop_table("declared_parents")
    op.drop_index(op.f("ix_clusters_run_id"), table_name="clusters")
    op.drop_table("clusters")
    op.drop_index("uq_runs_current", table_name="runs", postgresql_where=sa.text("is_current"))
    op.drop_table("runs")
    op.drop_index(op.f("ix_revisions_weights_digest"), table_name="revisions")
    op.drop_index(op.f("ix_revisions_family_id"), table_name="revisions")
    op.drop_table("revisions")
    op.drop_index(
        "uq_measure_batches_unfinished", table_name="measure_batches", postgresql_where=sa.text("finished_at IS NULL")
    )
    op.drop_index(op.f("ix_measure_batches_family_id"), table_name="measure_batches")
    op.drop_table("measure_batches")
    op.drop_table("family_layers")
    op.drop_table("tensor_specs")
    op.drop_index("ix_repositories_lower_name", table_name="repositories")
    op.drop_index(op.f("ix_repositories_current_revision_id"), table_name="repositories")
    op.drop_index(op.f("ix_repositories_author"), table_name="repositories")
    op.drop_table("repositories")
    op.drop_table("families")
    op.drop_index("uq_crawls_unfinished", table_name="crawls", postgresql_where=sa.text("finished_at IS NULL"))
    op.drop_table("crawls")
    op.drop_table("sources")
    op.drop_table("layouts")
