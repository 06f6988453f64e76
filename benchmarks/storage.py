"""How much room the measures of a large family take, and how fast they load: `python -m benchmarks.storage`.

Writes made-up measures of 1,000 members and 200 layers into a scratch database (random numbers, which no compression
helps; ranks of the 16 nearest of each member, as measuring takes them), in one batch or several, and loads them as
inference does. Exits with 1 where they take 3 GB or more.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import Engine, text

from db import embedded, layer_measures, measurements, schema
from db.engine import connect, transaction
from db.models import Family, FamilyLayer, Repository, Revision, SourceRow
from lineage.measure_options import METRIC_VERSION
from lineage.packed import pack
from lineage.sketch import buckets
from lineage.stored import load_measures

SIDE = 1024  # of every layer
NEAREST = 16
LIMIT = 3e9


def catalogue(engine: Engine, members: int, layers: int) -> tuple[int, list[int], list[FamilyLayer]]:
    """A family, its revisions and its layers."""
    with transaction(engine) as session:
        source = SourceRow(name="file:///made-up")
        session.add(source)
        session.flush()
        family = Family(source_id=source.id, name="made-up")
        session.add(family)
        session.flush()
        revisions = []
        for number in range(members):
            repository = Repository(source_id=source.id, name=f"org/{number}")
            session.add(repository)
            session.flush()
            revision = Revision(
                repository_id=repository.id, sha=f"{number:040x}", weights="safetensors", family_id=family.id
            )
            session.add(revision)
            session.flush()
            repository.current_revision_id = revision.id
            revisions.append(revision.id)
        shares = buckets([SIDE * SIDE] * layers)
        rows = [
            FamilyLayer(
                family_id=family.id, position=n, name=f"h.{n}", shape=[SIDE, SIDE], kind="trunk", buckets=shares[n]
            )
            for n in range(layers)
        ]
        session.add_all(rows)
        session.flush()
        session.expunge_all()
        return family.id, revisions, rows


def store(engine: Engine, family: int, revisions: list[int], layers: list[FamilyLayer], batches: int) -> None:
    """Made-up measures, one batch after another."""
    random = np.random.default_rng(0)
    for part in np.array_split(np.arange(len(revisions)), batches):
        new, old = [revisions[index] for index in part], revisions[: part[0]]
        with transaction(engine) as session:
            batch = measurements.open_batch(session, family, METRIC_VERSION, new, old).id
        for layer in layers:
            pairs = (len(new), len(new) + len(old))
            rank = np.full(pairs, -1, dtype=np.int16)
            for row in rank:
                row[random.integers(0, len(row), NEAREST)] = random.integers(1, SIDE, NEAREST)
            numbers = ("mean", "variance", "skewness", "kurtosis", "squared_norm", "minimum", "maximum")
            columns = {name: random.random(len(new)).tolist() for name in numbers}
            with transaction(engine) as session:
                layer_measures.store_layer(
                    session,
                    batch,
                    layer.id,
                    {
                        **columns,
                        "count": [SIDE * SIDE] * len(new),
                        "zeros": [0] * len(new),
                        "outliers": [0] * len(new),
                        "form": [0] * len(new),
                        "digest": [random.bytes(16) for _ in new],
                        "squared_distance": pack(random.random(pairs)),
                        "slope": pack(random.standard_normal(pairs).astype(np.float32)),
                        "rank": pack(rank),
                        "equal": pack(np.zeros(pairs, dtype=np.float32)),
                        "lost": b"",
                        "lost_of": b"",
                        "sketch": random.standard_normal((len(new), layer.buckets)).tobytes(),
                    },
                )
        with transaction(engine) as session:
            measurements.finish_batch(session, batch).finished_at = datetime.now(UTC)


def main() -> int:
    """Store, weigh and load."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--members", type=int, default=1_000)
    parser.add_argument("--layers", type=int, default=200)
    parser.add_argument("--batches", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hublineage-storage-", ignore_cleanup_errors=True) as folder:
        engine = connect(embedded.start(Path(folder)))
        try:
            schema.upgrade(engine)
            start = time.perf_counter()
            family, revisions, layers = catalogue(engine, options.members, options.layers)
            store(engine, family, revisions, layers, options.batches)
            stored = time.perf_counter() - start
            with engine.connect() as connection:
                size = int(connection.execute(text("SELECT pg_total_relation_size('layer_measures')")).scalar_one())
            times = []
            begun = time.process_time()
            for _ in range(options.repeats):
                start = time.perf_counter()
                with transaction(engine) as session:
                    measures = load_measures(session, family)
                times.append(time.perf_counter() - start)
                arrays = sum(value.nbytes for value in vars(measures).values() if isinstance(value, np.ndarray))
                assert len(measures.members) == options.members
                assert np.isfinite(measures.squared_distance).all()
                del measures
            processor = (time.process_time() - begun) / options.repeats
        finally:
            engine.dispose()
            embedded.stop(Path(folder))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print("| members | layers | batches | in PostgreSQL | stored in | loaded in: least - most (own processor time)"
          " | arrays | peak memory | load |\n|---|---|---|---|---|---|---|---|---|")  # fmt: skip
    print(
        f"| {options.members} | {options.layers} | {options.batches} | {size / 1e9:.2f} GB | {stored:.0f} s"
        f" | {min(times):.1f} - {max(times):.1f} s ({processor:.1f} s) | {arrays / 1e9:.2f} GB | {peak / 1e9:.2f} GB"
        f" | {os.getloadavg()[0]:.1f} |"
    )
    return 0 if size < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
