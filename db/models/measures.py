"""Tables of families and what was measured of them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ARRAY, CheckConstraint, Identity, Index, SmallInteger, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from db.models.base import Base, one_of, reference
from db.models.repositories import KINDS


class Family(Base):
    """Revisions of one source whose trunks are comparable."""

    __tablename__ = "families"
    __table_args__ = (UniqueConstraint("source_id", "name"),)
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    source_id: Mapped[int] = reference("sources.id")
    name: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class FamilyLayer(Base):
    """One canonical tensor of a family; a name that occurs with two shapes is two layers."""

    __tablename__ = "family_layers"
    __table_args__ = (
        UniqueConstraint("family_id", "name", "shape"),
        CheckConstraint(one_of("kind", KINDS), name="kind"),
    )
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    family_id: Mapped[int] = reference("families.id")
    position: Mapped[int]
    name: Mapped[str]
    shape: Mapped[list[int]]
    kind: Mapped[str]
    buckets: Mapped[int]  # of the CountSketches of this layer: the same for all members, whenever they come


class MeasureBatch(Base):
    """Members that are measured together: all pairs among `members`, and each of them with each of `against`.

    Older members that are not in `against` were not read again: those pairs are estimated from sketches. `spanning` is
    the minimum spanning tree of the estimates over all members up to this batch, kept for the last batch alone: of each
    edge two revisions (little-endian int64) and their squared relative distance (float32).
    """

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
        CheckConstraint("length(spanning) % 20 = 0", name="spanning"),
    )
    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    family_id: Mapped[int] = reference("families.id", index=True)
    metric_version: Mapped[int]
    members: Mapped[list[int]]
    against: Mapped[list[int]]
    lost: Mapped[list[int]] = mapped_column(server_default="{}")  # members that failed on the way
    spanning: Mapped[bytes | None] = mapped_column(deferred=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    finished_at: Mapped[datetime | None]


class LayerMeasures(Base):
    """What one batch measured of one layer; arrays run over the batch's members.

    The packed columns hold little-endian numbers: first members x against, row by row, then the upper triangle of
    members x members, row by row (float64 squared distances, int16 ranks, float32 slopes and shares that are equal,
    float32 squares that one loses where the other is zero, both empty where no member is sparse). `sketch` holds
    members x the layer's buckets in float64, NaN for members that lack the layer; it is empty for buffers.
    """

    __tablename__ = "layer_measures"
    batch_id: Mapped[int] = reference("measure_batches.id", primary_key=True)
    layer_id: Mapped[int] = reference("family_layers.id", primary_key=True)
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
    outliers: Mapped[list[int]]
    form: Mapped[list[int]] = mapped_column(ARRAY(SmallInteger))  # the narrowest of lineage.digest.FORMS; -1: none
    squared_distance: Mapped[bytes]
    lost: Mapped[bytes]
    lost_of: Mapped[bytes]
    equal: Mapped[bytes]
    slope: Mapped[bytes]
    rank: Mapped[bytes]
    sketch: Mapped[bytes]
    measured_at: Mapped[datetime] = mapped_column(server_default=func.now())
