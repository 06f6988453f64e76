"""Folders of safetensors, crawled and measured into the database, against direct computation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from house import SHAPES, SMALL, House, fill, network
from sqlalchemy import Engine, select

from crawler.hub import HubSource
from db.engine import transaction
from db.models import LayerMeasures
from hublineage.hub.faults import Faults
from hublineage.hub.server import HubServer
from lineage.measure import measure_family
from lineage.measure_options import METRIC_VERSION, Options


def test_a_folder_is_measured_as_it_is_and_a_second_time_changes_nothing(house: House) -> None:
    models = fill(house, "a", "b", "c")
    assert house.measure() == len(SHAPES) + 1
    first = house.check(models)
    assert house.measure() == 0
    assert len(house.batches()) == 1
    again, _ = house.load()
    np.testing.assert_array_equal(first.slope, again.slope)
    assert np.isnan(np.diagonal(first.slope, axis1=1, axis2=2)).all()


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


def test_measures_of_another_version_of_the_metric_are_not_read(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    models = fill(house, "a", "b")
    house.measure()
    monkeypatch.setattr("lineage.measure.METRIC_VERSION", METRIC_VERSION + 1)
    monkeypatch.setattr("lineage.stored.METRIC_VERSION", METRIC_VERSION + 1)
    assert house.load()[1] == []
    assert house.measure() == len(SHAPES) + 1
    house.check(models)


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
