"""What sketches save and what they cost in accuracy: `python -m benchmarks.incremental [ZOO ...]`.

Prints Markdown rows. For each zoo (a folder with its truth.json, as `benchmarks.zoo` writes it) half of the models are
measured, then the others a few at a time, each against its nearest by sketches alone; the trees recovered from that are
scored beside those from all pairs exactly, with the error of the estimated distances. Then a model is added to made-up
families of growing size, and the bytes are counted that are read for it, in models.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks.measured import read_truth
from benchmarks.recovery import scores
from crawler.folder import FolderSource
from crawler.pipeline import crawl
from crawler.source import Query
from db import embedded, measurements, schema
from db.engine import connect, transaction
from lineage.cluster import trunk_sums
from lineage.family import FamilyMeasures
from lineage.measure import measure_family
from lineage.measure_options import Options
from lineage.stored import load_measures

SHAPES = {"wte.weight": (512, 256), "h.0.mlp.weight": (256, 512), "h.1.mlp.weight": (256, 512), "ln.bias": (256,)}
EXACT = Options(exact_members=1 << 30)


class Counting(FolderSource):
    """A folder that counts the bytes that are read of weights."""

    total = 0

    def read_into(self, name: str, sha: str, path: str, start: int, buffer: memoryview) -> None:
        """As the folder does."""
        self.total += len(buffer)
        super().read_into(name, sha, path, start, buffer)


@dataclass
class House:
    """A folder that models move into, and the database that they are measured into."""

    data: Path
    folder: Path
    source: Counting = field(init=False)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.source = Counting(self.folder)
        self._engine = connect(embedded.start(self.data))
        schema.upgrade(self._engine)

    def measure(self, options: Options) -> list[int]:
        """Measure what is new; the families."""
        crawled = crawl(self._engine, self.source, Query())
        self.source.total = 0
        start = time.perf_counter()
        with transaction(self._engine) as session:
            families = [(family.id, family.name) for family in measurements.families(session, crawled.source_id)]
        for family in families:
            measure_family(self._engine, *family, self.source, options=options)
        self.seconds = time.perf_counter() - start
        return [family for family, _ in families]

    def load(self, families: Sequence[int]) -> list[tuple[FamilyMeasures, tuple[str, ...]]]:
        """The measures of each family and its members' names."""
        found = []
        with transaction(self._engine) as session:
            for family in families:
                names = {one.revision_id: one.name for one in measurements.members(session, family)}
                measures = load_measures(session, family)
                found.append((measures, tuple(names[one] for one in measures.members)))
        return found

    def close(self) -> None:
        """Stop the database."""
        self._engine.dispose()
        embedded.stop(self.data)


