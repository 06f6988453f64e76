"""Share the signed addresses of files between workers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "addresses",
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("repository", sa.Text(), nullable=False),
        sa.Column("sha", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("url", sa.Text()),
        sa.Column("size", sa.BigInteger()),
        sa.Column("asked_at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True)),
        sa.PrimaryKeyConstraint("endpoint", "account", "repository", "sha", "path", name=op.f("pk_addresses")),
        sa.CheckConstraint("(url IS NULL) = (found_at IS NULL)", name=op.f("ck_addresses_found")),
        prefixes=["UNLOGGED"],
    )


def downgrade() -> None:
    op.drop_table("addresses")
