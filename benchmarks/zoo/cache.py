"""Keeps trained networks, so that zoos that share them train them once."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from safetensors.torch import load, save

from benchmarks.zoo.spec import Node, Plan
from benchmarks.zoo.training import Trained

if TYPE_CHECKING:
    from pathlib import Path


def keys(plan: Plan, generator: str) -> dict[str, str]:
    """For every node a hash of all that decides its weights: training, seed and, through them, all its ancestors."""
    found: dict[str, str] = {}
    for node in plan.nodes:
        own = (node.name, node.architecture, node.task, node.recipe, node.derived, node.initialisation)
        text = f"{generator} {plan.seed} {own!r} {[found[source] for source in node.sources]}"
        found[node.name] = hashlib.sha256(text.encode()).hexdigest()
    return found


def kept(place: Path, key: str) -> Trained | None:
    """The network under a key, without adapters, or None."""
    path = place / f"{key}.safetensors"
    if not path.exists():
        return None
    return Trained(load(path.read_bytes()), json.loads(path.with_suffix(".json").read_bytes()), {}, 0.0)


def keep(place: Path, key: str, node: Node, trained: Trained) -> None:
    """Keep a network, unless its adapter or the order of its tensors matters to what is published."""
    if node.layout != "single":
        return
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{key}.safetensors"
    path.with_suffix(".json").write_text(json.dumps(trained.quality))
    fresh = path.with_suffix(f".{node.name.replace('/', '__')}")
    fresh.write_bytes(save({name: tensor.contiguous() for name, tensor in trained.weights.items()}))
    fresh.replace(path)
