"""Headers of int8 weights with their scales: layers under the names of their float sisters, or a reason why not."""

from __future__ import annotations

import math

import pytest

from crawler.architecture import Architecture, architecture
from crawler.families import signature
from crawler.safetensors_header import TensorSpec

SIZES = {"I8": 1, "U8": 1, "F16": 2, "F32": 4, "I32": 4}
Layout = dict[str, tuple[str, tuple[int, ...]]]

PACKED: Layout = {
    "vit.layer.0.query.weight": ("I8", (8, 6)),
    "vit.layer.0.query.SCB": ("F32", (8,)),
    "vit.layer.0.query.weight_format": ("U8", ()),
    "vit.layer.0.query.bias": ("F16", (8,)),
    "vit.embeddings.weight": ("F16", (4, 6)),
    "classifier.weight": ("F16", (3, 6)),
}
FLOATS: Layout = {
    name: ("F32", shape) for name, (_, shape) in PACKED.items() if not name.endswith(("SCB", "weight_format"))
}


def described(layout: Layout, model_type: str = "vit") -> Architecture:
    specs = [
        TensorSpec(name, dtype, shape, 0, math.prod(shape) * SIZES[dtype]) for name, (dtype, shape) in layout.items()
    ]
    return architecture(specs, {"model_type": model_type})


def test_an_int8_model_has_the_layers_of_its_float_sister() -> None:
    one, other = described(PACKED), described(FLOATS)
    assert (one.kind, other.kind) == ("model", "model")
    assert signature(one.tensors) == signature(other.tensors)
    assert [(tensor.name, tensor.kind) for tensor in one.tensors] == [
        (tensor.name, tensor.kind) for tensor in other.tensors
    ]
    assert one.beside == ("vit.layer.0.query.SCB", "vit.layer.0.query.weight_format")
    assert other.beside == ()


def test_the_order_of_values_need_not_be_stored() -> None:
    assert described({name: what for name, what in PACKED.items() if not name.endswith("format")}).kind == "model"


@pytest.mark.parametrize(
    ("changed", "culprit", "said"),
    [
        ({"vit.layer.0.query.SCB": None}, "weight", "without the scales of their rows (vit.layer.0.query.SCB)"),
        ({"vit.layer.0.query.SCB": ("F32", (7,))}, "SCB", "holds F32 (7,), expected F32 (8,)"),
        ({"vit.layer.0.query.SCB": ("F16", (8,))}, "SCB", "holds F16 (8,), expected F32 (8,)"),
        ({"vit.layer.0.query.SCB": ("F32", (8, 1))}, "SCB", "expected F32 (8,)"),
        ({"vit.layer.0.query.weight_format": ("U8", (2,))}, "weight_format", "expected a single U8"),
        ({"vit.layer.0.query.weight": ("F16", (8, 6))}, "SCB", "quantised (SCB)"),
        ({"vit.layer.0.key.weight": ("I8", (8, 6))}, "weight", "stored as I8"),
    ],
)
def test_malformed_scales_are_named_with_what_was_expected(
    changed: dict[str, tuple[str, tuple[int, ...]] | None], culprit: str, said: str
) -> None:
    layout = {name: what for name, what in {**PACKED, **changed}.items() if what is not None}
    found = described(layout)
    assert found.kind == "unusable"
    assert said in (found.reason or "")
    assert (found.culprit or "").endswith(f".{culprit}")
    assert found.culprit in layout


@pytest.mark.parametrize(
    ("name", "dtype", "shape"),
    [
        ("l.weight.absmax", "F32", (4,)),
        ("l.weight.quant_map", "F32", (16,)),
        ("l.weight.quant_state.bitsandbytes__nf4", "U8", (80,)),
        ("l.qweight", "I32", (4, 4)),
        ("l.weight_scale", "F32", (4, 1)),
    ],
)
def test_other_packed_formats_are_refused_beside_int8_too(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    found = described({**PACKED, name: (dtype, shape)})
    assert found.kind == "unusable"
    assert "stored quantised" in (found.reason or "")
    assert found.culprit == name


CONV1D = {"c_attn": (4, 12), "c_proj": (4, 4)}  # as GPT-2 keeps them: inputs by outputs
EMBEDDINGS: Layout = {"transformer.wte.weight": ("F16", (9, 4))}


def attention(dtype: str, shapes: dict[str, tuple[int, int]]) -> Layout:
    scaled: Layout = {f"transformer.h.0.attn.{name}.SCB": ("F32", shape[:1]) for name, shape in shapes.items()}
    weights: Layout = {f"transformer.h.0.attn.{name}.weight": (dtype, shape) for name, shape in shapes.items()}
    return EMBEDDINGS | weights | (scaled if dtype == "I8" else {})


def test_gpt2_weights_that_quantising_transposed_are_the_layers_of_their_float_sister() -> None:
    quantised = described(attention("I8", {name: shape[::-1] for name, shape in CONV1D.items()}), "gpt2")
    assert quantised.kind == "model"
    assert signature(quantised.tensors) == signature(described(attention("F32", CONV1D), "gpt2").tensors)
    assert {tensor.source[16:]: tensor.dtype for tensor in quantised.tensors if tensor.dtype != "F16"} == {
        "attn.c_attn.weight": "I8T",
        "attn.c_proj.weight": "I8T",
    }


def test_int8_weights_lie_as_they_do_where_shapes_or_the_model_type_say_so() -> None:
    upright, turned = (attention("I8", shapes) for shapes in (CONV1D, {"c_attn": (12, 4), "c_proj": (4, 4)}))
    for layout, model_type in ((upright, "gpt2"), (turned, "qwen")):
        assert {tensor.dtype for tensor in described(layout, model_type).tensors} == {"I8", "F16"}
