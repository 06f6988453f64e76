"""Canonical names, kinds and families, on the names that real libraries give their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.architecture import Architecture, architecture, canonical_names, parameter_count
from crawler.families import Signature, families, family_name, overlap, representative, same_family, signature
from crawler.safetensors_header import TensorSpec

Shapes = Mapping[str, tuple[int, ...]]


def specs(shapes: Shapes, dtype: str = "F32") -> list[TensorSpec]:
    return [TensorSpec(name, dtype, shape, 0, 0) for name, shape in shapes.items()]


def described(shapes: Shapes, config: dict[str, Any] | None = None, dtype: str = "F32") -> Architecture:
    return architecture(specs(shapes, dtype), config)


def kinds(shapes: Shapes, dtype: str = "F32") -> dict[str, str]:
    return {tensor.name: tensor.kind for tensor in described(shapes, dtype=dtype).tensors}


def vit(prefix: str = "vit.", blocks: int = 4, width: int = 8, classes: int = 3) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        f"{prefix}embeddings.cls_token": (1, 1, width),
        f"{prefix}embeddings.patch_embeddings.projection.weight": (width, 3, 4, 4),
        f"{prefix}layernorm.weight": (width,),
    }
    for i in range(blocks):
        shapes[f"{prefix}encoder.layer.{i}.attention.attention.query.weight"] = (width, width)
        shapes[f"{prefix}encoder.layer.{i}.attention.output.dense.weight"] = (width, width)
        shapes[f"{prefix}encoder.layer.{i}.output.dense.bias"] = (width,)
    if classes:
        shapes |= {"classifier.weight": (classes, width), "classifier.bias": (classes,)}
    return shapes


def test_wrappers_are_stripped_and_the_head_is_told() -> None:
    found = kinds(vit())
    assert found["encoder.layer.0.attention.output.dense.weight"] == "trunk"
    assert found["embeddings.cls_token"] == "trunk"
    assert found["encoder.layer.3.output.dense.bias"] == "vector"
    assert found["classifier.weight"] == found["classifier.bias"] == "head"


@pytest.mark.parametrize("prefix", ["", "vit.", "module.vit.", "_orig_mod.module.", "base_model.model.vit."])
def test_one_architecture_has_one_signature_whatever_wraps_it(prefix: str) -> None:
    plain = signature(described(vit("", classes=0)).tensors)
    assert signature(described(vit(prefix, classes=7)).tensors) == plain


def test_the_configs_model_type_is_a_wrapper_too() -> None:
    assert canonical_names(["my_net.a.w", "head.w"], {"model_type": "my-net"}) == ["a.w", "head.w"]
    assert canonical_names(["my_net.a.w", "head.w"], {"model_type": ["odd"]}) == ["my_net.a.w", "head.w"]


def test_names_stay_unique_rather_than_short() -> None:
    assert canonical_names(["bert.encoder.w", "vit.encoder.w"]) == ["bert.encoder.w", "vit.encoder.w"]
    assert canonical_names(["module.bert.x", "module.vit.x"]) == ["bert.x", "vit.x"]
    assert canonical_names(["a.w", "model.a.w"]) == ["a.w", "model.a.w"]


def test_old_names_of_norms_are_the_new_ones() -> None:
    assert canonical_names(["x.LayerNorm.gamma", "x.LayerNorm.beta", "ls.gamma"]) == [
        "x.LayerNorm.weight",
        "x.LayerNorm.bias",
        "ls.gamma",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "lm_head.weight",
        "model.lm_head.weight",
        "score.weight",
        "qa_outputs.weight",
        "cls.predictions.decoder.weight",
        "classifier.1.weight",
        "head.fc.weight",
        "heads.head.weight",
        "fc.weight",
        "language_model.lm_head.weight",
        "mc_head.weight",
        "lm_head.dense.weight",
        "token_classifier.weight",
        "embed_out.weight",
    ],
)
def test_heads_are_told_by_name(name: str) -> None:
    found = kinds({name: (8, 8), "blocks.0.weight": (8, 8)})
    assert sorted(found.values()) == ["head", "trunk"]


@pytest.mark.parametrize(
    "name",
    [
        "layers.3.fc.weight",
        "blocks.0.mlp.fc1.weight",
        "fc1.weight",
        "h.0.mlp.c_fc.weight",
        "encoder.layer.0.attention.output.dense.weight",
        "decoder.layers.0.fc2.weight",
        "0.weight",
        "layers.0.weight",
        "block.heads.weight",
        "transformer.h.0.attn.c_attn.weight",
    ],
)
def test_inner_layers_are_no_heads(name: str) -> None:
    assert set(kinds({name: (8, 8), "other.weight": (8, 8)}).values()) == {"trunk"}


def test_a_sequential_network_is_trunk_to_its_last_layer() -> None:
    assert set(kinds({"0.weight": (8, 4), "2.weight": (8, 8), "4.weight": (1, 8)}).values()) == {"trunk"}


def test_a_network_that_is_only_a_head_has_a_trunk() -> None:
    found = kinds({"fc.weight": (8, 8), "fc.bias": (8,)})
    assert found == {"fc.weight": "trunk", "fc.bias": "vector"}


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("bn.running_mean", (8,)),
        ("bn.num_batches_tracked", ()),
        ("h.0.attn.bias", (1, 1, 16, 16)),
        ("rotary_emb.inv_freq", (4,)),
        ("embeddings.position_ids", (1, 16)),
        ("h.0.attn.masked_bias", ()),
        ("empty.weight", (0, 4)),
    ],
)
def test_buffers_are_told(name: str, shape: tuple[int, ...]) -> None:
    assert kinds({name: shape, "w.weight": (8, 8)})[name] == "buffer"


def test_integers_are_buffers_and_low_precision_floats_are_trunk() -> None:
    assert kinds({"table": (4, 4)}, dtype="I64")["table"] == "buffer"
    assert kinds({"w.weight": (4, 4)}, dtype="F8_E4M3")["w.weight"] == "trunk"


@pytest.mark.parametrize(
    ("shapes", "dtype", "words"),
    [
        ({"l.qweight": (4, 4)}, "I32", "qweight"),
        ({"l.weight": (4, 4), "l.SCB": (4,)}, "F32", "SCB"),
        ({"l.weight": (4, 4), "l.weight_scale_inv": (1, 1)}, "F8_E4M3", "weight_scale_inv"),
        ({"l.weight": (4, 4)}, "I8", "I8"),
        ({"l.weight": (4, 4)}, "F4", "F4"),
        ({"l.bias": (4,)}, "F32", "no floating-point tensor"),
        ({}, "F32", "no floating-point tensor"),
    ],
)
def test_storage_that_must_be_unpacked_is_unusable_for_a_reason(shapes: Shapes, dtype: str, words: str) -> None:
    found = described(shapes, dtype=dtype)
    assert found.kind == "unusable"
    assert words in (found.reason or "")


def test_an_adapter_is_no_member_of_a_family() -> None:
    lora = {"base_model.model.h.0.q.lora_A.weight": (2, 8), "base_model.model.h.0.q.lora_B.weight": (8, 2)}
    assert described(lora).kind == "adapter"
    assert architecture(specs({"w.weight": (4, 4)}), has_adapter_config=True).kind == "adapter"


def test_parameters_are_counted_without_buffers() -> None:
    assert parameter_count(described({"w.weight": (4, 4), "w.bias": (4,), "bn.running_mean": (9,)}).tensors) == 20


def gpt(rows: int = 50, width: int = 8, blocks: int = 2) -> Signature:
    shapes = {f"transformer.h.{i}.attn.c_attn.weight": (width, 3 * width) for i in range(blocks)}
    return signature(described({"transformer.wte.weight": (rows, width), **shapes}).tensors)


def test_a_resized_vocabulary_leaves_the_family_as_it_is() -> None:
    assert gpt(50) == gpt(57)


def test_equal_names_of_other_widths_are_another_family() -> None:
    assert overlap(gpt(width=8), gpt(width=16)) == 0
    assert not same_family(gpt(width=8), gpt(width=16))


def test_a_few_missing_layers_are_tolerated() -> None:
    full, short = (signature(described(vit(blocks=blocks)).tensors) for blocks in (4, 3))
    assert same_family(full, short)
    assert not same_family(full, signature(described(vit(blocks=1)).tensors))
    assert not same_family(frozenset(), frozenset())


def test_families_are_connected_components_and_an_empty_trunk_is_in_none() -> None:
    trunks = {blocks: signature(described(vit(blocks=blocks)).tensors) for blocks in (1, 2, 3, 4, 5, 6)}
    assert families({**trunks, 90: gpt(), 91: gpt(7), 92: gpt(width=16), 93: frozenset()}) == (
        (1, 2, 3, 4, 5, 6),
        (90, 91),
        (92,),
    )


ITEMS = st.frozensets(st.sampled_from([(name, (4, 4)) for name in "abcdef"]), max_size=6)


@given(st.lists(ITEMS, max_size=7), st.randoms(use_true_random=False))
def test_families_do_not_depend_on_the_order(trunks: list[Signature], random: Any) -> None:
    keyed = dict(enumerate(trunks))
    shuffled = list(keyed.items())
    random.shuffle(shuffled)
    assert families(dict(shuffled)) == families(keyed)
    assert sum(len(group) for group in families(keyed)) == sum(bool(trunk) for trunk in trunks)


def test_a_familys_name_is_readable_and_follows_from_its_trunk() -> None:
    trunk = signature(described(vit()).tensors)
    name = family_name({"model_type": "vit"}, trunk)
    assert name.startswith("vit-4x8-")
    assert name == family_name({"model_type": "vit"}, frozenset(sorted(trunk, reverse=True)))
    assert family_name({"architectures": ["My Net!"], "model_type": 3}, trunk).startswith("my_net-4x8-")
    assert family_name(None, gpt()).startswith("net-2x8-")


def test_the_representative_is_what_most_members_have() -> None:
    few, many = gpt(blocks=2), gpt(blocks=3)
    assert representative([many, few, few]) == few
    assert representative([many, few]) == representative([few, many]) == many
