"""Keep CountSketches beside measures, so that pairs that were not measured can be estimated."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Measures without sketches cannot be compared with new ones: their bytes have to be read again.
    op.execute("DELETE FROM measure_batches")
    op.execute("DELETE FROM family_layers")
    op.add_column("family_layers", sa.Column("buckets", sa.BigInteger(), nullable=False))
    op.add_column("layer_measures", sa.Column("sketch", sa.LargeBinary(), nullable=False))


def downgrade() -> None:
    op.execute("DELETE FROM measure_batches")
    op.execute("DELETE FROM family_layers")
    op.drop_column("layer_measures", "sketch")
    op.drop_column("family_layers", "buckets")
