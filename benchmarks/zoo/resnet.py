"""A ResNet of basic blocks in plain torch, under the tensor names of torchvision and timm: convolutions, BatchNorm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its customary name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.zoo.spec import Architecture

EPSILON = 1e-5
MOMENTUM = 0.1
OUTPUT = "fc.weight"
BACKBONE = ""
ATTENTION = (".conv2.weight",)
LINEAR = (".conv1.weight", ".conv2.weight")


def shapes(architecture: Architecture, labels: int) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape by name, head last; one block a stage."""
    a = architecture
    named: dict[str, tuple[int, ...]] = {"conv1.weight": (a.hidden, a.channels, 3, 3)} | _norm("bn1", a.hidden)
    before = a.hidden
    for stage in range(a.layers):
        block, width = f"layer{stage + 1}.0", a.hidden << stage
        named |= {f"{block}.conv1.weight": (width, before, 3, 3)} | _norm(f"{block}.bn1", width)
        named |= {f"{block}.conv2.weight": (width, width, 3, 3)} | _norm(f"{block}.bn2", width)
        if before != width:
            named |= {f"{block}.downsample.0.weight": (width, before, 1, 1)} | _norm(f"{block}.downsample.1", width)
        before = width
    return named | {"fc.weight": (labels, before), "fc.bias": (labels,)}


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    own = {f"{name}.{part}": (width,) for part in ("weight", "bias", "running_mean", "running_var")}
    return own | {f"{name}.num_batches_tracked": ()}


def initial(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """A tensor as torchvision initialises it: He's normal by fan-out for convolutions, unit normalisation."""
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0, dtype=torch.int64)
    if len(shape) == 4:
        return torch.randn(shape, generator=generator) * math.sqrt(2 / (shape[0] * shape[2] * shape[3]))
    if len(shape) == 2:
        return (torch.rand(shape, generator=generator) * 2 - 1) / math.sqrt(shape[1])
    ones = name.endswith("running_var") or (name.endswith("weight") and ("bn" in name or "downsample" in name))
    return torch.ones(shape) if ones else torch.zeros(shape)


def is_head(name: str) -> bool:
    """Whether a tensor belongs to the task's head."""
    return name.startswith("fc.")


def logits(
    architecture: Architecture, weights: Mapping[str, Tensor], images: Tensor, *, training: bool = False
) -> Tensor:
    """Class scores (batch, labels) of images (batch, channels, size, size).

    In training the batch's own statistics normalise, and the running ones among `weights` are updated in place.
    """
    w = weights

    def norm(value: Tensor, name: str) -> Tensor:
        mean, var = w[f"{name}.running_mean"], w[f"{name}.running_var"]
        if training:
            w[f"{name}.num_batches_tracked"].add_(1)
        return F.batch_norm(value, mean, var, w[f"{name}.weight"], w[f"{name}.bias"], training, MOMENTUM, EPSILON)

    x = F.relu(norm(F.conv2d(images, w["conv1.weight"], padding=1), "bn1"))
    for stage in range(architecture.layers):
        block, stride = f"layer{stage + 1}.0", 1 if stage == 0 else 2
        y = F.relu(norm(F.conv2d(x, w[f"{block}.conv1.weight"], stride=stride, padding=1), f"{block}.bn1"))
        y = norm(F.conv2d(y, w[f"{block}.conv2.weight"], padding=1), f"{block}.bn2")
        short = f"{block}.downsample"
        if f"{short}.0.weight" in w:
            x = norm(F.conv2d(x, w[f"{short}.0.weight"], stride=stride), f"{short}.1")
        x = F.relu(x + y)
    return F.linear(x.mean((2, 3)), w["fc.weight"], w["fc.bias"])


def config(architecture: Architecture, labels: int) -> dict[str, object]:
    """config.json as timm writes it."""
    widths = [architecture.hidden << stage for stage in range(architecture.layers)]
    return {
        "architecture": "resnet_small",
        "model_args": {"block": "BasicBlock", "channels": widths, "layers": [1] * len(widths)},
        "model_type": "resnet",
        "num_classes": labels,
        "num_features": widths[-1],
        "pretrained_cfg": {"input_size": [architecture.channels, architecture.image, architecture.image]},
    }
