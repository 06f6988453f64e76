"""A family in a folder, measured into a real database: what is loaded is what direct computation gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.stats import kurtosis
from sqlalchemy import Engine, func, select, text, update

from crawler.folder import FolderSource
from crawler.pipeline import crawl
from crawler.source import Query
from db import measurements
from db.engine import transaction
from db.models import LayerMeasures, MeasureBatch, Revision
from lineage.family import FamilyMeasures
from lineage.measure import Options, Progress, measure_family, pack, unpack
from lineage.stored import load_measures

Model = dict[str, NDArray[np.float32]]
SHAPES = {"layers.0.weight": (24, 20), "layers.1.weight": (24, 24), "layers.2.weight": (16, 24), "layers.0.bias": (24,)}


def family_of(count: int, seed: int = 0) -> list[Model]:
    rng = np.random.default_rng(seed)
    base = {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
    return [
        {
            name: values + 0.02 * index * rng.normal(size=values.shape).astype(np.float32)
            for name, values in base.items()
        }
        for index in range(count)
    ]


def write(folder: Path, name: str, model: Model) -> None:
    (folder / "org" / name).mkdir(parents=True, exist_ok=True)
    save_file(model, folder / "org" / name / "model.safetensors")


_WHEN = select(LayerMeasures.batch_id, LayerMeasures.layer_id, LayerMeasures.measured_at)


class Measured:
    """A folder and a database; `measure` crawls and measures what is new."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine, self.folder = engine, folder
        self.steps: list[Progress] = []

    def measure(self, **options: object) -> tuple[FamilyMeasures, list[str]]:
        source = FolderSource(self.folder)
        crawled = crawl(self.engine, source, Query())
        with transaction(self.engine) as session:
            (family,) = measurements.families(session, crawled.source_id)
        measure_family(
            self.engine,
            family.id,
            family.name,
            source,
            options=Options(**options),  # type: ignore[arg-type]
            progress=self.steps.append,
        )
        with transaction(self.engine) as session:
            names = {one.revision_id: one.name for one in measurements.members(session, family.id)}
            found = load_measures(session, family.id)
        return found, [names[one] for one in found.members]


@pytest.fixture
def measured(engine: Engine, tmp_path: Path) -> Measured:
    return Measured(engine, tmp_path)


def direct(models: list[Model], layer: str) -> NDArray[np.float64]:
    flat = np.array([model[layer].ravel() for model in models], dtype=np.float64)
    found: NDArray[np.float64] = ((flat[:, None] - flat[None, :]) ** 2).sum(axis=2)
    return found


def check(found: FamilyMeasures, names: list[str], models: dict[str, Model]) -> None:
    order = [models[name] for name in names]
    for index, layer in enumerate(found.layers):
        np.testing.assert_allclose(found.squared_distance[index], direct(order, layer.name), rtol=1e-9, atol=1e-12)
        values = [model[layer.name].astype(np.float64).ravel() for model in order]
        np.testing.assert_allclose(found.squared_norm[index], [one @ one for one in values], rtol=1e-12)
        np.testing.assert_allclose(found.kurtosis[index], [kurtosis(one, fisher=False) for one in values], rtol=1e-9)
    assert np.array_equal(found.slope, -found.slope.transpose(0, 2, 1), equal_nan=True)
    assert np.array_equal(found.rank, found.rank.transpose(0, 2, 1))


def test_loaded_measures_equal_direct_computation(measured: Measured) -> None:
    models = {f"org/m{index}": model for index, model in enumerate(family_of(6))}
    for name, model in models.items():
        write(measured.folder, name.split("/")[1], model)
    found, names = measured.measure()
    assert sorted(names) == sorted(models)
    assert {layer.name for layer in found.layers} == set(SHAPES)
    check(found, names, models)
    assert measured.steps[-1].done == measured.steps[-1].layers == len(SHAPES)


