"""The architectures of the zoo: names, shapes, what they learn and what recipes touch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import pytest
import torch

from benchmarks.zoo.network import Network, Weights
from benchmarks.zoo.spec import Architecture, Family, Node, Recipe, Task
from benchmarks.zoo.training import Trained, train

SMALL: dict[Family, Architecture] = {
    "vit": Architecture("vit", hidden=24, layers=2, heads=2, mlp=24, patch=8),
    "llama": Architecture("llama", hidden=16, layers=2, heads=2, mlp=24, key_value_heads=1, length=16),
    "gpt2": Architecture("gpt2", hidden=16, layers=2, heads=2, mlp=24, length=16),
    "resnet": Architecture("resnet", hidden=4, layers=2, heads=1, mlp=1),
    "mlp": Architecture("mlp", hidden=16, layers=2, heads=1, mlp=1),
}
ROOT = Recipe("pretrain", 3e-3, 60, batch=16, examples=256)
TUNE = Recipe("finetune", 1e-3, 4, batch=8, examples=32)
FAMILIES = sorted(SMALL)


def task(family: Family, variant: int = 1) -> Task:
    if SMALL[family].text:
        return Task(("counting",), variant=variant)
    return Task(("gratings",), 3, variant, noise=0.1)


def root(family: Family, **recipe: Any) -> Trained:
    node = Node("a/root", "t", SMALL[family], task(family), replace(ROOT, **recipe))
    return train(node, None, 1)


def child(family: Family, parent: Weights, recipe: Recipe, **changes: Any) -> Weights:
    node = Node("a/child", "t", SMALL[family], task(family, 2), recipe, "a/root")
    return train(replace(node, **changes), parent, 1).weights


def kurtosis(weights: Weights) -> float:
    values = [value.double().flatten() for name, value in weights.items() if value.dim() >= 2]
    centred = [value - value.mean() for value in values]
    return sum(float((one**4).mean() / (one**2).mean() ** 2) for one in centred) / len(centred)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_learns_more_than_the_commonest_answer(family: Family) -> None:
    quality = root(family, steps=100, lr=5e-3, batch=32, examples=1024).quality
    assert quality["value"] > quality["chance"] + 0.1
    assert {"loss", "loss_fall_over_last_tenth"} <= quality.keys()


@pytest.mark.parametrize("family", FAMILIES)
def test_what_lora_adapts_has_two_or_more_dimensions_and_is_no_head(family: Family) -> None:
    network = Network(SMALL[family], 5)
    reaches: tuple[Literal["attention", "linear"], ...] = ("attention", "linear")
    for reach in reaches:
        targets = network.targets(replace(TUNE, targets=reach))
        assert targets
        assert all(len(network.shapes()[name]) >= 2 and not network.is_head(name) for name in targets)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_merged_lora_has_its_rank_in_any_architecture(family: Family) -> None:
    parent = root(family, steps=2).weights
    lora = Recipe("lora", 5e-3, 4, batch=8, examples=32, rank=2, alpha=4.0, targets="linear")
    own = child(family, parent, lora)
    for name in Network(SMALL[family], 5).targets(lora):
        difference = (own[name].double() - parent[name].double()).flatten(1)
        assert torch.linalg.matrix_rank(difference, atol=1e-6) == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_frozen_layers_stay_and_the_others_move_in_any_architecture(family: Family) -> None:
    parent = root(family, steps=2).weights
    own = child(family, parent, replace(TUNE, kind="frozen", frozen=0.5))
    network = Network(SMALL[family], 4)
    still = network.frozen(0.5)
    assert still
    kept = [name for name in still if not network.is_statistic(name)]
    assert all(torch.equal(own[name], parent[name]) for name in kept)
    moved = [name for name in own if name not in still and own[name].dim() >= 2 and not network.is_head(name)]
    assert moved
    assert not any(torch.equal(own[name], parent[name]) for name in moved)


def test_gpt2_has_the_names_and_transposed_shapes_of_transformers_and_no_head_of_its_own() -> None:
    shapes = Network(SMALL["gpt2"], 64).shapes()
    assert shapes["transformer.h.1.attn.c_attn.weight"] == (16, 48)
    assert shapes["transformer.h.0.mlp.c_proj.weight"] == (24, 16)
    assert "lm_head.weight" not in shapes


def test_a_resnet_has_the_names_of_torchvision_and_learns_running_statistics() -> None:
    weights = root("resnet").weights
    assert weights["layer2.0.conv1.weight"].shape == (8, 4, 3, 3)
    assert weights["layer2.0.downsample.0.weight"].shape == (8, 4, 1, 1)
    assert int(weights["bn1.num_batches_tracked"]) == ROOT.steps
    assert weights["bn1.running_mean"].any()


def test_heavy_roots_have_far_heavier_tails_than_others() -> None:
    assert kurtosis(root("vit", heavy=True).weights) > kurtosis(root("vit").weights) + 3


@pytest.mark.parametrize("asked", ["rotation", "reconstruction"])
def test_a_vit_can_learn_from_pictures_without_labels(asked: Literal["rotation", "reconstruction"]) -> None:
    learnt = replace(task("vit"), kinds=("fields",), classes=1, objective=asked)
    node = Node("a/root", "t", SMALL["vit"], learnt, replace(ROOT, steps=200, lr=5e-3, batch=32, examples=1024))
    quality = train(node, None, 1).quality
    assert quality["value"] > quality["chance"] + 0.1
    assert asked in learnt.name


def test_folds_of_one_initialisation_begin_alike_and_leave_out_other_examples() -> None:
    def fold(place: int, steps: int) -> Weights:
        recipe = replace(ROOT, kind="fold", fold=place, folds=4, steps=steps, lr=1e-3 if steps > 1 else 0.0)
        node = Node(f"a/fold{place}", "t", SMALL["mlp"], task("mlp"), recipe, initialisation="a/folds")
        return train(node, None, 1).weights

    assert all(torch.equal(one, other) for one, other in zip(fold(0, 1).values(), fold(1, 1).values(), strict=True))
    assert not torch.equal(fold(0, 5)["mlp.layers.0.weight"], fold(1, 5)["mlp.layers.0.weight"])


def test_a_child_of_a_pruned_parent_keeps_its_zeros_if_it_is_masked() -> None:
    parent = root("vit", steps=2).weights
    parent = {name: torch.where(value.abs() > 0.05, value, 0) for name, value in parent.items()}
    own = child("vit", parent, replace(TUNE, masked=True))
    name = "vit.encoder.layer.0.intermediate.dense.weight"
    assert not own[name][parent[name] == 0].any()
    assert not torch.equal(own[name], parent[name])


def test_a_network_pruned_after_training_has_the_asked_share_of_zeros() -> None:
    own = child("vit", root("vit", steps=2).weights, replace(TUNE, sparsity=0.9))
    name = "vit.encoder.layer.0.intermediate.dense.weight"
    assert float((own[name] == 0).float().mean()) == pytest.approx(0.9, abs=0.01)
    assert own["vit.layernorm.weight"].all()


def test_a_layer_more_is_drawn_afresh_and_a_layer_less_is_dropped() -> None:
    parent = root("vit", steps=2).weights
    for layers in (1, 3):
        own = child("vit", parent, replace(TUNE, lr=1e-9), architecture=replace(SMALL["vit"], layers=layers))
        places = {name.split(".")[3] for name in own if name.startswith("vit.encoder.layer.")}
        assert places == {str(place) for place in range(layers)}
        shared = "vit.encoder.layer.0.output.dense.weight"
        assert torch.allclose(own[shared], parent[shared], atol=1e-6)


def test_a_vit_with_a_deeper_head_has_other_head_tensors() -> None:
    names = Network(replace(SMALL["vit"], head="mlp"), 5).shapes()
    assert {"classifier.0.weight", "classifier.2.bias"} <= names.keys()
    assert "classifier.weight" not in names
