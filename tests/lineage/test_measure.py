"""Folders of safetensors, crawled and measured into the database, against direct computation."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import builders
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from sqlalchemy import Engine, select

from crawler.folder import FolderSource
from crawler.hub import HubSource
from crawler.pipeline import crawl
from crawler.source import Query
from db import lineage as rows
from db import measurements
from db.engine import transaction
from db.errors import Transient
from db.models import FailureRow, LayerMeasures, MeasureBatch, Repository
from hublineage.hub.faults import Faults
from hublineage.hub.server import HubServer
from lineage.family import FamilyMeasures
from lineage.infer import infer_family
from lineage.measure import METRIC_VERSION, Options, measure_family
from lineage.packed import pack, unpack
from lineage.recover import Parameters
from lineage.stored import load_measures

Tensors = dict[str, torch.Tensor]

SHAPES = {"wte.weight": (40, 16), "h.0.mlp.weight": (16, 64), "h.1.mlp.weight": (16, 64), "h.0.ln.bias": (16,)}
SMALL = Options(memory=20_000)


def network(seed: int, parent: Tensors | None = None) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    fresh = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
    if parent is None:
        return {**fresh, "rotary_emb.inv_freq": torch.arange(8.0)}
    return {name: values + 0.1 * fresh[name] if name in fresh else values for name, values in parent.items()}


class House:
    """A folder of models and the database that it is crawled into."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.folder, self.engine = folder, engine
        folder.mkdir(exist_ok=True)
        self.source: FolderSource | HubSource = FolderSource(folder)

    def write(self, name: str, tensors: Tensors, **metadata: str) -> None:
        """Write a model; metadata makes files with equal numbers differ."""
        path = self.folder / "org" / name / "model.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, path, metadata or None)

    def crawl(self) -> int:
        """Crawl, and return the one family's id."""
        crawled = crawl(self.engine, self.source, Query())
        with transaction(self.engine) as session:
            (family,) = measurements.families(session, crawled.source_id)
            return family.id

    def measure(self, options: Options = SMALL) -> int:
        return measure_family(self.engine, self.crawl(), "family", self.source, options=options)

    def load(self) -> tuple[FamilyMeasures, list[str]]:
        """The stored measures, and the names of their members."""
        family = self.crawl()
        with transaction(self.engine) as session:
            names = {member.revision_id: member.name for member in measurements.members(session, family)}
            found = load_measures(session, family)
        return found, [names[member].removeprefix("org/") for member in found.members]

    def batches(self) -> list[MeasureBatch]:
        with transaction(self.engine) as session:
            return list(session.scalars(select(MeasureBatch).order_by(MeasureBatch.id)))

    def failures(self) -> list[tuple[str, str, str | None, bool]]:
        """Model, kind, tensor and whether it is overcome."""
        query = select(Repository.name, FailureRow.kind, FailureRow.tensor, FailureRow.resolved_at).join(
            Repository, Repository.id == FailureRow.repository_id
        )
        with transaction(self.engine) as session:
            rows = session.execute(query.order_by(Repository.name)).all()
        return [(name.removeprefix("org/"), kind, tensor, at is not None) for name, kind, tensor, at in rows]

    def check(self, models: dict[str, Tensors]) -> FamilyMeasures:
        """What is stored of these models, and of no others, is what direct computation gives."""
        found, names = self.load()
        assert set(names) == set(models)
        chosen = [{name: values.double().numpy() for name, values in models[one].items()} for one in names]
        expected = builders.measured(chosen, found.layers, slopes=True)
        numeric = [index for index, layer in enumerate(found.layers) if layer.kind != "buffer"]
        for name, digits in (("squared_norm", 1e-9), ("variance", 1e-9), ("kurtosis", 1e-9), ("zeros", 0)):
            np.testing.assert_allclose(getattr(found, name)[numeric], getattr(expected, name)[numeric], rtol=digits)
        np.testing.assert_array_equal(found.count, expected.count)
        np.testing.assert_allclose(found.squared_distance[numeric], expected.squared_distance[numeric], rtol=1e-6)
        for layer in numeric:
            zero = expected.squared_distance[layer] == 0
            np.testing.assert_array_equal(found.squared_distance[layer] == 0, zero)
            for n, one in enumerate(found.digest[layer]):
                same = [other == one and bool(one) for other in found.digest[layer]]
                assert same == zero[n].tolist()
        return found


@pytest.fixture
def house(tmp_path: Path, engine: Engine) -> House:
    return House(tmp_path, engine)


