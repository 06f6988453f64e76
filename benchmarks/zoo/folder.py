"""Writes trained networks as repositories of a folder Hub, org/name/..., each whole or not at all."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from safetensors.torch import load, save

from benchmarks.zoo.cards import readme
from benchmarks.zoo.derivation import Cast
from benchmarks.zoo.derive import derived
from benchmarks.zoo.network import Network, Weights
from benchmarks.zoo.quantise import CONFIG, dequantised

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from benchmarks.zoo.derivation import Backbone, Prune
    from benchmarks.zoo.spec import Copy, Husk, Node
    from benchmarks.zoo.training import Trained

Files = dict[str, bytes]
PIPELINE = {"llama": "text-generation", "gpt2": "text-generation"}
IMAGES = "image-classification"


def as_json(value: object) -> bytes:
    """JSON as the Hub's own files have it: two spaces, a newline at the end."""
    return (json.dumps(value, indent=2) + "\n").encode()


def facts(created: str, **others: object) -> bytes:
    """.hub.json: what a Hub would know of a repository beside its files."""
    return as_json({"created_at": created} | {name: value for name, value in others.items() if value is not None})


def raw_tensors(folder: Path) -> Weights:
    """All tensors of a repository's safetensors files, as they are stored."""
    weights: Weights = {}
    for path in sorted(folder.glob("model*.safetensors")):
        weights |= load(path.read_bytes())
    return dict(sorted(weights.items()))  # safetensors gives them in any order


def tensors_of(folder: Path) -> Weights:
    """The weights of a repository, dequantised where they are stored in int8."""
    return dequantised(raw_tensors(folder))


def safetensors_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """One safetensors file."""
    return save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata={"format": "pt"})


def single(weights: Weights) -> Files:
    """One model.safetensors."""
    return {"model.safetensors": safetensors_bytes(weights)}


def sharded(weights: Weights, shards: int = 2) -> Files:
    """Shards of about equal size and their index."""
    total = sum(tensor.nbytes for tensor in weights.values())
    parts: list[Weights] = [{} for _ in range(shards)]
    seen = 0
    for name, tensor in weights.items():
        parts[min(shards - 1, sum(seen >= total * place // shards for place in range(1, shards)))][name] = tensor
        seen += tensor.nbytes
    names = [f"model-{place + 1:05d}-of-{shards:05d}.safetensors" for place in range(shards)]
    where = {tensor: name for name, part in zip(names, parts, strict=True) for tensor in part}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    files = {name: safetensors_bytes(part) for name, part in zip(names, parts, strict=True)}
    return files | {"model.safetensors.index.json": as_json(index)}


def adapter(node: Node, trained: Trained) -> Files:
    """A PEFT adapter: its configuration, and lora_A and lora_B of every adapted matrix."""
    tensors: Weights = {}
    for name, (down, up) in trained.adapters.items():
        module = "base_model.model." + name.removesuffix(".weight")
        tensors[f"{module}.lora_A.weight"] = down
        tensors[f"{module}.lora_B.weight"] = up
    config = {
        "base_model_name_or_path": node.parent,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": node.recipe.alpha,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": node.recipe.rank,
        "target_modules": sorted({name.split(".")[-2] for name in trained.adapters}),
        "task_type": "CAUSAL_LM" if node.architecture.text else None,
    }
    return {"adapter_config.json": as_json(config), "adapter_model.safetensors": safetensors_bytes(tensors)}


def files_of(node: Node, trained: Trained) -> Files:
    """Every file of a trained node's repository."""
    family = node.architecture.family
    hub = {"downloads": node.downloads, "likes": node.likes, "gated": node.gated}
    library = "peft" if node.layout == "adapter" else "transformers"
    card = readme(node.card, node.name, library, PIPELINE.get(family, IMAGES), trained.quality)
    files = {"README.md": card.encode(), ".hub.json": facts(node.created, last_modified=node.created, **hub)}
    if node.layout == "adapter":
        return files | adapter(node, trained)
    network = Network.of(node.architecture, trained.weights)
    config = network.module.config(node.architecture, network.outputs)
    config |= {"dtype": node.recipe.dtype, "evaluation": trained.quality, "task": node.task.name}
    weights, forms = trained.weights, dict[str, Any]()
    for how in (*((node.derived,) if isinstance(node.derived, Cast) else ()), *node.stored):
        forms |= _form(how)
    for how in node.stored:
        weights = derived(weights, how, network)
    files["config.json"] = as_json(dict(sorted((config | forms).items())))
    return files | (sharded if node.layout == "sharded" else single)(weights)


def _form(how: Prune | Cast | Backbone) -> dict[str, Any]:
    """What a derivation changes in config.json."""
    if isinstance(how, Cast) and how.form == "int8":
        return {"dtype": "float16", "quantization_config": CONFIG}
    return {"dtype": how.form} if isinstance(how, Cast) else {}


def files_of_copy(copy: Copy, original: Path, family: str) -> Files:
    """An exact re-upload: the original's config and weights, perhaps cut into other shards, and another card."""
    kept = {
        path.name: path.read_bytes() for path in sorted(original.iterdir()) if path.name.startswith(("model", "config"))
    }
    if copy.shards:
        weights = raw_tensors(original)
        kept = {"config.json": kept["config.json"]} | (
            single(weights) if copy.shards == 1 else sharded(weights, copy.shards)
        )
    card = readme(copy.card, copy.name, "transformers", PIPELINE.get(family, IMAGES), None)
    return kept | {"README.md": card.encode(), ".hub.json": facts(copy.created, last_modified=copy.created)}


def files_of_husk(husk: Husk) -> Files:
    """A repository's texts, and .hub.json."""
    files: dict[str, Any] = {path: text.encode() for path, text in husk.files}
    return files | {".hub.json": facts(husk.created, last_modified=husk.created)}


def put(out: Path, name: str, files: Files) -> None:
    """Make the repository `name` under `out`: under a hidden name first, then in one step where it belongs."""
    hidden = out / ".zoo" / f"{name.replace('/', '__')}.unfinished"
    shutil.rmtree(hidden, ignore_errors=True)
    hidden.mkdir(parents=True)
    for path, content in files.items():
        (hidden / path).write_bytes(content)
    target = out / name
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    hidden.rename(target)
