"""New members of large families: compared by sketches, and measured against the nearest alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from house import House, Tensors, network

from crawler.folder import FolderSource
from db import lineage as rows
from db import measurements
from db.engine import transaction
from db.models import MeasureBatch
from lineage.family import FamilyMeasures
from lineage.infer import infer_family
from lineage.measure import measure_family
from lineage.measure_options import Options
from lineage.parameters import Parameters


class Counting(FolderSource):
    """A folder that counts the bytes of weights that are read of each model."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.read: dict[str, int] = {}

    def read_into(self, name: str, sha: str, path: str, start: int, buffer: memoryview) -> None:
        short = name.removeprefix("org/")
        self.read[short] = self.read.get(short, 0) + len(buffer)
        super().read_into(name, sha, path, start, buffer)


def bytes_of(tensors: Tensors) -> int:
    return sum(values.numel() * values.itemsize for values in tensors.values())


def lineage_of(count: int) -> dict[str, Tensors]:
    """Two roots, far from one another, and the children of the first."""
    models = {"root": network(0), "stranger": network(99)}
    for number in range(count):
        models[f"child-{number:02}"] = network(number + 1, models["root"])
    return models


FEW = Options(memory=1 << 26, exact_members=4, exact_neighbours=2)


def test_new_members_of_a_large_family_are_compared_by_sketches_and_exactly_with_their_nearest_alone(
    house: House,
) -> None:
    models = lineage_of(8)
    for name, tensors in models.items():
        house.write(name, tensors)
    house.measure(FEW)
    models["late"] = network(50, models["child-03"])
    models["later"] = network(51, models["stranger"])
    for name in ("late", "later"):
        house.write(name, models[name])
    source = house.source = Counting(house.folder)
    family = house.crawl()
    source.read.clear()
    measure_family(house.engine, family, "family", source, options=FEW)
    first, second = house.batches()
    assert first.against == []
    assert len(second.members) == 2
    assert len(second.against) <= 2 * 2 + 2
    assert set(source.read) - {"late", "later"} == exactly_read(house, second)
    assert {"child-03", "stranger"} <= set(source.read)
    assert source.read["late"] <= 2 * bytes_of(models["late"])
    assert [joined_by(house, batch) for batch in (first, second)] == [None, {*second.members, *first.members}]
    found, names = house.load()
    check_estimates(found, [models[name] for name in names], names, exactly_read(house, second))


def test_the_tree_of_estimates_is_kept_from_batch_to_batch(house: House) -> None:
    models = lineage_of(6)
    for name, tensors in models.items():
        house.write(name, tensors)
    house.measure(FEW)
    for number, name in enumerate(("late", "later", "last")):
        house.write(name, network(60 + number, models["child-03"]))
        house.measure(FEW)
    *before, batch = house.batches()
    everybody = {one for each in (*before, batch) for one in each.members}
    assert [joined_by(house, each) for each in before] == [None] * 3
    assert joined_by(house, batch) == everybody


def joined_by(house: House, batch: MeasureBatch) -> set[int] | None:
    """The revisions that the tree which a batch left joins."""
    with transaction(house.engine) as session:
        kept = session.get_one(MeasureBatch, batch.id).spanning
    if kept is None:
        return None
    revisions = np.frombuffer(kept, dtype=[("ends", "<i8", 2), ("squared", "<f4")])["ends"]
    assert len(revisions) == len(set(revisions.ravel().tolist())) - 1
    return set(revisions.ravel().tolist())


def exactly_read(house: House, batch: MeasureBatch) -> set[str]:
    with transaction(house.engine) as session:
        return {measurements.member(session, one).name.removeprefix("org/") for one in batch.against}


def check_estimates(found: FamilyMeasures, models: list[Tensors], names: list[str], near: set[str]) -> None:
    """Pairs of the two late ones with those far away are estimates, within four standard errors, and all else exact."""
    assert found.estimated is not None
    assert found.estimate_error is not None
    late = np.array([name.startswith("late") for name in names])
    far = ~late & np.array([name not in near for name in names])
    np.testing.assert_array_equal(found.estimated, (late[:, None] & far) | (far[:, None] & late))
    for number, layer in enumerate(found.layers):
        if layer.kind == "buffer":
            continue
        values = np.stack([model[layer.name].double().numpy().ravel() for model in models])
        true = ((values[:, None] - values[None]) ** 2).sum(axis=2)
        error = np.abs(found.squared_distance[number] - true)
        assert (error <= np.where(found.estimated, 4 * found.estimate_error[number], 1e-6) * true).all()
        np.testing.assert_array_equal(found.squared_distance[number] == 0, true == 0)
        assert np.isnan(found.slope[number][found.estimated]).all()
        assert (found.rank[number][found.estimated] == -1).all()


def test_inference_takes_families_with_estimated_pairs(house: House) -> None:
    models = lineage_of(6)
    for name, tensors in models.items():
        house.write(name, tensors)
    house.measure(FEW)
    house.write("late", network(50, models["child-03"]))
    house.measure(FEW)
    with transaction(house.engine) as session:
        ids = {one.revision_id: one.name.removeprefix("org/") for one in measurements.members(session, house.crawl())}
    run = infer_family(house.engine, house.crawl(), Parameters(), weights_only=True)
    with transaction(house.engine) as session:
        pairs = {frozenset((ids[edge.parent_id], ids[edge.child_id])) for edge in rows.edges(session, run)}
    assert pairs == {frozenset(("root", f"child-{number:02}")) for number in range(6)} | {
        frozenset(("late", "child-03"))
    }
