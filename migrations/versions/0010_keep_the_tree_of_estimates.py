"""Keep the minimum spanning tree of estimates from batch to batch: new members need not compare old ones again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("measure_batches", sa.Column("spanning", sa.LargeBinary()))
    op.create_check_constraint(op.f("ck_measure_batches_spanning"), "measure_batches", "length(spanning) % 20 = 0")


def downgrade() -> None:
    op.drop_constraint(op.f("ck_measure_batches_spanning"), "measure_batches", type_="check")
    op.drop_column("measure_batches", "spanning")
