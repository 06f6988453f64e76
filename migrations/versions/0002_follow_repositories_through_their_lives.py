"""Follow repositories through renames and removals, crawl in increments, and share a Hub's quota."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _upgrade_crawls()
    _upgrade_repositories()
    _upgrade_declared()
    op.create_table(
        "quotas",
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("bucket", sa.Text(), nullable=False),
        sa.Column("quota", sa.BigInteger(), nullable=False),
        sa.Column("window_s", sa.Float(precision=53), nullable=False),
        sa.Column("learnt", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("share", sa.Float(precision=53), nullable=False),
        sa.Column("used", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("remaining", sa.BigInteger(), nullable=True),
        sa.Column("resets_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("blocked_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("bucket IN ('api', 'resolvers')", name=op.f("ck_quotas_bucket")),
        sa.CheckConstraint("quota > 0 AND window_s > 0 AND used >= 0", name=op.f("ck_quotas_counts")),
        sa.PrimaryKeyConstraint("endpoint", "account", "bucket", name=op.f("pk_quotas")),
    )


def _upgrade_crawls() -> None:
    op.create_table(
        "watermarks",
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("query", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["sources.id"], name="fk_watermarks_source_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("source_id", "query", name="pk_watermarks"),
    )
    op.create_table(
        "crawl_pages",
        sa.Column("crawl_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("repositories", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.ForeignKeyConstraint(["crawl_id"], ["crawls.id"], name="fk_crawl_pages_crawl_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("crawl_id", "number", name="pk_crawl_pages"),
    )
    # What an unfinished crawl has seen was kept with the repositories; it begins anew.
    op.execute("DELETE FROM crawls WHERE finished_at IS NULL")
    op.add_column("crawls", sa.Column("kind", sa.Text(), server_default="full", nullable=False))
    op.add_column("crawls", sa.Column("listed", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("crawls", sa.Column("since", sa.DateTime(timezone=True), nullable=True))
    op.add_column("crawls", sa.Column("newest", sa.DateTime(timezone=True), nullable=True))
    op.add_column("crawls", sa.Column("described_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE crawls SET described_at = finished_at")
    op.create_check_constraint(op.f("ck_crawls_kind"), "crawls", "kind IN ('full', 'increment')")
    op.create_check_constraint(op.f("ck_crawls_since"), "crawls", "kind = 'full' OR since IS NOT NULL")
    op.drop_index("uq_crawls_unfinished", table_name="crawls")
    op.create_index(
        "uq_crawls_unfinished",
        "crawls",
        ["source_id", "kind", "query"],
        unique=True,
        postgresql_where=sa.text("finished_at IS NULL"),
    )


def _upgrade_repositories() -> None:
    op.create_table(
        "aliases",
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=True),
        sa.Column("hub_id", sa.Text(), nullable=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["sources.id"], name="fk_aliases_source_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("source_id", "name", name="pk_aliases"),
    )
    op.create_index("ix_aliases_hub_id", "aliases", ["hub_id"])
    op.create_index("ix_aliases_lower_name", "aliases", ["source_id", sa.literal_column("lower(name)")])
    op.create_table(
        "repository_changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("repository_id", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "what IN ('name', 'private', 'gated', 'disabled', 'removed')", name=op.f("ck_repository_changes_what")
        ),
        sa.ForeignKeyConstraint(
            ["repository_id"], ["repositories.id"], name="fk_repository_changes_repository_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_repository_changes"),
    )
    op.create_index("ix_repository_changes_repository_id", "repository_changes", ["repository_id"])
    op.drop_index(op.f("ix_repositories_author"), table_name="repositories")
    op.add_column("repositories", sa.Column("model_type", sa.Text(), nullable=True))
    op.add_column("repositories", sa.Column("parameters", sa.BigInteger(), nullable=True))
    op.add_column("repositories", sa.Column("formats", postgresql.ARRAY(sa.Text()), nullable=True))
    op.add_column("repositories", sa.Column("removed_why", sa.Text(), nullable=True))
    op.execute("UPDATE repositories SET removed_why = 'no longer listed' WHERE removed_at IS NOT NULL")
    op.create_check_constraint(
        op.f("ck_repositories_removed_why"), "repositories", "(removed_at IS NULL) = (removed_why IS NULL)"
    )
    # A repository that was renamed before has a row for each of its names: the one seen last keeps its id.
    op.execute(
        """
        UPDATE repositories SET hub_id = NULL
        WHERE EXISTS (
            SELECT FROM repositories AS later
            WHERE later.source_id = repositories.source_id AND later.hub_id = repositories.hub_id
              AND (later.removed_at IS NULL, later.id) > (repositories.removed_at IS NULL, repositories.id)
        )
        """
    )
    op.drop_constraint("uq_repositories_source_id_name", "repositories", type_="unique")
    op.create_index(
        "uq_repositories_source_id_name",
        "repositories",
        ["source_id", "name"],
        unique=True,
        postgresql_where=sa.text("removed_at IS NULL"),
    )
    op.create_index("uq_repositories_source_id_hub_id", "repositories", ["source_id", "hub_id"], unique=True)
    op.drop_column("repositories", "seen_in_crawl")
    for name in ("weights_digest", "family_id"):
        op.drop_index(op.f(f"ix_revisions_{name}"), table_name="revisions")
        op.create_index(f"ix_revisions_{name}", "revisions", [name], postgresql_where=sa.text(f"{name} IS NOT NULL"))
    op.add_column(
        "revisions",
        sa.Column("first_seen", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
    )
    op.execute("UPDATE revisions SET first_seen = described_at")
    op.alter_column("revisions", "described_at", nullable=True)
    op.drop_constraint(op.f("ck_revisions_weights"), "revisions")
    op.create_check_constraint(
        op.f("ck_revisions_weights"),
        "revisions",
        "weights IN ('safetensors', 'adapter', 'none', 'failed', 'unread')",
    )
    op.create_check_constraint(
        op.f("ck_revisions_described"), "revisions", "(weights = 'unread') = (described_at IS NULL)"
    )


def _upgrade_declared() -> None:
    op.create_table(
        "declared_problems",
        sa.Column("revision_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "kind IN ('self-reference', 'cycle', 'contradiction')", name=op.f("ck_declared_problems_kind")
        ),
        sa.ForeignKeyConstraint(
            ["revision_id"], ["revisions.id"], name="fk_declared_problems_revision_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("revision_id", "kind", "detail", name="pk_declared_problems"),
    )
    table = "declared_parents"
    op.drop_index("ix_declared_parents_lower_name", table_name=table)
    op.add_column(table, sa.Column("hub_id", sa.Text(), nullable=True))
    op.add_column(table, sa.Column("weight", sa.Float(precision=53), nullable=True))
    json = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
    op.add_column(table, sa.Column("layers", json, nullable=True))
    op.add_column(table, sa.Column("detail", json, nullable=True))
    op.add_column(table, sa.Column("parent_id", sa.BigInteger(), nullable=True))
    op.add_column(table, sa.Column("resolution", sa.Text(), nullable=True))
    op.create_index(
        "ix_declared_parents_parent_id", table, ["parent_id"], postgresql_where=sa.text("parent_id IS NOT NULL")
    )
    op.create_foreign_key(
        "fk_declared_parents_parent_id", table, "repositories", ["parent_id"], ["id"], ondelete="SET NULL"
    )
    for name, rule in (
        ("resolution", "resolution IN ('exact', 'case', 'renamed', 'dangling')"),
        ("resolved_kind", "resolution IS NULL OR kind = 'hub'"),
        ("resolved_to", "parent_id IS NULL OR resolution IN ('exact', 'case', 'renamed')"),
    ):
        op.create_check_constraint(op.f(f"ck_declared_parents_{name}"), table, rule)


def downgrade() -> None:
    op.drop_table("quotas")
    for name in ("resolution", "resolved_kind", "resolved_to"):
        op.drop_constraint(op.f(f"ck_declared_parents_{name}"), "declared_parents")
    for name in ("resolution", "parent_id", "detail", "layers", "weight", "hub_id"):
        op.drop_column("declared_parents", name)
    op.create_index("ix_declared_parents_lower_name", "declared_parents", [sa.literal_column("lower(name)")])
    op.drop_table("declared_problems")
    _downgrade_repositories()
    op.drop_index("uq_crawls_unfinished", table_name="crawls")
    op.execute("DELETE FROM crawls WHERE finished_at IS NULL OR kind = 'increment'")
    op.create_index(
        "uq_crawls_unfinished",
        "crawls",
        ["source_id", "query"],
        unique=True,
        postgresql_where=sa.text("finished_at IS NULL"),
    )
    for name in ("since", "kind"):
        op.drop_constraint(op.f(f"ck_crawls_{name}"), "crawls")
    for name in ("described_at", "newest", "since", "listed", "kind"):
        op.drop_column("crawls", name)
    op.drop_table("crawl_pages")
    op.drop_table("watermarks")


def _downgrade_repositories() -> None:
    op.execute("DELETE FROM revisions WHERE weights = 'unread'")
    op.drop_constraint(op.f("ck_revisions_described"), "revisions")
    op.drop_constraint(op.f("ck_revisions_weights"), "revisions")
    op.create_check_constraint(
        op.f("ck_revisions_weights"), "revisions", "weights IN ('safetensors', 'adapter', 'none', 'failed')"
    )
    op.alter_column("revisions", "described_at", nullable=False)
    op.drop_column("revisions", "first_seen")
    for name in ("weights_digest", "family_id"):
        op.drop_index(f"ix_revisions_{name}", table_name="revisions")
        op.create_index(f"ix_revisions_{name}", "revisions", [name])
    op.add_column("repositories", sa.Column("seen_in_crawl", sa.BigInteger(), nullable=True))
    op.drop_index("uq_repositories_source_id_hub_id", table_name="repositories")
    op.drop_index("uq_repositories_source_id_name", table_name="repositories")
    # A name was unique for good: of several that had it in turn, the one that has it now or had it last stays.
    op.execute(
        """
        DELETE FROM repositories
        WHERE EXISTS (
            SELECT FROM repositories AS later
            WHERE later.source_id = repositories.source_id AND later.name = repositories.name
              AND (later.removed_at IS NULL, later.id) > (repositories.removed_at IS NULL, repositories.id)
        )
        """
    )
    op.create_unique_constraint("uq_repositories_source_id_name", "repositories", ["source_id", "name"])
    op.create_index(op.f("ix_repositories_author"), "repositories", ["author"])
    op.drop_constraint(op.f("ck_repositories_removed_why"), "repositories")
    for name in ("removed_why", "formats", "parameters", "model_type"):
        op.drop_column("repositories", name)
    op.drop_table("repository_changes")
    op.drop_table("aliases")
