"""Find rows by names, edges by their ends, and all that goes with a revision or a run without reading whole tables."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_repositories_name": ("repositories", "name"),
    "ix_repositories_lower_last": ("repositories", "lower(split_part(name, '/', -1)) text_pattern_ops"),
    "ix_declared_parents_name": ("declared_parents", "name"),
    "ix_edges_parent_id": ("edges", "parent_id"),
    "ix_edges_child_id": ("edges", "child_id"),
    "ix_cluster_members_revision_id": ("cluster_members", "revision_id"),
    "ix_clusters_root_revision_id": ("clusters", "root_revision_id"),
    "ix_absent_parents_child_id": ("absent_parents", "child_id"),
    "ix_duplicates_revision_id": ("duplicates", "revision_id"),
    "ix_duplicates_of_id": ("duplicates", "of_id"),
    "ix_verdicts_run_id": ("verdicts", "run_id"),
}


def upgrade() -> None:
    # By its pattern: equality as before, and names that begin alike in whatever collation the database has.
    op.execute("DROP INDEX ix_repositories_lower_name")
    op.execute("CREATE INDEX ix_repositories_lower_name ON repositories (lower(name) text_pattern_ops)")
    for name, (table, column) in INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON {table} ({column})")


def downgrade() -> None:
    for name in reversed(INDEXES):
        op.execute(f"DROP INDEX {name}")
    op.execute("DROP INDEX ix_repositories_lower_name")
    op.execute("CREATE INDEX ix_repositories_lower_name ON repositories (lower(name))")
