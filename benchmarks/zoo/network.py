"""What training needs to know of an architecture: its tensors, loss and accuracy, and what recipes touch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its customary name

from benchmarks.zoo import gpt2, images, llama, mlp, resnet, texts, vit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.zoo.spec import Architecture, Recipe, Task

Weights = dict[str, Tensor]
MODULES: dict[str, Any] = {"vit": vit, "llama": llama, "gpt2": gpt2, "resnet": resnet, "mlp": mlp}
DEPTH = re.compile(r"\.(?:layers?|h)\.(\d+)\.|^layer(\d+)\.")
BEFORE = re.compile(r"embed|\.wte\.|\.wpe\.|^conv1\.|^bn1\.")
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
ROW_SPREAD, HEAVY_SHARE, HEAVY_FACTOR, OUTLIER_GAIN = 0.6, 0.002, 8.0, 5.0


@dataclass(frozen=True)
class Data:
    """Inputs and what is to be predicted: images and classes or coarse images, or token ids and the ids after them."""

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
        return MODULES[self.architecture.family]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every tensor's shape by name."""
        named: dict[str, tuple[int, ...]] = self.module.shapes(self.architecture, self.outputs)
        return named

    def initial(self, seed: int, *, heavy: bool = False) -> Weights:
        """Freshly drawn float32 weights; heavy tails where asked."""
        generator = torch.Generator().manual_seed(seed)
        weights = {name: self.module.initial(name, shape, generator) for name, shape in self.shapes().items()}
        return self._heavy(weights, generator) if heavy else weights

    def _heavy(self, weights: Weights, generator: torch.Generator) -> Weights:
        """Rows of log-normal size, a few elements far out, and three channels that normalisation amplifies.

        Large networks grow such weights over long training; small ones do not, so they are drawn with them.
        """
        hidden = self.architecture.hidden
        loud = torch.randperm(hidden, generator=generator)[:3]
        for name, value in weights.items():
            if value.dim() >= 2 and not self.is_head(name):
                rows = torch.randn(len(value), *[1] * (value.dim() - 1), generator=generator)
                far = torch.rand(value.shape, generator=generator) < HEAVY_SHARE
                value.mul_(torch.exp(ROW_SPREAD * rows - ROW_SPREAD**2) * torch.where(far, HEAVY_FACTOR, 1.0))
            elif value.shape == (hidden,) and name.endswith("weight"):
                value[loud] *= OUTLIER_GAIN
        return weights

    def is_head(self, name: str) -> bool:
        """Whether a tensor belongs to the task's head."""
        return bool(self.module.is_head(name))

    def inherited(self, parent: Mapping[str, Tensor], seed: int, *, same_head: bool) -> tuple[Weights, frozenset[str]]:
        """The parent's weights in float32, and the names of what is new.

        New are an image network's head, save where the child goes on with it, and layers that the parent lacks; rows
        that a decoder's larger vocabulary lacks in the parent are drawn afresh.
        """
        fresh = self.initial(seed)
        replaced = {name for name in fresh if not self.architecture.text and not same_head and self.is_head(name)}
        new = frozenset(replaced | {name for name in fresh if name not in parent})
        weights: Weights = {}
        for name, drawn in fresh.items():
            if name in new:
                weights[name] = drawn
            elif parent[name].shape == drawn.shape:
                weights[name] = parent[name].clone() if name.endswith(STATISTICS[2]) else parent[name].float().clone()
            else:
                rows = min(len(drawn), len(parent[name]))
                drawn[:rows] = parent[name][:rows]
                weights[name] = drawn
        return weights, new

    def targets(self, recipe: Recipe) -> tuple[str, ...]:
        """Names of the matrices that a LoRA recipe adapts."""
        endings = self.module.ATTENTION if recipe.targets == "attention" else self.module.LINEAR
        return tuple(name for name in self.shapes() if name.endswith(endings) and not self.is_head(name))

    def linear(self, weights: Mapping[str, Tensor]) -> frozenset[str]:
        """Names of the weights of linear layers within the trunk: what 8-bit loading packs."""
        endings = self.module.LINEAR
        return frozenset(
            name for name in weights if name.endswith(endings) and weights[name].dim() == 2 and not self.is_head(name)
        )

    @classmethod
    def of(cls, architecture: Architecture, weights: Mapping[str, Tensor]) -> Network:
        """The network that some full weights belong to."""
        module = MODULES[architecture.family]
        last = "classifier.2.weight" if architecture.head == "mlp" else module.OUTPUT
        return cls(architecture, len(weights[last]))

    def prunable(self, weights: Mapping[str, Tensor]) -> frozenset[str]:
        """Names of the trunk's weights of two or more dimensions, embeddings apart."""
        endings = self.module.LINEAR
        return frozenset(name for name in weights if name.endswith(endings) and not self.is_head(name))

    def backbone(self, weights: Weights) -> Weights:
        """The weights without the head, under the names of the bare backbone."""
        return {
            name.removeprefix(self.module.BACKBONE): value for name, value in weights.items() if not self.is_head(name)
        }

    def is_statistic(self, name: str) -> bool:
        """Whether a tensor is a normalisation's running statistic, which no optimiser moves."""
        return name.endswith(STATISTICS)

    def depth(self, name: str) -> int | None:
        """The layer that a tensor belongs to, from 0; -1 before the first, None after the last."""
        match = DEPTH.search(name)
        if match is not None:
            return int(match[1]) if match[1] is not None else int(match[2]) - 1
        return -1 if BEFORE.search(name) else None

    def frozen(self, share: float) -> frozenset[str]:
        """Names of the tensors before the layer at `share` of the depth, embeddings included."""
        first = round(share * self.architecture.layers)
        depths = {name: self.depth(name) for name in self.shapes()}
        return frozenset(name for name, depth in depths.items() if first and depth is not None and depth < first)

    def data(self, task: Task, count: int, seed: int) -> Data:
        """`count` examples of a task."""
        a = self.architecture
        if not a.text:
            return Data(*images.examples(task, count, a.image, a.channels, seed))
        tokens = texts.write(task, count, a.length + 1, seed)
        inputs, targets = tokens[:, :-1], tokens[:, 1:]
        if task.objective == "denoising":
            generator = torch.Generator().manual_seed(seed)
            garbled = torch.randint(len(texts.ALPHABET), inputs.shape, generator=generator)
            inputs = torch.where(torch.rand(inputs.shape, generator=generator) < 0.1, garbled, inputs)
        return Data(inputs, targets)

    def scores(self, weights: Mapping[str, Tensor], inputs: Tensor, *, training: bool = False) -> Tensor:
        """What the network answers; batch normalisation learns its statistics in training."""
        more = {"training": training} if self.architecture.family == "resnet" else {}
        answer: Tensor = self.module.logits(self.architecture, weights, inputs, **more)
        return answer

    def loss(self, weights: Mapping[str, Tensor], inputs: Tensor, targets: Tensor, *, training: bool = False) -> Tensor:
        """Mean cross-entropy in nats, or the mean squared error of a reconstruction."""
        scores = self.scores(weights, inputs, training=training)
        if targets.is_floating_point():
            return F.mse_loss(scores, targets)
        return F.cross_entropy(scores.flatten(0, -2), targets.flatten())

    @torch.no_grad()
    def quality(self, weights: Mapping[str, Tensor], data: Data) -> dict[str, Any]:
        """Accuracy and loss on held-out examples, and the accuracy of always answering the commonest target."""
        scores = self.scores(weights, data.inputs)
        if data.targets.is_floating_point():
            error = F.mse_loss(scores, data.targets)
            explained = 1 - error / data.targets.var(0, correction=0).mean()
            value, chance, metric, loss = float(explained), 0.0, "explained variance", float(error)
        else:
            value = float((scores.argmax(-1) == data.targets).float().mean())
            chance = float(data.targets.flatten().bincount().max() / data.targets.numel())
            metric = "next-token accuracy" if self.architecture.text else "accuracy"
            loss = float(F.cross_entropy(scores.flatten(0, -2), data.targets.flatten()))
        return {"metric": metric, "value": round(value, 4), "chance": round(chance, 4), "loss": round(loss, 4)}
