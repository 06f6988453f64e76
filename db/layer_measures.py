"""Queries on what batches measured of layers: the rows of `layer_measures`, written once, loaded by columns."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import psycopg
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from db.models import FamilyLayer, LayerMeasures, MeasureBatch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy.orm import Session


def measured_layers(session: Session, batch_id: int) -> set[int]:
    """The layers that a batch has measured already."""
    return set(session.scalars(select(LayerMeasures.layer_id).where(LayerMeasures.batch_id == batch_id)))


def store_layer(session: Session, batch_id: int, layer_id: int, columns: Mapping[str, Any]) -> None:
    """Store what a batch measured of a layer; a second time changes nothing."""
    statement = insert(LayerMeasures).values(batch_id=batch_id, layer_id=layer_id, **columns)
    session.execute(statement.on_conflict_do_nothing())


@dataclass(frozen=True)
class SingleRow:
    """What one batch knows of single members, of one layer; the columns are those of `layer_measures`."""

    batch_id: int
    layer_id: int
    count: list[int]
    zeros: list[int]
    squared_norm: list[float]
    variance: list[float]
    kurtosis: list[float]
    digest: list[bytes]
    outliers: list[int]
    form: list[int]


@dataclass(frozen=True)
class PairRow:
    """What one batch knows of pairs, of one layer; a column that was not asked for is empty."""

    squared_distance: bytes = b""
    lost: bytes = b""
    lost_of: bytes = b""
    equal: bytes = b""
    slope: bytes = b""
    rank: bytes = b""
    sketch: bytes = b""


@dataclass(frozen=True)
class LayerRow(PairRow, SingleRow):
    """What inference needs of one layer of one batch."""


def layer_places(session: Session, family_id: int, metric_version: int) -> list[tuple[int, int]]:
    """Batch and layer of all that finished batches of a family have stored, by batch and layer."""
    query = (
        select(LayerMeasures.batch_id, LayerMeasures.layer_id)
        .join(MeasureBatch, MeasureBatch.id == LayerMeasures.batch_id)
        .join(FamilyLayer, FamilyLayer.id == LayerMeasures.layer_id)
        .where(
            MeasureBatch.family_id == family_id,
            MeasureBatch.metric_version == metric_version,
            MeasureBatch.finished_at.is_not(None),
        )
        .order_by(LayerMeasures.batch_id, FamilyLayer.position)
    )
    return [(batch, layer) for batch, layer in session.execute(query)]


def layer_columns(session: Session, place: tuple[int, int], columns: Sequence[str]) -> tuple[Any, ...]:
    """Some columns of `layer_measures` of one batch and layer.

    Gigabytes may come: in the driver's binary format, as bytes would come as twice as much text.
    """
    driver = session.connection().connection.driver_connection
    assert isinstance(driver, psycopg.Connection)  # noqa: S101  # the only driver there is
    names = ", ".join(f'"{LayerMeasures.__table__.c[name].name}"' for name in columns)
    wanted = f"SELECT {names} FROM layer_measures WHERE batch_id = %s AND layer_id = %s"  # noqa: S608  # columns
    (row,) = driver.execute(wanted.encode(), place, binary=True).fetchall()
    return tuple(row)


def load_layers(session: Session, family_id: int, metric_version: int) -> Iterator[LayerRow]:
    """Every stored layer of every finished batch of a family, by batch and layer, one after another."""
    columns = [field.name for field in fields(LayerRow)]
    for place in layer_places(session, family_id, metric_version):
        yield LayerRow(**dict(zip(columns, layer_columns(session, place, columns), strict=True)))


def load_singles(session: Session, family_id: int, metric_version: int) -> Iterator[SingleRow]:
    """The same, without pairs."""
    columns = [field.name for field in fields(SingleRow)]
    for place in layer_places(session, family_id, metric_version):
        yield SingleRow(*layer_columns(session, place, columns))


def load_pairs(session: Session, place: tuple[int, int], columns: Sequence[str]) -> PairRow:
    """Columns of pairs of one batch and layer."""
    return PairRow(**dict(zip(columns, layer_columns(session, place, columns), strict=True)))


def load_sketches(
    session: Session, layer_id: int, metric_version: int
) -> list[tuple[Sequence[int], Sequence[int], Sequence[bytes], bytes]]:
    """Of every finished batch, what it knows of a layer: its members, those it lost, their digests and sketches."""
    query = (
        select(MeasureBatch.members, MeasureBatch.lost, LayerMeasures.digest, LayerMeasures.sketch)
        .join(LayerMeasures, LayerMeasures.batch_id == MeasureBatch.id)
        .where(
            LayerMeasures.layer_id == layer_id,
            MeasureBatch.metric_version == metric_version,
            MeasureBatch.finished_at.is_not(None),
        )
        .order_by(MeasureBatch.id)
    )
    return [(members, lost, digest, sketch) for members, lost, digest, sketch in session.execute(query)]