def fill(house: House, *names: str) -> dict[str, Tensors]:
    root = network(0)
    models = {name: root if index == 0 else network(index, root) for index, name in enumerate(names)}
    for name, tensors in models.items():
        house.write(name, tensors)
    return models


def test_a_folder_is_measured_as_it_is_and_a_second_time_changes_nothing(house: House) -> None:
    models = fill(house, "a", "b", "c")
    assert house.measure() == len(SHAPES) + 1
    first = house.check(models)
    assert house.measure() == 0
    assert len(house.batches()) == 1
    again, _ = house.load()
    np.testing.assert_array_equal(first.slope, again.slope)
    assert np.isnan(np.diagonal(first.slope, axis1=1, axis2=2)).all()


def test_members_that_come_later_are_measured_among_themselves_and_against_the_old_ones(house: House) -> None:
    models = fill(house, "a", "b")
    house.measure()
    late = {"0-first": network(7, models["a"]), "frozen": {**network(8, models["b"]), **same(models["a"])}}
    for name, tensors in late.items():
        house.write(name, tensors)
    assert house.measure() == len(SHAPES) + 1
    in_two = house.check(models | late)
    assert [(len(batch.members), len(batch.against)) for batch in house.batches()] == [(2, 0), (2, 2)]
    for name in ("slope", "rank"):
        values = getattr(in_two, name)
        np.testing.assert_array_equal(values, (-1 if name == "slope" else 1) * values.transpose(0, 2, 1))


def same(parent: Tensors) -> Tensors:
    """Layers that a child left as they were."""
    return {"h.0.mlp.weight": parent["h.0.mlp.weight"], "h.0.ln.bias": parent["h.0.ln.bias"]}


def test_two_batches_give_the_numbers_of_one(house: House) -> None:
    models = fill(house, "a", "b")
    house.measure(Options())
    late = {"c": network(7, models["a"]), "d": {**network(8, models["b"]), **same(models["a"])}}
    for name, tensors in late.items():
        house.write(name, tensors)
    house.measure(Options())
    in_two, names = house.load()
    with transaction(house.engine) as session:
        for batch in session.scalars(select(MeasureBatch)):
            session.delete(batch)
    house.measure(Options())
    in_one, names_again = house.load()
    assert names == names_again
    assert in_two.layers == in_one.layers
    assert in_two.digest == in_one.digest
    for name in ("count", "zeros", "rank"):
        np.testing.assert_array_equal(getattr(in_two, name), getattr(in_one, name))
    for name in ("squared_norm", "variance", "kurtosis", "squared_distance"):
        np.testing.assert_allclose(getattr(in_two, name), getattr(in_one, name), rtol=1e-12)
    np.testing.assert_allclose(in_two.slope, in_one.slope, atol=1e-6)


def test_layers_that_a_member_lacks_are_empty_there(house: House) -> None:
    models = fill(house, "a", "b", "c")
    del models["b"]["h.1.mlp.weight"]
    models["c"]["head.weight"] = torch.randn((5, 16))
    for name in ("b", "c"):
        house.write(name, models[name])
    house.measure()
    found = house.check(models)
    (missing,) = [index for index, layer in enumerate(found.layers) if layer.name == "h.1.mlp.weight"]
    assert found.digest[missing][1] == b""
    assert (found.rank[missing, 1] == -1).all()


def test_formats_mix(house: House) -> None:
    models = fill(house, "a", "b", "c")
    for name, dtype in (("b", torch.bfloat16), ("c", torch.float16)):
        models[name] = {key: values.to(dtype) for key, values in models[name].items()}
        house.write(name, models[name])
    models["cast"] = {key: values.float() for key, values in models["b"].items()}
    house.write("cast", models["cast"])
    house.measure()
    found = house.check(models)
    trunk = [index for index, layer in enumerate(found.layers) if layer.kind == "trunk"]
    assert (found.squared_distance[trunk, 1, 3] == 0).all()


def test_numbers_that_are_none_lose_their_model_alone(house: House) -> None:
    models = fill(house, "a", "b", "c")
    models["b"]["h.0.mlp.weight"][3, 3] = torch.nan
    house.write("b", models["b"])
    house.measure()
    house.check({name: models[name] for name in ("a", "c")})
    assert house.failures() == [("b", "TensorUnusable", "h.0.mlp.weight", False)]
    assert house.measure() == 0
    house.measure(Options(memory=20_000, retry_failed=True))
    assert house.failures() == [("b", "TensorUnusable", "h.0.mlp.weight", False)]
    house.check({name: models[name] for name in ("a", "c")})


