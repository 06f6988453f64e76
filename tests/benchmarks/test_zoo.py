"""The generator of networks of known lineage."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors import safe_open

from benchmarks.zoo import folder, growing, training
from benchmarks.zoo.__main__ import main
from benchmarks.zoo.network import Network
from benchmarks.zoo.spec import Architecture, Card, Copy, Husk, Node, Plan, Recipe, Task

if TYPE_CHECKING:
    from pathlib import Path

VIT = Architecture("vit", hidden=16, layers=2, heads=2, mlp=24)
LLAMA = Architecture("llama", hidden=16, layers=2, heads=2, mlp=24, key_value_heads=1, length=16)
LORA = Recipe("lora", 5e-3, 4, batch=8, examples=32, rank=2, alpha=4.0)
TUNE = Recipe("finetune", 1e-3, 4, batch=8, examples=32)
ROOT = Recipe("pretrain", 3e-3, 20, batch=8, examples=64)
WORDS, RAMPS = Task(("markov",), variant=1), Task(("ramps",), 3)


def minuscule() -> Plan:
    """One tree of each architecture with every kind of child and layout."""
    nodes = (
        Node("a/vit", "v", VIT, Task(("shapes", "gratings"), 3), ROOT),
        Node("a/vit-lora", "v", VIT, RAMPS, replace(LORA, targets="linear"), "a/vit"),
        Node("a/vit-frozen", "v", VIT, RAMPS, replace(TUNE, kind="frozen", frozen=0.5), "a/vit", layout="sharded"),
        Node("a/vit-half", "v", VIT, RAMPS, replace(TUNE, dtype="bfloat16", optimiser="sgd"), "a/vit-frozen"),
        Node("b/llama", "l", LLAMA, WORDS, ROOT),
        Node("b/llama-lora", "l", LLAMA, WORDS, LORA, "b/llama"),
        Node("b/llama-tokens", "l", LLAMA, WORDS, replace(TUNE, new_tokens=3), "b/llama"),
        Node("b/llama-peft", "l", LLAMA, WORDS, LORA, "b/llama", layout="adapter"),
    )
    copy = Copy("c/again", "a/vit-lora", Card("missing"), "duplicate", "2025-02-01T00:00:00.000Z")
    return Plan("minuscule", 3, nodes, (copy,), (Husk("c/empty", "2025-02-01T00:00:00.000Z"),))


def contents(out: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def truth_in(out: Path) -> dict[str, dict[str, Any]]:
    """The models of a folder's truth.json."""
    models: dict[str, dict[str, Any]] = json.loads((out / "truth.json").read_bytes())["models"]
    return models


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("zoo")
    growing.grow(minuscule(), out)
    return out


