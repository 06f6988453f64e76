"""A decoder in plain torch, under the tensor names of transformers' GPT2LMHeadModel: (in, out) matrices, tied head."""

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
DEVIATION = 0.08  # as in vit.py: small widths need more than 0.02
OUTPUT = "transformer.wte.weight"
BACKBONE = "transformer."
ATTENTION = (".attn.c_attn.weight",)
LINEAR = (".attn.c_attn.weight", ".attn.c_proj.weight", ".mlp.c_fc.weight", ".mlp.c_proj.weight")


def shapes(architecture: Architecture, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape by name; the head is the token embedding and not stored again."""
    a, h, m = architecture, architecture.hidden, architecture.mlp
    named: dict[str, tuple[int, ...]] = {OUTPUT: (vocabulary, h), "transformer.wpe.weight": (a.length, h)}
    for place in range(a.layers):
        layer = f"transformer.h.{place}"
        named[f"{layer}.ln_1.weight"] = named[f"{layer}.ln_1.bias"] = (h,)
        named[f"{layer}.ln_2.weight"] = named[f"{layer}.ln_2.bias"] = (h,)
        for part, shape in (
            ("attn.c_attn", (h, 3 * h)),
            ("attn.c_proj", (h, h)),
            ("mlp.c_fc", (h, m)),
            ("mlp.c_proj", (m, h)),
        ):
            named[f"{layer}.{part}.weight"], named[f"{layer}.{part}.bias"] = shape, shape[1:]
    named["transformer.ln_f.weight"] = named["transformer.ln_f.bias"] = (h,)
    return named


def initial(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """A tensor as transformers initialises it: normal of DEVIATION, less for what is added to the residual stream."""
    if ".ln_" in name:
        return torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
    if name.endswith("bias"):
        return torch.zeros(shape)
    return torch.randn(shape, generator=generator) * (DEVIATION / math.sqrt(2) if "c_proj" in name else DEVIATION)


def is_head(name: str) -> bool:
    """Whether a tensor belongs to the head alone: none does."""
    return name.startswith("lm_head.")


def logits(architecture: Architecture, weights: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
    """Scores of the next token, (batch, positions, vocabulary), of token ids (batch, positions)."""
    a, w = architecture, weights
    x = F.embedding(tokens, w[OUTPUT]) + w["transformer.wpe.weight"][: tokens.shape[1]]

    def linear(value: Tensor, name: str) -> Tensor:
        return value @ w[f"{name}.weight"] + w[f"{name}.bias"]

    def norm(value: Tensor, name: str) -> Tensor:
        return F.layer_norm(value, (a.hidden,), w[f"{name}.weight"], w[f"{name}.bias"], EPSILON)

    for place in range(a.layers):
        layer = f"transformer.h.{place}"
        query, key, value = (
            part.reshape(*tokens.shape, a.heads, -1).transpose(1, 2)
            for part in linear(norm(x, f"{layer}.ln_1"), f"{layer}.attn.c_attn").chunk(3, dim=-1)
        )
        y = F.scaled_dot_product_attention(query, key, value, is_causal=True).transpose(1, 2).flatten(2)
        x = x + linear(y, f"{layer}.attn.c_proj")
        y = F.gelu(linear(norm(x, f"{layer}.ln_2"), f"{layer}.mlp.c_fc"), approximate="tanh")
        x = x + linear(y, f"{layer}.mlp.c_proj")
    return F.linear(norm(x, "transformer.ln_f"), w[OUTPUT])


def config(architecture: Architecture, vocabulary: int) -> dict[str, object]:
    """config.json as transformers writes it."""
    return {
        "activation_function": "gelu_new",
        "architectures": ["GPT2LMHeadModel"],
        "attn_pdrop": 0.0,
        "bos_token_id": None,
        "embd_pdrop": 0.0,
        "eos_token_id": 0,
        "initializer_range": DEVIATION,
        "layer_norm_epsilon": EPSILON,
        "model_type": "gpt2",
        "n_embd": architecture.hidden,
        "n_head": architecture.heads,
        "n_inner": architecture.mlp,
        "n_layer": architecture.layers,
        "n_positions": architecture.length,
        "resid_pdrop": 0.0,
        "tie_word_embeddings": True,
        "use_cache": True,
        "vocab_size": vocabulary,
    }
