"""Models that bitsandbytes stored in int8, crawled, measured and placed among their float sisters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file
from sqlalchemy import Engine, select

from crawler.folder import FolderSource
from crawler.pipeline import crawl
from crawler.source import Query
from db import lineage as rows
from db import measurements
from db.engine import transaction
from db.models import FailureRow, Repository
from lineage.family import FamilyMeasures
from lineage.infer import infer_family
from lineage.measure import measure_family
from lineage.measure_options import Options
from lineage.parameters import Parameters
from lineage.stored import load_measures

Tensors = dict[str, NDArray[Any]]

MATRICES = {f"encoder.{block}.{part}.weight": (48, 64) for block in range(3) for part in ("query", "value")}
SHAPES = {"embed.weight": (30, 64), **MATRICES, "encoder.norm.weight": (64,)}
CONFIG = {"model_type": "tiny", "quantization_config": {"load_in_8bit": True, "quant_method": "bitsandbytes"}}


def network(seed: int, parent: Tensors | None = None, rank: int = 0) -> Tensors:
    """A network whose rows are of very different sizes, or a child: all numbers moved, or matrices by a low rank."""
    rng = np.random.default_rng(seed)
    fresh = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    if parent is None:
        return {
            name: (values * (10 ** rng.uniform(-1, 1, (len(values), 1)) if values.ndim > 1 else 1)).astype(np.float32)
            for name, values in fresh.items()
        }
    child = dict(parent)
    for name, values in parent.items():
        change = fresh[name]
        if rank and name in MATRICES:
            change = rng.normal(size=(len(values), rank)) @ rng.normal(size=(rank, values.shape[1]))
        elif rank:
            continue
        sizes = values.std(axis=-1, keepdims=True)
        child[name] = (values + 0.2 * sizes * change).astype(np.float32)
    return child


def packed(weights: Tensors) -> Tensors:
    """The matrices in int8 with their scales, all else in float16."""
    stored: Tensors = {}
    for name, values in weights.items():
        if name not in MATRICES and values.shape != (330, 700):
            stored[name] = values.astype(np.float16)
            continue
        half = values.astype(np.float16).astype(np.float32)
        scale = np.abs(half).max(axis=1)
        stored[name] = np.rint(half * (127 / scale)[:, None]).astype(np.int8)
        stored[name.removesuffix("weight") + "SCB"] = scale
        stored[f"{name}_format"] = np.array(0, np.uint8)
    return stored


def plain(stored: Tensors) -> Tensors:
    """The values that stored tensors stand for."""
    return {
        name: values.astype(np.float32) * (stored[name.removesuffix("weight") + "SCB"] / np.float32(127))[:, None]
        if values.dtype == np.int8
        else values.astype(np.float32)
        for name, values in stored.items()
        if not name.endswith(("SCB", "weight_format"))
    }


def write(root: Path, name: str, tensors: Tensors, *, scales_apart: bool = False) -> None:
    """Write a model, with the scales in a file of their own where that is asked for."""
    folder = root / "org" / name
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    if not scales_apart:
        save_file(tensors, folder / "model.safetensors")
        return
    shards = {
        "model-00001-of-00002.safetensors": {key: tensors[key] for key in tensors if not key.endswith("SCB")},
        "model-00002-of-00002.safetensors": {key: tensors[key] for key in tensors if key.endswith("SCB")},
    }
    for path, some in shards.items():
        save_file(some, folder / path)
    places = {key: path for path, some in shards.items() for key in some}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))


def measured(root: Path, engine: Engine, options: Options) -> tuple[int, FamilyMeasures, dict[int, str]]:
    """The one family of a folder: its id, its measures, and its members' names."""
    source = FolderSource(root)
    crawled = crawl(engine, source, Query())
    with transaction(engine) as session:
        (family,) = [one.id for one in measurements.families(session, crawled.source_id)]
    measure_family(engine, family, "family", source, options=options)
    with transaction(engine) as session:
        names = {one.revision_id: one.name.removeprefix("org/") for one in measurements.members(session, family)}
        return family, load_measures(session, family), names


