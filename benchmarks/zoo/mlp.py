"""A multilayer perceptron over pixels in plain torch: fully connected layers, ReLU, a linear head."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its customary name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.zoo.spec import Architecture

OUTPUT = "classifier.weight"
BACKBONE = "mlp."
ATTENTION = (".weight",)
LINEAR = (".weight",)


def shapes(architecture: Architecture, labels: int) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape by name, head last."""
    a = architecture
    named: dict[str, tuple[int, ...]] = {}
    before = a.channels * a.image * a.image
    for place in range(a.layers):
        named[f"mlp.layers.{place}.weight"], named[f"mlp.layers.{place}.bias"] = (a.hidden, before), (a.hidden,)
        before = a.hidden
    return named | {"classifier.weight": (labels, before), "classifier.bias": (labels,)}


def initial(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """He's normal by fan-in, zero biases."""
    if name.endswith("bias"):
        return torch.zeros(shape)
    return torch.randn(shape, generator=generator) * math.sqrt(2 / shape[1])


def is_head(name: str) -> bool:
    """Whether a tensor belongs to the task's head."""
    return name.startswith("classifier.")


def logits(architecture: Architecture, weights: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """Class scores (batch, labels) of images (batch, channels, size, size)."""
    x = images.flatten(1)
    for place in range(architecture.layers):
        x = F.relu(F.linear(x, weights[f"mlp.layers.{place}.weight"], weights[f"mlp.layers.{place}.bias"]))
    return F.linear(x, weights["classifier.weight"], weights["classifier.bias"])


def config(architecture: Architecture, labels: int) -> dict[str, object]:
    """config.json."""
    return {
        "architectures": ["MultilayerPerceptron"],
        "hidden_act": "relu",
        "hidden_size": architecture.hidden,
        "image_size": architecture.image,
        "model_type": "mlp",
        "num_channels": architecture.channels,
        "num_hidden_layers": architecture.layers,
        "num_labels": labels,
    }
