"""A decoder in plain torch, under the tensor names of transformers' LlamaForCausalLM: RMSNorm, rotary, SwiGLU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  # its customary name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.zoo.spec import Architecture

EPSILON = 1e-6
DEVIATION = 0.08  # as in vit.py: small widths need more than 0.02
THETA = 10000.0
OUTPUT = "lm_head.weight"
BACKBONE = "model."
ATTENTION = (".q_proj.weight", ".v_proj.weight")
LINEAR = tuple(f".{part}_proj.weight" for part in ("q", "k", "v", "o", "gate", "up", "down"))


def shapes(architecture: Architecture, vocabulary: int) -> dict[str, tuple[int, ...]]:
    """Every tensor's shape by name, head last."""
    a, h, m = architecture, architecture.hidden, architecture.mlp
    narrow = h // a.heads * a.key_value_heads
    named: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, h)}
    for place in range(a.layers):
        layer = f"model.layers.{place}"
        for part, shape in (("q", (h, h)), ("k", (narrow, h)), ("v", (narrow, h)), ("o", (h, h))):
            named[f"{layer}.self_attn.{part}_proj.weight"] = shape
        for part, shape in (("gate", (m, h)), ("up", (m, h)), ("down", (h, m))):
            named[f"{layer}.mlp.{part}_proj.weight"] = shape
        named[f"{layer}.input_layernorm.weight"] = named[f"{layer}.post_attention_layernorm.weight"] = (h,)
    named["model.norm.weight"] = (h,)
    named["lm_head.weight"] = (vocabulary, h)
    return named


def initial(name: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """A tensor as transformers initialises it: normal of DEVIATION, unit normalisation."""
    return torch.ones(shape) if "norm" in name else torch.randn(shape, generator=generator) * DEVIATION


def is_head(name: str) -> bool:
    """Whether a tensor is the unembedding."""
    return name.startswith("lm_head.")


def rotated(value: Tensor) -> Tensor:
    """Rotary position embedding of (batch, heads, positions, size), the halves paired as in Llama."""
    half = value.shape[-1] // 2
    frequency = THETA ** (-torch.arange(half) / half)
    angle = torch.arange(value.shape[-2]).unsqueeze(1) * frequency
    cosine, sine = angle.cos().repeat(1, 2), angle.sin().repeat(1, 2)
    return value * cosine + torch.cat([-value[..., half:], value[..., :half]], dim=-1) * sine


def logits(architecture: Architecture, weights: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
    """Scores of the next token, (batch, positions, vocabulary), of token ids (batch, positions)."""
    a, w = architecture, weights
    x = F.embedding(tokens, w["model.embed_tokens.weight"])

    def norm(value: Tensor, name: str) -> Tensor:
        return F.rms_norm(value, (a.hidden,), w[f"{name}.weight"], EPSILON)

    for place in range(a.layers):
        layer = f"model.layers.{place}"
        y = norm(x, f"{layer}.input_layernorm")
        query, key, value = (
            F.linear(y, w[f"{layer}.self_attn.{part}_proj.weight"])
            .reshape(*tokens.shape, -1, a.hidden // a.heads)
            .transpose(1, 2)
            for part in "qkv"
        )
        repeats = a.heads // a.key_value_heads
        key, value = rotated(key).repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
        y = F.scaled_dot_product_attention(rotated(query), key, value, is_causal=True).transpose(1, 2).flatten(2)
        x = x + F.linear(y, w[f"{layer}.self_attn.o_proj.weight"])
        y = norm(x, f"{layer}.post_attention_layernorm")
        gate = F.silu(F.linear(y, w[f"{layer}.mlp.gate_proj.weight"]))
        x = x + F.linear(gate * F.linear(y, w[f"{layer}.mlp.up_proj.weight"]), w[f"{layer}.mlp.down_proj.weight"])
    return F.linear(norm(x, "model.norm"), w["lm_head.weight"])


def config(architecture: Architecture, vocabulary: int) -> dict[str, object]:
    """config.json as transformers writes it."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "eos_token_id": 0,
        "head_dim": architecture.hidden // architecture.heads,
        "hidden_act": "silu",
        "hidden_size": architecture.hidden,
        "initializer_range": DEVIATION,
        "intermediate_size": architecture.mlp,
        "max_position_embeddings": architecture.length,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": architecture.heads,
        "num_hidden_layers": architecture.layers,
        "num_key_value_heads": architecture.key_value_heads,
        "rms_norm_eps": EPSILON,
        "rope_theta": THETA,
        "tie_word_embeddings": False,
        "use_cache": True,
        "vocab_size": vocabulary,
    }