def of_zoo(zoo: Path, scratch: Path, step: int, neighbours: int) -> None:
    """One row: trees from estimates beside those from exact distances, and the error of the estimates."""
    truth = read_truth(zoo)
    folders = sorted(path.parent for path in zoo.rglob("*.safetensors"))
    order = [folders[index] for index in np.random.default_rng(0).permutation(len(folders))]
    options = Options(exact_members=1, exact_neighbours=neighbours)
    found = []
    for name, chosen in (("exact", EXACT), ("sketched", options)):
        house = House(scratch / f"{zoo.name}-{name}-db", scratch / f"{zoo.name}-{name}")
        try:
            for first in [0, *range(len(order) // 2, len(order), step)]:
                for model in order[first : len(order) // 2 if first == 0 else first + step]:
                    shutil.copytree(model, house.folder / model.parent.name / model.name)
                families = house.measure(chosen)
            found.append(house.load(families))
        finally:
            house.close()
    errors, bounds, pairs, estimated = errors_of(*found)
    exact, sketched = (scores(families, truth)["recover"] for families in found)
    print(f"| {zoo.name} | {len(order)} | {neighbours} | {estimated} of {pairs} | {np.median(errors):.2%}"
          f" | {max(errors):.1%} | {max(bounds):.1%} | {exact.undirected:.3f} / {sketched.undirected:.3f}"
          f" | {exact.directed:.3f} / {sketched.directed:.3f}"
          f" | {exact.roots:.2f} / {sketched.roots:.2f} |", flush=True)  # fmt: skip


def errors_of(
    exact: list[tuple[FamilyMeasures, tuple[str, ...]]], sketched: list[tuple[FamilyMeasures, tuple[str, ...]]]
) -> tuple[list[float], list[float], int, int]:
    """Relative errors of estimated squared distances over all trunk layers, their bounds, and counts of pairs."""
    errors, bounds, pairs, estimated = [0.0], [0.0], 0, 0
    for (one, names), (other, others) in zip(exact, sketched, strict=True):
        place = [names.index(name) for name in others]
        true = trunk_sums(one).squared_distance[np.ix_(place, place)]
        near = trunk_sums(other).squared_distance
        pairs += len(place) * (len(place) - 1) // 2
        if other.estimated is None or other.estimate_error is None:
            continue
        trunk = [number for number, layer in enumerate(other.layers) if layer.kind == "trunk"]
        each = np.nan_to_num(other.squared_distance[trunk]) * other.estimate_error[trunk, None, None]
        for a, b in zip(*np.nonzero(np.triu(other.estimated)), strict=True):
            estimated += 1
            errors.append(abs(near[a, b] / true[a, b] - 1))
            bounds.append(float(np.linalg.norm(each[:, a, b]) / true[a, b]))
    return errors, bounds, pairs, estimated


def growth(scratch: Path, sizes: Sequence[int], neighbours: int) -> None:
    """Rows: what one model more costs families of these sizes, measured exactly and by sketches."""
    one = sum(int(np.prod(shape)) for shape in SHAPES.values()) * 4
    for name, chosen in (("exactly", EXACT), ("by sketches", Options(exact_members=1, exact_neighbours=neighbours))):
        house = House(scratch / f"growth-{name[:2]}-db", scratch / f"growth-{name[:2]}")
        generator = torch.Generator().manual_seed(0)
        models: list[dict[str, torch.Tensor]] = []
        try:
            for size in sizes:
                while len(models) < size:
                    models.append(grow(house.folder, models, generator))
                house.measure(EXACT)
                models.append(grow(house.folder, models, generator))
                house.measure(chosen)
                read = house.source.total / one
                print(
                    f"| {size} | {name} | {read:.1f} | {house.seconds:.2f} s | {os.getloadavg()[0]:.1f} |", flush=True
                )
        finally:
            house.close()


def grow(folder: Path, models: list[dict[str, torch.Tensor]], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Write one model more, a child of one of the models."""
    fresh = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    if models:
        parent = models[int(torch.randint(len(models), (), generator=generator))]
        fresh = {name: parent[name] + 0.1 * values for name, values in fresh.items()}
    path = folder / "org" / f"model-{len(models):04}" / "model.safetensors"
    path.parent.mkdir(parents=True)
    save_file(fresh, path)
    return fresh


def main() -> int:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("zoos", type=Path, nargs="*", metavar="ZOO")
    parser.add_argument("--step", type=int, default=3, help="models that come at a time")
    parser.add_argument("--neighbours", type=int, default=4, help="that each of them is measured against exactly")
    parser.add_argument("--sizes", type=int, nargs="*", default=[16, 32, 64, 128])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hublineage-incremental-", ignore_cleanup_errors=True) as scratch:
        if options.zoos:
            print("| zoo | models | exact neighbours | estimated pairs | median error | largest"
                  " | standard error, at most | undirected: exact / sketched | directed | roots |")  # fmt: skip
            print("|---|---|---|---|---|---|---|---|---|---|")
        for zoo in options.zoos:
            of_zoo(zoo, Path(scratch), options.step, options.neighbours)
        if options.sizes:
            print("\n| family | one more is measured | models read | time | load |\n|---|---|---|---|---|")
            growth(Path(scratch), options.sizes, 16)
    return 0


if __name__ == "__main__":
    sys.exit(main())
