"""Small families of known lineage: networks that are random numbers and deltas, written as model folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

Tensors = dict[str, NDArray[Any]]

WIDTH, BLOCKS = 24, 3
CONFIG = {"architectures": ["TinyForImageClassification"], "model_type": "tiny"}
# child -> (parent, rank of the change; None: all numbers change)
LINEAGE: dict[str, tuple[str | None, int | None]] = {
    "oak/root": (None, None),
    "oak/left": ("oak/root", None),
    "oak/right": ("oak/root", None),
    "oak/left-a": ("oak/left", None),
    "oak/left-b": ("oak/left", 1),
    "oak/right-a": ("oak/right", 1),
    "elm/root": (None, None),
    "elm/child": ("elm/root", None),
    "elm/other": ("elm/root", None),
}
TRUE_EDGES = {(parent, child) for child, (parent, _) in LINEAGE.items() if parent is not None}


def pretrained(seed: int, width: int = WIDTH) -> Tensors:
    """A network without ancestors; float32."""
    rng = np.random.default_rng(seed)
    shapes: dict[str, tuple[int, ...]] = {"embed.weight": (32, width)}
    for block in range(BLOCKS):
        shapes[f"blocks.{block}.attention.weight"] = (width, width)
        shapes[f"blocks.{block}.mlp.weight"] = (2 * width, width)
        shapes[f"blocks.{block}.norm.weight"] = (width,)
    shapes["classifier.weight"] = (5, width)
    return {name: _normal(rng, shape) + np.float32("norm" in name) for name, shape in shapes.items()}


def trained_on(parent: Tensors, seed: int, rank: int | None = None) -> Tensors:
    """A child with a head of its own: all weights moved and shrank a little, or the blocks' matrices by a low rank."""
    rng = np.random.default_rng(seed)
    child = dict(parent)
    for name, values in parent.items():
        if name.startswith("classifier"):
            child[name] = _normal(rng, values.shape)
        elif rank is None:
            step = 0.2 * values.std() * rng.normal(size=values.shape)
            child[name] = (0.99 * values + step).astype(np.float32)
        elif name.startswith("blocks") and values.ndim == 2:
            change = rng.normal(size=(values.shape[0], rank)) @ rng.normal(size=(rank, values.shape[1]))
            child[name] = (values + 0.1 * values.std() * change).astype(np.float32)
    return child


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    return rng.normal(scale=0.2, size=shape).astype(np.float32)


def lineage(seed: int = 0) -> dict[str, Tensors]:
    """The weights of LINEAGE."""
    made: dict[str, Tensors] = {}
    for number, (name, (parent, rank)) in enumerate(LINEAGE.items()):
        made[name] = (
            pretrained(1000 * seed + number) if parent is None else trained_on(made[parent], 1000 * seed + number, rank)
        )
    return made


def card(parent: str | None) -> str:
    """A card that declares this parent, or none."""
    return f"---\nbase_model: {parent}\n---\n# A model\n" if parent else "# A model\n"


def write_model(
    root: Path, name: str, tensors: Tensors | None = None, files: Mapping[str, str | bytes] | None = None
) -> Path:
    """Write a model folder: config.json, model.safetensors where there are tensors, and other files as given."""
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    if tensors is not None:
        (folder / "model.safetensors").write_bytes(save(tensors))
    for path, content in (files or {}).items():
        (folder / path).write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def write_lineage(root: Path, seed: int = 0) -> Path:
    """Write LINEAGE, with cards; one exact copy of a model without a card beside it."""
    for name, tensors in lineage(seed).items():
        write_model(root, name, tensors, {"README.md": card(LINEAGE[name][0])})
    write_model(root, "fir/copy", lineage(seed)["elm/child"])
    return root


def renamed(root: Path, target: Path, names: Mapping[str, str]) -> Path:
    """A copy of a folder of models under other names."""
    for old, new in names.items():
        shutil.copytree(root / old, target / new)
    return target


def raw_safetensors(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file of any header, right or wrong; `length` in place of the header's true length."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data
