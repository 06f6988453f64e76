"""Measure outliers and forms of tensors, and of pairs what is lost to zeros and what share is equal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ARRAYS = (("outliers", sa.BigInteger()), ("form", sa.SmallInteger()))
_PACKED = ("lost", "lost_of", "equal")


def upgrade() -> None:
    # The bytes have to be read again for what was not measured.
    op.execute("DELETE FROM measure_batches")
    for name, kind in _ARRAYS:
        op.add_column("layer_measures", sa.Column(name, sa.ARRAY(kind), nullable=False))
    for name in _PACKED:
        op.add_column("layer_measures", sa.Column(name, sa.LargeBinary(), nullable=False))


def downgrade() -> None:
    op.execute("DELETE FROM measure_batches")
    for name in (*_PACKED, *(name for name, _ in _ARRAYS)):
        op.drop_column("layer_measures", name)
