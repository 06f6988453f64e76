"""A synthetic family of `benchmarks.scale_family` in a database, and its trees from there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.scale_family import dense_rows, digests, singles
from benchmarks.storage import catalogue
from db import layer_measures, measurements
from db import lineage as rows
from db.engine import transaction
from hublineage.database import database
from hublineage.settings import Settings
from lineage.infer import infer_family
from lineage.measure_options import METRIC_VERSION
from lineage.parameters import Parameters


def fill(folder: Path, members: int, layers: int, seed: int) -> None:
    """Store a family of which one batch measured all pairs, under `folder`, and its id in family.txt there."""
    with database(Settings(data_dir=folder / "data")) as engine:
        family, revisions, places = catalogue(engine, members, layers)
        with transaction(engine) as session:
            batch = measurements.open_batch(session, family, METRIC_VERSION, revisions, []).id
        numbers = singles(members, layers, seed)
        whole = ("count", "zeros", "outliers", "form")
        pairs = members * (members - 1) // 2
        for layer, place in enumerate(places):
            squared, slope = zip(*dense_rows(members, layer, seed), strict=True)
            columns = {name: values[layer].tolist() for name, values in numbers.items()}
            columns |= {name: numbers[name][layer].astype(int).tolist() for name in whole}
            columns |= {name: [0.0] * members for name in ("mean", "skewness", "minimum", "maximum")}
            packed = {
                "digest": digests(members, layer),
                "squared_distance": np.concatenate(squared).astype("<f8").tobytes(),
                "slope": np.concatenate(slope).astype("<f4").tobytes(),
                "rank": np.full(pairs, -1, dtype="<i2").tobytes(),
                "equal": np.zeros(pairs, dtype="<f4").tobytes(),
                "lost": b"",
                "lost_of": b"",
                "sketch": np.zeros((members, place.buckets)).tobytes(),
            }
            with transaction(engine) as session:
                layer_measures.store_layer(session, batch, place.id, {**columns, **packed})
        with transaction(engine) as session:
            measurements.finish_batch(session, batch).finished_at = datetime.now(UTC)
    (folder / "family.txt").write_text(str(family))


def inferred(
    data: Path, family: int, parameters: Parameters
) -> tuple[list[tuple[int, int]], list[int], list[float], int]:
    """(parent, child) of all edges, roots, confidences and how many edges are decided, members by position."""
    with database(Settings(data_dir=data)) as engine:
        run = infer_family(engine, family, parameters, weights_only=True)
        with transaction(engine) as session:
            members = [member.revision_id for member in measurements.members(session, family)]
            place = {revision: position for position, revision in enumerate(members)}
            edges = rows.edges(session, run)
            pairs = [(place[edge.parent_id], place[edge.child_id]) for edge in edges]
            roots = [place[one.root_revision_id] for one, _ in rows.clusters(session, run) if one.root_revision_id]
            return pairs, roots, [edge.confidence for edge in edges], sum(edge.decided for edge in edges)
