"""What training needs to know of an architecture: its tensors, loss and accuracy, and what recipes touch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its customary name

from benchmarks.zoo import images, llama, texts, vit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.zoo.spec import Architecture, Recipe, Task

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Data:
    """Inputs and what is to be predicted: images and classes, or token ids and the ids one place further on."""

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Network:
    """One architecture with the size of its output."""

    architecture: Architecture
    outputs: int

    @property
    def module(self) -> Any:
        """The module of the architecture's family: shapes, initial, is_head, logits, config."""
        return {"vit": vit, "llama": llama}[self.architecture.family]

    def initial(self, seed: int) -> Weights:
        """Freshly drawn float32 weights."""
        generator = torch.Generator().manual_seed(seed)
        shapes = self.module.shapes(self.architecture, self.outputs)
        return {name: self.module.initial(name, shape, generator) for name, shape in shapes.items()}

    def inherited(self, parent: Mapping[str, Tensor], seed: int) -> tuple[Weights, frozenset[str]]:
        """The parent's weights in float32, and the names of what is new.

        A ViT's head is always new; rows that a decoder's larger vocabulary lacks in the parent are drawn afresh.
        """
        fresh = self.initial(seed)
        weights = {name: parent[name].float().clone() for name in fresh if name in parent}
        new = frozenset(name for name in fresh if self.architecture.family == "vit" and vit.is_head(name))
        for name, drawn in fresh.items():
            if name in new:
                weights[name] = drawn
            elif weights[name].shape != drawn.shape:
                drawn[: len(weights[name])] = weights[name]
                weights[name] = drawn
        return weights, new

    def targets(self, recipe: Recipe) -> tuple[str, ...]:
        """Names of the matrices that a LoRA recipe adapts."""
        endings = self.module.ATTENTION if recipe.targets == "attention" else self.module.LINEAR
        return tuple(name for name in self.module.shapes(self.architecture, self.outputs) if name.endswith(endings))

    def frozen(self, share: float) -> frozenset[str]:
        """Names of the tensors before the layer at `share` of the depth, embeddings included."""
        names = frozenset(self.module.shapes(self.architecture, self.outputs))
        depth = {name: re.search(r"\.layers?\.(\d+)\.", name) for name in names}
        first = round(share * self.architecture.layers)
        early = {name for name, match in depth.items() if match is not None and int(match[1]) < first}
        return frozenset(early | {name for name in names if first and "embed" in name})

    def data(self, task: Task, count: int, seed: int) -> Data:
        """`count` examples of a task."""
        a = self.architecture
        if a.family == "vit":
            return Data(*images.draw(task, count, a.image, a.channels, seed))
        tokens = texts.write(task, count, a.length + 1, seed)
        return Data(tokens[:, :-1], tokens[:, 1:])

    def loss(self, weights: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy in nats."""
        scores = self.module.logits(self.architecture, weights, inputs)
        return F.cross_entropy(scores.flatten(0, -2), targets.flatten())

    @torch.no_grad()
    def quality(self, weights: Mapping[str, Tensor], data: Data) -> dict[str, Any]:
        """Accuracy and loss on held-out examples, and the accuracy of always answering the commonest target."""
        scores = self.module.logits(self.architecture, weights, data.inputs)
        hit = (scores.argmax(-1) == data.targets).float().mean()
        commonest = data.targets.flatten().bincount().max() / data.targets.numel()
        return {
            "metric": "accuracy" if self.architecture.family == "vit" else "next-token accuracy",
            "value": round(float(hit), 4),
            "chance": round(float(commonest), 4),
            "loss": round(float(F.cross_entropy(scores.flatten(0, -2), data.targets.flatten())), 4),
        }
