"""Weights computed from weights, and the forms in which they are stored."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors import safe_open

from benchmarks.zoo import cache, derive, folder, growing, merge, quantise
from benchmarks.zoo.derivation import Backbone, Cast, Merge, Prune
from benchmarks.zoo.network import Network, Weights
from benchmarks.zoo.spec import Architecture, Card, Copy, Node, Plan, Recipe, Task

if TYPE_CHECKING:
    from pathlib import Path

VIT = Architecture("vit", hidden=16, layers=2, heads=2, mlp=24, patch=8)
NETWORK = Network(VIT, 4)
ROOT = Recipe("pretrain", 3e-3, 20, batch=8, examples=64)
TUNE = Recipe("finetune", 1e-3, 4, batch=8, examples=32)
RAMPS = Task(("ramps",), 4)
QUERY = "vit.encoder.layer.0.attention.attention.query"


def node(name: str, parent: str | None = None, recipe: Recipe = TUNE, **others: Any) -> Node:
    return Node(f"a/{name}", "t", VIT, RAMPS, recipe, parent and f"a/{parent}", **others)


def computed(name: str, how: Prune | Cast | Merge, parent: str) -> Node:
    kind = "merge" if isinstance(how, Merge) else "pruned" if isinstance(how, Prune) else "cast"
    return node(name, parent, Recipe(kind, 0.0, 0), derived=how)  # type: ignore[arg-type]


def plan() -> Plan:
    """A root and two children, and everything that can be computed from them."""
    nodes = (
        node("root", None, ROOT),
        node("one", "root"),
        node("two", "root", stored=(Prune(0.9),)),
        node("half", "one", stored=(Cast("int8"),)),
        node("bare", "one", stored=(Backbone(),)),
        node("below", "half"),
        computed("pruned", Prune(0.5, "network"), "one"),
        node("masked", "pruned", replace(TUNE, masked=True)),
        computed("bf16", Cast("bfloat16"), "one"),
        computed("int8", Cast("int8"), "one"),
        node("from-int8", "int8"),
        computed("mean", Merge("average", ("a/one", "a/two"), (0.25, 0.75)), "one"),
        computed("sum", Merge("task arithmetic", ("a/one", "a/two"), (0.8, 0.9), base="a/root"), "one"),
        computed("ranges", Merge("layer ranges", ("a/one", "a/two"), starts=(0, 1)), "one"),
    )
    again = tuple(
        Copy(f"b/{shards}", "a/one", Card("missing"), "duplicate", "2025-02-01T00:00:00.000Z", shards)
        for shards in (0, 1, 3)
    )
    return Plan("derived", 3, nodes, again, absent=("a/root",))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory, store: Path) -> Path:
    out = tmp_path_factory.mktemp("derived")
    growing.grow(plan(), out, store=store)
    return out


@pytest.fixture(scope="module")
def truth(zoo: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((zoo / "truth.json").read_bytes())
    return told


def kept_weights(store: Path, key: str) -> Weights:
    trained = cache.kept(store, key)
    assert trained is not None
    return trained.weights


def some_weights(seed: int) -> Weights:
    return NETWORK.initial(seed)


@pytest.mark.parametrize("scope", ["tensor", "network"])
def test_pruning_leaves_the_asked_share_of_the_largest_elements(scope: Any) -> None:
    weights = some_weights(1)
    names = NETWORK.prunable(weights)
    pruned = derive.pruned(weights, Prune(0.9, scope), names)
    zeros = sum(int((pruned[name] == 0).sum()) for name in names) / sum(pruned[name].numel() for name in names)
    assert zeros == pytest.approx(0.9, abs=0.01)
    assert all(torch.equal(pruned[name], weights[name]) for name in weights.keys() - names)
    kept = pruned[f"{QUERY}.weight"] != 0
    assert torch.equal(pruned[f"{QUERY}.weight"][kept], weights[f"{QUERY}.weight"][kept])


def test_int8_has_the_layout_of_bitsandbytes_and_comes_back_within_half_a_step() -> None:
    weights = some_weights(1)
    stored = quantise.quantised(weights, NETWORK.linear(weights))
    own, scale = stored[f"{QUERY}.weight"], stored[f"{QUERY}.SCB"]
    assert (own.dtype, scale.dtype, scale.shape) == (torch.int8, torch.float32, (16,))
    assert stored[f"{QUERY}.weight_format"].dtype == torch.uint8
    assert stored["classifier.weight"].dtype == torch.float16
    assert own.abs().amax(1).tolist() == [127] * 16
    again = quantise.dequantised(stored)
    assert again.keys() == weights.keys()
    step = scale.unsqueeze(1) / 127
    assert ((again[f"{QUERY}.weight"] - weights[f"{QUERY}.weight"]).abs() <= 0.51 * step + 1e-4).all()


def test_slerp_keeps_the_norm_and_meets_both_ends() -> None:
    generator = torch.Generator().manual_seed(1)
    one, other = (tensor / tensor.norm() for tensor in torch.randn(2, 5, 7, generator=generator))
    assert torch.allclose(merge.slerp(one, other, 0.0), one, atol=1e-6)
    assert torch.allclose(merge.slerp(one, other, 1.0), other, atol=1e-6)
    assert float(merge.slerp(one, other, 0.3).norm()) == pytest.approx(1, abs=1e-6)
    assert torch.allclose(merge.slerp(one, one, 0.4), one, atol=1e-6)


def test_merges_are_what_their_truth_says(zoo: Path, truth: dict[str, Any], store: Path) -> None:
    name = f"{QUERY}.weight"
    keys = cache.keys(plan(), growing.GENERATOR)
    one, two, root = (kept_weights(store, keys[f"a/{who}"])[name] for who in ("one", "two", "root"))
    models = truth["models"]
    assert models["a/mean"]["merge"]["weights"] == {"a/one": 0.25, "a/two": 0.75}
    assert torch.allclose(folder.tensors_of(zoo / "a/mean")[name], 0.25 * one + 0.75 * two, atol=1e-6)
    arithmetic = models["a/sum"]["merge"]
    assert (arithmetic["base"], arithmetic["base_weight"]) == ("a/root", -0.7)
    expected = root + 0.8 * (one - root) + 0.9 * (two - root)
    assert torch.allclose(folder.tensors_of(zoo / "a/sum")[name], expected, atol=1e-6)
    assert models["a/mean"]["parents"] == ["a/one", "a/two"]
    assert models["a/mean"]["relation"] == "merge"


def test_a_merge_by_layer_ranges_takes_whole_layers(zoo: Path, truth: dict[str, Any]) -> None:
    made, one = folder.tensors_of(zoo / "a/ranges"), folder.tensors_of(zoo / "a/one")
    early = {name for name in made if "layer.0." in name or "embeddings" in name or "classifier" in name}
    assert all(torch.equal(made[name], one[name]) for name in early)
    assert not torch.equal(made["vit.layernorm.weight"], one["vit.layernorm.weight"])
    assert truth["models"]["a/ranges"]["merge"]["layers"] == [
        {"parent": "a/one", "first": 0, "last": 0},
        {"parent": "a/two", "first": 1, "last": 1},
    ]


def test_storage_forms_do_not_reach_the_children(zoo: Path, truth: dict[str, Any]) -> None:
    assert truth["models"]["a/half"]["stored"] == ["int8"]
    assert truth["models"]["a/two"]["stored"] == ["pruned 0.9 per tensor"]
    config = json.loads((zoo / "a/half/config.json").read_bytes())
    assert config["quantization_config"]["quant_method"] == "bitsandbytes"
    with safe_open(zoo / "a/half/model.safetensors", "pt") as file:
        assert file.get_tensor(f"{QUERY}.weight").dtype == torch.int8
    word = "vit.embeddings.patch_embeddings.projection.bias"  # rounded to float16 in the file only
    below = folder.tensors_of(zoo / "a/below")[word]
    assert not torch.equal(below, below.half().float())
    pruned = folder.tensors_of(zoo / "a/two")[f"{QUERY}.weight"]
    assert float((pruned == 0).float().mean()) == pytest.approx(0.9, abs=0.01)


def test_children_of_computed_copies_are_trained_from_what_the_copy_holds(zoo: Path) -> None:
    name = f"{QUERY}.weight"
    pruned, masked = (folder.tensors_of(zoo / f"a/{who}")[name] for who in ("pruned", "masked"))
    assert torch.equal(pruned == 0, masked == 0)
    one, int8, child = (folder.tensors_of(zoo / f"a/{who}")[name] for who in ("one", "int8", "from-int8"))
    assert (child - int8).norm() < (child - one).norm()
    assert folder.tensors_of(zoo / "a/bf16")[name].dtype == torch.bfloat16


def test_a_bare_backbone_has_neither_head_nor_prefix(zoo: Path) -> None:
    names = folder.tensors_of(zoo / "a/bare").keys()
    assert "encoder.layer.0.attention.attention.query.weight" in names
    assert not any(name.startswith(("vit.", "classifier")) for name in names)


def test_copies_hold_the_same_tensors_in_as_many_shards_as_asked(zoo: Path) -> None:
    original = folder.raw_tensors(zoo / "a/one")
    for shards, files in ((0, 1), (1, 1), (3, 3)):
        own = folder.raw_tensors(zoo / f"b/{shards}")
        assert own.keys() == original.keys()
        assert all(torch.equal(own[name], original[name]) for name in own)
        assert len(list((zoo / f"b/{shards}").glob("*.safetensors"))) == files


def test_an_absent_root_is_named_apart_and_its_folder_is_gone(zoo: Path, truth: dict[str, Any]) -> None:
    assert list(truth["absent"]) == ["a/root"]
    assert "a/root" not in truth["models"]
    assert truth["models"]["a/one"]["parents"] == ["a/root"]
    assert not (zoo / "a/root").exists()


def test_two_processes_and_a_store_change_no_byte(zoo: Path, store: Path, tmp_path: Path) -> None:
    growing.grow(plan(), tmp_path / "stored", store=store)
    for path in sorted(path for path in zoo.rglob("*") if path.is_file()):
        assert (tmp_path / "stored" / path.relative_to(zoo)).read_bytes() == path.read_bytes()
    growing.grow(Plan("two", 3, plan().nodes[:3]), tmp_path / "two", jobs=2)
    for file in ("a/one/model.safetensors", "a/two/model.safetensors"):
        assert (tmp_path / "two" / file).read_bytes() == (zoo / file).read_bytes()
