"""A zoo whose models are made here, for the benchmarks that read zoos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from benchmarks.recovery_zoos import Family
from lineage.family import Layer, LayerKind
from tests.lineage import builders

Model = dict[str, NDArray[np.float32]]
LAYERS = tuple(Layer(f"w{n}", (24, 20), LayerKind.TRUNK) for n in range(5))
PARENT = {"z/root": None, "z/a": "z/root", "z/b": "z/root", "z/c": "z/a", "z/twin": "z/b", "z/alone": None}


def models() -> dict[str, Model]:
    rng = np.random.default_rng(0)
    made: dict[str, Model] = {}
    for name, parent in PARENT.items():
        if name == "z/twin":
            made[name] = made["z/b"]
        elif parent is None:
            made[name] = {one.name: rng.normal(size=one.shape).astype(np.float32) for one in LAYERS}
        else:
            made[name] = {
                layer: (values + 0.05 * rng.normal(size=values.shape)).astype(np.float32)
                for layer, values in made[parent].items()
            }
    return made


def write_zoo(folder: Path, seed: int = 2, kind: str = "mlp") -> Path:
    """A finished zoo of one tree and a stranger."""
    told: dict[str, Any] = {}
    for name, model in models().items():
        (folder / name).mkdir(parents=True)
        save_file(model, folder / name / "model.safetensors")
        parent = PARENT[name]
        stage = "specialisation" if parent else "generalisation"
        told[name] = {
            "parents": [parent] if parent else [],
            "family": kind,
            "stage": stage,
            "measured": True,
            "tree": "z/alone" if name == "z/alone" else "z/root",
        }
        told[name] |= {"relation": "duplicate" if name == "z/twin" else "finetune"}
    content = {"zoo": "ft 1 x 2^2", "seed": seed, "models": told}
    (folder / "truth.json").write_text(json.dumps(content))
    return folder


def measure(*_: Any) -> list[Family]:
    """Its measures, without the twin, whose files equal those of another."""
    made = {name: model for name, model in models().items() if name != "z/twin"}
    plain = [{layer: values.astype(np.float64) for layer, values in model.items()} for model in made.values()]
    return [(builders.measured(plain, LAYERS, slopes=True), tuple(made))]