@pytest.mark.parametrize("memory", [300_000, 1 << 30])
def test_int8_models_are_measured_as_what_they_stand_for_and_find_their_place(
    tmp_path: Path, engine: Engine, memory: int
) -> None:
    root = network(0)
    stored = {
        "root": root,
        "root-int8": packed(root),
        "child": packed(network(1, root)),
        "adapted": packed(network(2, root, rank=3)),
        "float-child": network(3, root),
    }
    stored["grandchild"] = network(4, plain(stored["child"]))
    stored["child-unpacked"] = plain(stored["child"])
    for name, tensors in stored.items():
        write(tmp_path, name, tensors, scales_apart=name == "child")
    family, found, names = measured(tmp_path, engine, Options(memory=memory))
    order = [names[member] for member in found.members]
    assert sorted(order) == sorted(stored)
    assert {layer.name for layer in found.layers} == set(SHAPES)
    values = {name: plain(tensors) for name, tensors in stored.items()}
    for number, layer in enumerate(found.layers):
        wide = np.stack([values[one][layer.name].astype(np.float64).reshape(-1) for one in order])
        expected = np.square(wide[:, None] - wide[None]).sum(axis=2)
        np.testing.assert_allclose(found.squared_distance[number], expected, rtol=1e-6)
        np.testing.assert_array_equal(found.squared_distance[number] == 0, expected == 0)
        np.testing.assert_allclose(found.squared_norm[number], np.square(wide).sum(axis=1), rtol=1e-9)
        assert found.digest[number][order.index("child")] == found.digest[number][order.index("child-unpacked")]
        if memory == 1 << 30 and layer.name in MATRICES:
            ranks = found.rank[number]
            at = {name: order.index(name) for name in order}
            assert ranks[at["root"], at["root-int8"]] == 0
            assert ranks[at["root"], at["adapted"]] == ranks[at["root-int8"], at["adapted"]] == 3
            assert ranks[at["root"], at["float-child"]] > 40
    run = infer_family(engine, family, Parameters(), weights_only=True)
    with transaction(engine) as session:
        edges = {frozenset((names[edge.parent_id], names[edge.child_id])) for edge in rows.edges(session, run)}
    originals = {frozenset(pair) for pair in (("root", "root-int8"), ("root", "child"), ("root", "float-child"))}
    assert edges >= originals | {frozenset(("child", "child-unpacked"))}
    assert edges & {frozenset(("grandchild", "child")), frozenset(("grandchild", "child-unpacked"))}


def test_ranks_of_large_int8_matrices_come_from_projections(tmp_path: Path, engine: Engine) -> None:
    rng = np.random.default_rng(0)
    sizes = 10 ** rng.uniform(-1, 1, (330, 1))
    root = (rng.normal(size=(330, 700)) * sizes).astype(np.float32)
    child = root + (0.1 * sizes * (rng.normal(size=(330, 4)) @ rng.normal(size=(4, 700)))).astype(np.float32)
    models = {"root": {"l.weight": root}, "copy": packed({"l.weight": root}), "child": packed({"l.weight": child})}
    for name, tensors in models.items():
        write(tmp_path / "models", name, tensors)
    options = Options(memory=1 << 26, sketches=tmp_path / "kept")
    _, found, names = measured(tmp_path / "models", engine, options)
    assert len(list((tmp_path / "kept").rglob("*.projection1"))) == 3
    order = [names[member] for member in found.members]
    at = {name: order.index(name) for name in order}
    ranks = found.rank[0]
    assert [ranks[at["root"], at["copy"]], ranks[at["root"], at["child"]], ranks[at["copy"], at["child"]]] == [0, 4, 4]


def test_malformed_scales_cost_their_model_alone_and_name_file_and_tensor(tmp_path: Path, engine: Engine) -> None:
    root = network(0)
    write(tmp_path, "root", root)
    write(tmp_path, "good", packed(network(1, root)))
    weight = "encoder.1.value.weight"
    scales = "encoder.1.value.SCB"

    def spoilt(change: dict[str, NDArray[Any] | None]) -> Tensors:
        tensors = {**packed(network(2, root)), **change}
        return {name: values for name, values in tensors.items() if values is not None}

    def scale(value: float) -> NDArray[np.float32]:
        values = packed(network(2, root))[scales].copy()
        values[5] = value
        return values

    expected: dict[str, tuple[dict[str, NDArray[Any] | None], str, str, str]] = {
        "missing": ({scales: None}, "describe", weight, "without the scales of their rows (encoder.1.value.SCB)"),
        "short": ({scales: np.ones(47, np.float32)}, "describe", scales, "holds F32 (47,), expected F32 (48,)"),
        "nan": ({scales: scale(np.nan)}, "measure", weight, "encoder.1.value.SCB: NaN, infinite or negative: 1 of 48"),
        "negative": ({scales: scale(-0.5)}, "measure", weight, "first that of row 5 (-0.5)"),
        "tiled": ({f"{weight}_format": np.array(3, np.uint8)}, "measure", weight, "weight_format is 3, expected 0"),
    }
    for name, (change, *_) in expected.items():
        write(tmp_path, name, spoilt(change))
    _, found, names = measured(tmp_path, engine, Options())
    assert sorted(names[member] for member in found.members) == ["good", "root"]
    query = select(Repository.name, FailureRow).join(Repository, Repository.id == FailureRow.repository_id)
    with transaction(engine) as session:
        failures = {name.removeprefix("org/"): row for name, row in session.execute(query)}
        assert set(failures) == set(expected)
        for name, (_, stage, tensor, said) in expected.items():
            row = failures[name]
            assert (row.kind, row.stage, row.tensor) == ("TensorUnusable", stage, tensor)
            assert row.file == "model.safetensors"
            assert said in row.reason