def test_little_memory_changes_no_number(measured: Measured) -> None:
    models = {f"org/m{index}": model for index, model in enumerate(family_of(4))}
    for name, model in models.items():
        write(measured.folder, name.split("/")[1], model)
    found, names = measured.measure(memory=20_000)
    check(found, names, models)


def test_new_members_are_measured_against_the_old_and_the_old_not_again(measured: Measured) -> None:
    models = {f"org/m{index}": model for index, model in enumerate(family_of(7))}
    for name in list(models)[:4]:
        write(measured.folder, name.split("/")[1], models[name])
    measured.measure()
    with transaction(measured.engine) as session:
        before = session.execute(_WHEN).all()
    for name in list(models)[4:]:
        write(measured.folder, name.split("/")[1], models[name])
    found, names = measured.measure()
    check(found, names, models)
    with transaction(measured.engine) as session:
        sizes = session.execute(
            select(func.cardinality(MeasureBatch.members), func.cardinality(MeasureBatch.against)).order_by(
                MeasureBatch.id
            )
        ).all()
        after = session.execute(_WHEN).all()
    assert [tuple(row) for row in sizes] == [(4, 0), (3, 4)]
    assert set(before) < set(after)


def test_a_layer_that_a_member_lacks_is_nan_for_its_pairs(measured: Measured) -> None:
    models = family_of(3)
    del models[1]["layers.2.weight"]
    for index, model in enumerate(models):
        write(measured.folder, f"m{index}", model)
    found, names = measured.measure()
    layer = next(index for index, one in enumerate(found.layers) if one.name == "layers.2.weight")
    lacking = names.index("org/m1")
    assert found.count[layer, lacking] == 0
    assert found.digest[layer][lacking] == b""
    assert np.isnan(found.squared_distance[layer, lacking]).all()
    assert np.isfinite(np.delete(np.delete(found.squared_distance[layer], lacking, 0), lacking, 1)).all()


def test_a_member_with_nan_is_left_out_and_the_others_are_as_without_it(measured: Measured) -> None:
    models = family_of(5)
    models[2]["layers.1.weight"][3, 3] = np.nan
    for index, model in enumerate(models):
        write(measured.folder, f"m{index}", model)
    found, names = measured.measure()
    assert sorted(names) == ["org/m0", "org/m1", "org/m3", "org/m4"]
    check(found, names, {f"org/m{index}": model for index, model in enumerate(models)})
    models = family_of(5)
    with transaction(measured.engine) as session:
        reasons = session.execute(text("SELECT model, file, tensor, reason FROM hublineage.failures")).all()
    assert [tuple(row)[:3] for row in reasons] == [("org/m2", "model.safetensors", "layers.1.weight")]
    write(measured.folder, "m2", models[2])
    _, names = measured.measure()
    assert len(names) == 5


def test_members_with_equal_file_hashes_are_read_once(measured: Measured) -> None:
    for index, model in enumerate(family_of(3)):
        write(measured.folder, f"m{index}", model)
    source = FolderSource(measured.folder)
    crawled = crawl(measured.engine, source, Query())
    with transaction(measured.engine) as session:
        (family,) = measurements.families(session, crawled.source_id)
        members = measurements.members(session, family.id)
        for member, digest in zip(members, (b"x", b"x", b"y"), strict=True):
            session.execute(update(Revision).where(Revision.id == member.revision_id).values(weights_digest=digest))
    measure_family(measured.engine, family.id, family.name, source, options=Options())
    with transaction(measured.engine) as session:
        assert len(load_measures(session, family.id).members) == 2


@pytest.mark.parametrize(("new", "old"), [(1, 0), (1, 3), (4, 0), (3, 2)])
def test_packed_pairs_are_unpacked_as_they_were(new: int, old: int) -> None:
    rng = np.random.default_rng(new)
    pairs = rng.normal(size=(new, new + old))
    against, own = unpack(pack(pairs), new, old, "<f8")
    assert np.array_equal(against, pairs[:, new:])
    assert np.array_equal(own, pairs[:, :new][np.triu_indices(new, 1)])
