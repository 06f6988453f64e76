"""Name parents that are absent, and say what a run left out."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("runs", sa.Column("notes", sa.ARRAY(sa.Text()), server_default="{}", nullable=False))
    op.create_table(
        "absent_parents",
        sa.Column("cluster_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("child_id", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("number >= 0", name=op.f("ck_absent_parents_number")),
        sa.ForeignKeyConstraint(
            ["cluster_id", "child_id"],
            ["cluster_members.cluster_id", "cluster_members.revision_id"],
            name=op.f("fk_absent_parents_cluster_id_cluster_members"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("cluster_id", "number", "child_id", name=op.f("pk_absent_parents")),
    )


def downgrade() -> None:
    op.drop_table("absent_parents")
    op.drop_column("runs", "notes")
