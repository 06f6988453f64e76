"""Trains one network after its recipe, the same bytes for the same seed."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmarks.zoo.derivation import Prune
from benchmarks.zoo.derive import pruned
from benchmarks.zoo.network import MODULES, Network, Weights
from benchmarks.zoo.spec import Node, Recipe, seed_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TEST_EXAMPLES = 768
WARM_UP = 0.05


@dataclass(frozen=True)
class Trained:
    """A finished network: its weights in the dtype in which they are stored, and what it can do.

    `adapters` holds, for LoRA, the matrices (A, B) by the name of the weight they were merged into; `scale` multiplies
    B A. The quality of a root also says by how much its training loss still fell over its last tenth of steps.
    """

    weights: Weights
    quality: dict[str, Any]
    adapters: dict[str, tuple[Tensor, Tensor]]
    scale: float


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: sums in one order, and a small network is fastest so."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def rate(recipe: Recipe, step: int) -> float:
    """The share of the recipe's learning rate at a step: a linear warm-up, then a cosine to a hundredth or constant."""
    warm = max(1, round(WARM_UP * recipe.steps))
    if step < warm:
        return (step + 1) / warm
    if recipe.schedule == "constant":
        return 1.0
    along = (step - warm) / max(1, recipe.steps - warm)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * along))


def optimiser(recipe: Recipe, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """AdamW, or SGD with momentum."""
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=0.9, weight_decay=recipe.weight_decay)
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=(0.9, 0.98), weight_decay=recipe.weight_decay, fused=True)


def adapters_of(network: Network, node: Node, weights: Weights, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """LoRA's matrices as they begin: A uniform, B zero."""
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name in network.targets(node.recipe):
        rows, columns = len(weights[name]), weights[name][0].numel()  # a convolution's input channels and places
        down = (torch.rand(node.recipe.rank, columns, generator=generator) * 2 - 1) / math.sqrt(columns)
        made[name] = (down, torch.zeros(rows, node.recipe.rank))
    return made


def trainable(network: Network, recipe: Recipe, weights: Weights, new: frozenset[str]) -> list[str]:
    """Names of the tensors of the network itself that move; LoRA moves a new head only."""
    if recipe.kind == "lora":
        return sorted(new)
    still = network.frozen(recipe.frozen) if recipe.kind == "frozen" else frozenset()
    return [name for name in weights if name not in still and not network.is_statistic(name)]


def groups_of(recipe: Recipe, weights: Weights, names: list[str], new: frozenset[str]) -> list[dict[str, Any]]:
    """Optimiser groups: matrices decay, vectors do not, a new head learns faster."""
    groups = []
    for fresh in (False, True):
        for matrix in (True, False):
            members = [
                weights[name] for name in names if (name in new) is fresh and (weights[name].dim() > 1) is matrix
            ]
            factor = recipe.head_factor if fresh else 1.0
            decay = recipe.weight_decay if matrix else 0.0
            if members:
                groups.append({"params": members, "lr": recipe.lr * factor, "factor": factor, "weight_decay": decay})
    return groups


def train(node: Node, parent: Mapping[str, Tensor] | None, seed: int) -> Trained:
    """Train `node` from its parent's weights, or from initial ones where it has none."""
    with one_thread():
        return _train(node, parent, seed)


def start(node: Node, parent: Mapping[str, Tensor] | None, seed: int) -> tuple[Network, Weights, frozenset[str]]:
    """The network, the weights that its training begins with, and the names of those that no parent had."""
    outputs = node.architecture.vocabulary if node.architecture.text else node.task.labels
    if parent is not None and node.architecture.text:
        outputs = len(parent[MODULES[node.architecture.family].OUTPUT]) + node.recipe.new_tokens
    network = Network(node.architecture, outputs)
    draw = seed_of(seed, node.initialisation or node.name, "weights")
    if parent is None:
        return network, network.initial(draw, heavy=node.recipe.heavy), frozenset()
    return network, *network.inherited(parent, draw, same_head=node.recipe.kind == "continued")


def _train(node: Node, parent: Mapping[str, Tensor] | None, seed: int) -> Trained:
    recipe = node.recipe
    network, weights, new = start(node, parent, seed)
    zeros = {name: weights[name] != 0 for name in network.prunable(weights)} if recipe.masked else {}
    names = trainable(network, recipe, weights, new)
    for name in names:
        weights[name].requires_grad_()
    adapters = adapters_of(network, node, weights, seed_of(seed, node.name, "lora")) if recipe.kind == "lora" else {}
    scale = recipe.alpha / recipe.rank if adapters else 0.0
    groups = groups_of(recipe, weights, names, new)
    if adapters:
        pairs = [matrix.requires_grad_() for pair in adapters.values() for matrix in pair]
        groups.append({"params": pairs, "lr": recipe.lr, "factor": 1.0, "weight_decay": 0.0})
    moved = [tensor for group in groups for tensor in group["params"]]
    stepper = optimiser(recipe, groups)

    def merged() -> Weights:
        return weights | {
            name: weights[name] + scale * (up @ down).view_as(weights[name]) for name, (down, up) in adapters.items()
        }

    data = network.data(node.task, recipe.examples, seed_of(seed, node.initialisation or node.name, "data"))
    kept = torch.arange(len(data.inputs))
    if recipe.folds:
        kept = kept[kept % recipe.folds != recipe.fold]
    order = torch.Generator().manual_seed(seed_of(seed, node.name, "order"))
    losses = torch.empty(recipe.steps)
    for step in range(recipe.steps):
        for group in stepper.param_groups:
            group["lr"] = recipe.lr * group["factor"] * rate(recipe, step)
        batch = kept[torch.randint(len(kept), (recipe.batch,), generator=order)]
        loss = network.loss(merged(), data.inputs[batch], data.targets[batch], training=True)
        stepper.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(moved, 1.0)
        stepper.step()
        with torch.no_grad():
            for name, mask in zeros.items():
                weights[name] *= mask
        losses[step] = loss.detach()
    with torch.no_grad():
        kind = getattr(torch, recipe.dtype)
        trained = {name: value.detach() for name, value in merged().items()}
        if recipe.sparsity:
            trained = pruned(trained, Prune(recipe.sparsity), network.prunable(trained))
        stored = {name: value.to(kind) if value.is_floating_point() else value for name, value in trained.items()}
    test = network.data(node.task, TEST_EXAMPLES, seed_of(seed, node.task, "test"))
    quality = network.quality({name: value.float() for name, value in stored.items()}, test)
    if parent is None and recipe.steps >= 20:
        tenth = recipe.steps // 10
        fall = losses[-2 * tenth : -tenth].mean() - losses[-tenth:].mean()
        quality["loss_fall_over_last_tenth"] = round(float(fall), 4)
    done = {name: (down.detach(), up.detach()) for name, (down, up) in adapters.items()}
    return Trained(stored, quality, done, scale)
