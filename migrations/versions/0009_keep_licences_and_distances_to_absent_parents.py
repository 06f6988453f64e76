"""Keep licences and what does not follow from them, and how far absent parents are."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("absent_parents", sa.Column("squared_distance", sa.Float(53)))
    op.create_check_constraint(op.f("ck_absent_parents_squared_distance"), "absent_parents", "squared_distance >= 0")
    op.create_table(
        "licences",
        sa.Column("revision_id", sa.BigInteger(), nullable=False),
        sa.Column("declared", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("licences", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("name", sa.Text()),
        sa.Column("link", sa.Text()),
        sa.Column("declared_in", sa.Text()),
        sa.Column("ancestors", JSONB(), server_default="[]", nullable=False),
        sa.Column("unchecked", sa.Text()),
        sa.Column("compared_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["revision_id"], ["revisions.id"], name=op.f("fk_licences_revision_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("revision_id", name=op.f("pk_licences")),
    )
    op.create_table(
        "licence_findings",
        sa.Column("revision_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("licence", sa.Text(), nullable=False),
        sa.Column("severity", sa.Text(), nullable=False),
        sa.Column("path", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("confidence", sa.Float(53), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("cite", sa.Text(), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.CheckConstraint(
            "kind IN ('more-permissive', 'non-commercial', 'no-derivatives', 'share-alike', 'attribution', 'naming', "
            "'missing', 'incompatible', 'unclear')",
            name=op.f("ck_licence_findings_kind"),
        ),
        sa.CheckConstraint("severity IN ('conflict', 'duty', 'read')", name=op.f("ck_licence_findings_severity")),
        sa.CheckConstraint("confidence BETWEEN 0 AND 1", name=op.f("ck_licence_findings_confidence")),
        sa.CheckConstraint("cardinality(path) > 1", name=op.f("ck_licence_findings_path")),
        sa.ForeignKeyConstraint(
            ["revision_id"], ["revisions.id"], name=op.f("fk_licence_findings_revision_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("revision_id", "kind", "licence", name=op.f("pk_licence_findings")),
    )


def downgrade() -> None:
    op.drop_table("licence_findings")
    op.drop_table("licences")
    op.drop_constraint(op.f("ck_absent_parents_squared_distance"), "absent_parents", type_="check")
    op.drop_column("absent_parents", "squared_distance")