class Flaky(FolderSource):
    """A folder whose files cannot be read at times."""

    broken: frozenset[str] = frozenset()
    first = 0  # the byte from which on they cannot be read

    def read_into(self, name: str, sha: str, path: str, start: int, buffer: memoryview) -> None:
        if name.removeprefix("org/") in self.broken and start + len(buffer) > self.first:
            raise Transient("connection reset", model=name, file=path)
        super().read_into(name, sha, path, start, buffer)


@pytest.fixture
def flaky(house: House) -> House:
    house.source = Flaky(house.folder)
    return house


def break_down(house: House, *names: str, first: int = 0) -> None:
    assert isinstance(house.source, Flaky)
    house.source.broken, house.source.first = frozenset(names), first


def last_of(house: House, name: str, tensor: str) -> int:
    """The first byte of a tensor in its file."""
    content = (house.folder / "org" / name / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    return int(8 + length + header[tensor]["data_offsets"][0])


@pytest.mark.parametrize("tensor", ["h.1.mlp.weight", "rotary_emb.inv_freq"])
def test_a_model_that_could_not_be_read_for_a_moment_is_measured_by_the_next_call(flaky: House, tensor: str) -> None:
    models = fill(flaky, "a", "b", "c")
    break_down(flaky, "b", first=last_of(flaky, "b", tensor))
    flaky.measure()
    flaky.check({name: models[name] for name in ("a", "c")})
    assert [row[:2] + row[3:] for row in flaky.failures()] == [("b", "Transient", False)]
    flaky.measure()
    flaky.check({name: models[name] for name in ("a", "c")})
    break_down(flaky)
    flaky.measure()
    flaky.check(models)
    assert [row[:2] + row[3:] for row in flaky.failures()] == [("b", "Transient", True)]


def test_an_old_member_that_is_lost_while_others_are_measured_against_it_comes_back(flaky: House) -> None:
    models = fill(flaky, "a", "b")
    flaky.measure()
    models["c"] = network(9, models["a"])
    flaky.write("c", models["c"])
    break_down(flaky, "a")
    flaky.measure()
    flaky.check({name: models[name] for name in ("b", "c")})
    break_down(flaky)
    flaky.measure()
    flaky.check(models)
    assert flaky.measure() == 0


def test_work_goes_on_at_the_layer_where_it_was_cut(house: House) -> None:
    models = fill(house, "a", "b", "c")
    family, seen = house.crawl(), []

    def stop(progress: object) -> None:
        seen.append(progress)
        if len(seen) == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_family(house.engine, family, "family", house.source, options=SMALL, progress=stop)
    assert house.load()[1] == []
    with transaction(house.engine) as session:
        before = {row.layer_id: row.measured_at for row in session.scalars(select(LayerMeasures))}
    assert len(before) == 3
    # What has come meanwhile is measured in a batch of its own.
    models["d"] = network(4, models["a"])
    house.write("d", models["d"])
    assert house.measure() == len(SHAPES) + 1 - 3 + len(SHAPES) + 1
    house.check(models)
    with transaction(house.engine) as session:
        rows = session.scalars(select(LayerMeasures).where(LayerMeasures.layer_id.in_(before)))
        kept = [row.measured_at for row in rows if row.measured_at == before[row.layer_id]]
    assert len(kept) == 3


def test_small_tensors_of_a_model_cost_few_requests(tmp_path: Path, engine: Engine) -> None:
    house = House(tmp_path / "models", engine)
    shapes = {f"h.{layer}.{name}.weight": (24, 16) for layer in range(30) for name in ("a", "b")}
    models = {}
    for seed, name in enumerate(("a", "b", "c")):
        generator = torch.Generator().manual_seed(seed)
        models[name] = {key: torch.randn(shape, generator=generator) for key, shape in shapes.items()}
        house.write(name, models[name])
    faults = Faults()
    with HubServer(house.folder, faults=faults) as server, HubSource(server.url) as source:
        house.source = source
        family = house.crawl()
        faults.clear()
        assert measure_family(engine, family, "family", source, options=Options()) == 60
        asked = list(faults.asked)
        house.check(models)
    assert len([one for one in asked if one.startswith("GET /cdn/")]) == 3
    assert len(asked) <= 6


def test_models_with_equal_files_are_measured_once_and_inferred_as_duplicates(house: House) -> None:
    models = fill(house, "a", "b")
    shutil.copytree(house.folder / "org" / "a", house.folder / "org" / "z")
    house.write("same-numbers", models["b"], note="another file")
    house.measure()
    assert house.load()[1] == ["a", "b", "same-numbers"]
    with transaction(house.engine) as session:
        ids = {one.name.removeprefix("org/"): one.revision_id for one in measurements.members(session, house.crawl())}
    run = infer_family(house.engine, house.crawl(), Parameters(), weights_only=True)
    with transaction(house.engine) as session:
        groups = rows.duplicate_groups(session, run)
        (tree,) = rows.clusters(session, run)
        edges = {(edge.parent_id, edge.child_id) for edge in rows.edges(session, run) if edge.relation == "duplicate"}
    assert {frozenset(group) for group in groups} == {
        frozenset((ids["a"], ids["z"])),
        frozenset((ids["b"], ids["same-numbers"])),
    }
    assert set(tree[1]) == set(ids.values())
    assert edges == {(ids["a"], ids["z"]), (ids["b"], ids["same-numbers"])}


def test_a_copy_is_measured_once_its_original_is_gone(house: House) -> None:
    models = fill(house, "a", "b")
    shutil.copytree(house.folder / "org" / "a", house.folder / "org" / "z")
    house.measure()
    shutil.rmtree(house.folder / "org" / "a")
    house.measure()
    house.check({"b": models["b"], "z": models["a"]})


def test_a_new_commit_is_measured_anew_and_the_old_one_is_left_out(house: House) -> None:
    models = fill(house, "a", "b")
    house.measure()
    models["a"] = network(11, models["b"])
    house.write("a", models["a"])
    house.measure()
    house.check(models)


def test_measures_of_another_version_of_the_metric_are_not_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    models = fill(house, "a", "b")
    house.measure()
    monkeypatch.setattr("lineage.measure.METRIC_VERSION", METRIC_VERSION + 1)
    monkeypatch.setattr("lineage.stored.METRIC_VERSION", METRIC_VERSION + 1)
    assert house.load()[1] == []
    assert house.measure() == len(SHAPES) + 1
    house.check(models)


@pytest.mark.parametrize(("new", "old"), [(1, 0), (3, 0), (1, 4), (3, 2)])
def test_pair_numbers_are_packed_without_loss(new: int, old: int) -> None:
    values: NDArray[np.float64] = np.random.default_rng(0).normal(size=(new, new + old))
    against, own = unpack(pack(values), new, old, "<f8")
    np.testing.assert_array_equal(against, values[:, new:])
    np.testing.assert_array_equal(own, values[:, :new][np.triu_indices(new, 1)])


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
    found, names = house.load()
    check_estimates(found, [models[name] for name in names], names, exactly_read(house, second))


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


def wide(seed: int, parent: torch.Tensor | None = None, rank: int = 0) -> torch.Tensor:
    """A large matrix, or a child of one that differs by a rank (0: in all directions)."""
    generator = torch.Generator().manual_seed(seed)
    if parent is None:
        return torch.randn((330, 700), generator=generator)
    if not rank:
        return parent + 0.1 * torch.randn((330, 700), generator=generator)
    delta = torch.randn((330, rank), generator=generator) @ torch.randn((rank, 700), generator=generator)
    return parent + 0.1 * delta


def test_ranks_of_large_matrices_come_from_kept_sketches(house: House, tmp_path: Path) -> None:
    root = wide(0)
    models = {"root": root, "four": wide(1, root, 4), "full": wide(2, root)}
    for name, values in models.items():
        house.write(name, {"h.0.mlp.weight": values})
    options = Options(memory=1 << 26, sketches=tmp_path / "kept")
    house.measure(options)
    assert len(list((tmp_path / "kept").rglob("*.projection1"))) == 3
    house.write("nine", {"h.0.mlp.weight": wide(3, models["four"], 9).to(torch.float16)})
    house.measure(options)
    assert len(list((tmp_path / "kept").rglob("*.projection1"))) == 4
    check_ranks(house, {("root", "four"): 4, ("root", "full"): 330, ("four", "nine"): 9, ("root", "nine"): 13})
    for path in (tmp_path / "kept").rglob("*.projection1"):  # whatever becomes of them, ranks are right
        path.write_bytes(path.read_bytes()[:-1])
    house.write("five", {"h.0.mlp.weight": wide(4, root, 5)})
    house.measure(Options(memory=1 << 26))
    check_ranks(house, {("root", "five"): 5, ("four", "five"): 9})


def check_ranks(house: House, expected: dict[tuple[str, str], int]) -> None:
    found, names = house.load()
    for (one, other), rank in expected.items():
        assert found.rank[0, names.index(one), names.index(other)] == rank
        assert found.rank[0, names.index(other), names.index(one)] == rank
