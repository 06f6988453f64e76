"""A ViT in plain torch, under the tensor names of transformers' ViTForImageClassification."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its customary name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.zoo.spec import Architecture

EPSILON = 1e-12
DEVIATION = 0.08  # 0.02 is for widths of hundreds: at 40 to 64 it leaves a network at its start for long
OUTPUT = "classifier.weight"
BACKBONE = "vit."
ATTENTION = (".query.weight", ".value.weight")
LINEAR = (".query.weight", ".key.weight", ".value.weight", ".dense.weight")


def shapes(architecture: Architecture, labels: int) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape by name, head last."""
    a, h, m = architecture, architecture.hidden, architecture.mlp
    named: dict[str, tuple[int, ...]] = {
        "vit.embeddings.cls_token": (1, 1, h),
        "vit.embeddings.position_embeddings": (1, (a.image // a.patch) ** 2 + 1, h),
        "vit.embeddings.patch_embeddings.projection.weight": (h, a.channels, a.patch, a.patch),
        "vit.embeddings.patch_embeddings.projection.bias": (h,),
    }
    for place in range(a.layers):
        layer = f"vit.encoder.layer.{place}"
        for part in ("query", "key", "value"):
            named[f"{layer}.attention.attention.{part}.weight"] = (h, h)
            named[f"{layer}.attention.attention.{part}.bias"] = (h,)
        for part, shape in (("attention.output", (h, h)), ("intermediate", (m, h)), ("output", (h, m))):
            named[f"{layer}.{part}.dense.weight"] = shape
            named[f"{layer}.{part}.dense.bias"] = shape[:1]
        for part in ("layernorm_before", "layernorm_after"):
            named[f"{layer}.{part}.weight"] = named[f"{layer}.{part}.bias"] = (h,)
    named["vit.layernorm.weight"] = named["vit.layernorm.bias"] = (h,)
    if a.head == "mlp":
        named["classifier.0.weight"], named["classifier.0.bias"] = (h, h), (h,)
    last = "classifier.2" if a.head == "mlp" else "classifier"
    return named | {f"{last}.weight": (labels, h), f"{last}.bias": (labels,)}


def initial(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """A tensor as transformers initialises it: normal of DEVIATION, zero biases, unit normalisation."""
    if "layernorm" in name:
        return torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
    if name.endswith("bias"):
        return torch.zeros(shape)
    return torch.randn(shape, generator=generator) * DEVIATION


def is_head(name: str) -> bool:
    """Whether a tensor belongs to the task's head."""
    return name.startswith("classifier.")


def logits(architecture: Architecture, weights: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """Class scores (batch, labels) of images (batch, channels, size, size)."""
    a, w = architecture, weights
    patches = F.conv2d(
        images,
        w["vit.embeddings.patch_embeddings.projection.weight"],
        w["vit.embeddings.patch_embeddings.projection.bias"],
        stride=a.patch,
    )
    x = patches.flatten(2).transpose(1, 2)
    x = torch.cat([w["vit.embeddings.cls_token"].expand(len(x), -1, -1), x], dim=1)
    x = x + w["vit.embeddings.position_embeddings"]

    def linear(value: Tensor, name: str) -> Tensor:
        return F.linear(value, w[f"{name}.weight"], w[f"{name}.bias"])

    def norm(value: Tensor, name: str) -> Tensor:
        return F.layer_norm(value, (a.hidden,), w[f"{name}.weight"], w[f"{name}.bias"], EPSILON)

    for place in range(a.layers):
        layer = f"vit.encoder.layer.{place}"
        y = norm(x, f"{layer}.layernorm_before")
        query, key, value = (
            linear(y, f"{layer}.attention.attention.{part}")
            .reshape(len(y), -1, a.heads, a.hidden // a.heads)
            .transpose(1, 2)
            for part in ("query", "key", "value")
        )
        y = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        x = x + linear(y, f"{layer}.attention.output.dense")
        y = F.gelu(linear(norm(x, f"{layer}.layernorm_after"), f"{layer}.intermediate.dense"))
        x = x + linear(y, f"{layer}.output.dense")
    x = norm(x[:, 0], "vit.layernorm")
    if a.head == "mlp":
        return linear(F.gelu(linear(x, "classifier.0")), "classifier.2")
    return linear(x, "classifier")


def config(architecture: Architecture, labels: int) -> dict[str, object]:
    """config.json as transformers writes it."""
    return {
        "architectures": ["ViTForImageClassification"],
        "attention_probs_dropout_prob": 0.0,
        "encoder_stride": 16,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": architecture.hidden,
        "id2label": {str(label): f"LABEL_{label}" for label in range(labels)},
        "image_size": architecture.image,
        "initializer_range": DEVIATION,
        "intermediate_size": architecture.mlp,
        "label2id": {f"LABEL_{label}": label for label in range(labels)},
        "layer_norm_eps": EPSILON,
        "model_type": "vit",
        "num_attention_heads": architecture.heads,
        "num_channels": architecture.channels,
        "num_hidden_layers": architecture.layers,
        "patch_size": architecture.patch,
        "qkv_bias": True,
    }