def test_the_same_plan_gives_the_same_bytes_whatever_the_number_of_threads(zoo: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        growing.grow(minuscule(), tmp_path)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert contents(tmp_path) == contents(zoo)


def test_another_seed_gives_other_weights(zoo: Path, tmp_path: Path) -> None:
    growing.grow(replace(minuscule(), seed=4, nodes=minuscule().nodes[:1], copies=()), tmp_path)
    assert contents(tmp_path)["a/vit/model.safetensors"] != contents(zoo)["a/vit/model.safetensors"]


def test_a_restart_trains_only_what_is_missing_and_ends_the_same(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    power = [3]

    def train_while_there_is_power(node: Node, parent: Any, seed: int) -> training.Trained:
        if len(trained) == power[0]:
            raise KeyboardInterrupt
        trained.append(node.name)
        return training.train(node, parent, seed)

    monkeypatch.setattr(growing, "train", train_while_there_is_power)
    with pytest.raises(KeyboardInterrupt):
        growing.grow(minuscule(), tmp_path)
    power[0] = -1
    growing.grow(minuscule(), tmp_path)
    assert trained == [node.name for node in minuscule().nodes]
    assert contents(tmp_path) == contents(zoo)
    growing.grow(minuscule(), tmp_path)
    assert len(trained) == len(minuscule().nodes)


def test_a_folder_with_an_unfinished_zoo_of_another_plan_is_refused(tmp_path: Path) -> None:
    growing.Ledger(tmp_path, minuscule())
    with pytest.raises(ValueError, match="another plan"):
        growing.grow(replace(minuscule(), seed=5), tmp_path)


def test_truth_names_every_network_and_only_parents_that_exist(zoo: Path) -> None:
    models = truth_in(zoo)
    assert set(models) == {node.name for node in minuscule().nodes} | {"c/again"}
    assert models["a/vit"]["parents"] == []
    assert models["a/vit"]["stage"] == "generalisation"
    assert all(parent in models for model in models.values() for parent in model["parents"])
    assert models["c/again"]["relation"] == "duplicate"
    assert models["b/llama-peft"]["measured"] is False
    assert models["a/vit-frozen"]["relation"] == "finetune"


def test_tensors_have_the_names_and_shapes_of_transformers(zoo: Path) -> None:
    with safe_open(zoo / "a/vit/model.safetensors", "pt") as file:
        names = set(file.keys())
        assert file.get_slice("vit.embeddings.patch_embeddings.projection.weight").get_shape() == [16, 3, 4, 4]
        assert file.get_slice("classifier.weight").get_shape() == [6, 16]
    assert "vit.encoder.layer.1.attention.attention.query.weight" in names
    with safe_open(zoo / "b/llama/model.safetensors", "pt") as file:
        assert file.get_slice("model.layers.0.self_attn.k_proj.weight").get_shape() == [8, 16]
        assert file.get_slice("lm_head.weight").get_shape() == [64, 16]
    with safe_open(zoo / "b/llama-tokens/model.safetensors", "pt") as file:
        assert file.get_slice("model.embed_tokens.weight").get_shape() == [67, 16]
    assert json.loads((zoo / "b/llama-tokens/config.json").read_bytes())["vocab_size"] == 67


@pytest.mark.parametrize(("name", "parent"), [("a/vit-lora", "a/vit"), ("b/llama-lora", "b/llama")])
def test_a_merged_lora_differs_from_its_parent_by_its_rank_in_its_targets_only(
    zoo: Path, name: str, parent: str
) -> None:
    own, theirs = folder.tensors_of(zoo / name), folder.tensors_of(zoo / parent)
    node = next(node for node in minuscule().nodes if node.name == name)
    targets = Network(node.architecture, 3).targets(node.recipe)
    for tensor in theirs.keys() - {"classifier.weight", "classifier.bias"}:
        difference = own[tensor].double() - theirs[tensor].double()
        if tensor in targets:
            assert torch.linalg.matrix_rank(difference, atol=1e-6) == node.recipe.rank
        else:
            assert not difference.any()


def test_a_peft_adapter_holds_the_difference_that_merging_would_make(zoo: Path) -> None:
    config = json.loads((zoo / "b/llama-peft/adapter_config.json").read_bytes())
    assert config["base_model_name_or_path"] == "b/llama"
    assert (config["r"], config["target_modules"]) == (2, ["q_proj", "v_proj"])
    with safe_open(zoo / "b/llama-peft/adapter_model.safetensors", "pt") as file:
        module = "base_model.model.model.layers.0.self_attn.q_proj"
        product = file.get_tensor(f"{module}.lora_B.weight") @ file.get_tensor(f"{module}.lora_A.weight")
    assert product.shape == (16, 16)
    assert product.any()


def test_frozen_layers_are_bit_equal_and_the_others_moved(zoo: Path) -> None:
    own, theirs = folder.tensors_of(zoo / "a/vit-frozen"), folder.tensors_of(zoo / "a/vit")
    still = {name for name in own if "embeddings" in name or ".layer.0." in name}
    assert all(torch.equal(own[name], theirs[name]) for name in still)
    late = own.keys() - still - {"classifier.weight", "classifier.bias"}
    assert not any(torch.equal(own[name], theirs[name]) for name in late if not name.endswith("key.bias"))


def test_a_sharded_index_maps_every_tensor_to_the_shard_that_holds_it(zoo: Path) -> None:
    index = json.loads((zoo / "a/vit-frozen/model.safetensors.index.json").read_bytes())
    held: dict[str, str] = {}
    for shard in sorted(set(index["weight_map"].values())):
        with safe_open(zoo / "a/vit-frozen" / shard, "pt") as file:
            held |= dict.fromkeys(file.keys(), shard)
    assert held == index["weight_map"]
    assert len(set(held.values())) == 2
    total = sum(tensor.nbytes for tensor in folder.tensors_of(zoo / "a/vit-frozen").values())
    assert index["metadata"]["total_size"] == total


def test_a_bf16_child_is_stored_in_bf16_and_a_copy_byte_for_byte(zoo: Path) -> None:
    assert {tensor.dtype for tensor in folder.tensors_of(zoo / "a/vit-half").values()} == {torch.bfloat16}
    files = contents(zoo)
    assert files["c/again/model.safetensors"] == files["a/vit-lora/model.safetensors"]


def test_a_plan_with_an_orphan_or_a_name_twice_is_refused() -> None:
    nodes = minuscule().nodes
    with pytest.raises(ValueError, match="before its parent"):
        Plan("x", 1, nodes[1:])
    with pytest.raises(ValueError, match="one name"):
        Plan("x", 1, (nodes[0], nodes[0]))
    with pytest.raises(ValueError, match="from nothing"):
        Plan("x", 1, (replace(nodes[0], recipe=TUNE),))


def test_a_split_of_no_trees_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["split", "ft", "--seed", "1", "--trees", "0", "--out", str(tmp_path)]) == 2
    assert "at least 1" in capsys.readouterr().err
