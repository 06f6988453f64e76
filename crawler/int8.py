"""Weights in int8 with a scale for each row, as bitsandbytes stores them (LLM.int8(), Dettmers et al., 2022).

Beside X.weight (I8, rows by columns) lie X.SCB (F32, the largest magnitude of each row) and, mostly, X.weight_format
(U8, one byte: the order of the values). These two are no layers: they belong to the weight.

GPT-2 and its kin keep matrices as (inputs, outputs). transformers makes linear layers of them to quantise them, so that
their int8 weights lie as (outputs, inputs) under the same names: transposed, with a scale for each output.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from crawler.safetensors_header import TensorSpec

_WEIGHT = re.compile(r"(^|\.)weight$")
_MATRIX = 2  # dimensions
TRANSPOSED = "I8T"  # what the type of a transposed int8 weight is called among dtypes, which know no such thing
_TRANSPOSING = frozenset(("clvp", "decision_transformer", "gpt2", "imagegpt", "openai-gpt"))  # model types with Conv1D
_CONV1D = re.compile(r"(^|\.)(c_attn|c_fc|c_proj|q_attn)\.weight$")
_QUERY_KEY_VALUE = re.compile(r"(^|\.)c_attn\.weight$")


def is_packed(spec: TensorSpec) -> bool:
    """Whether a tensor is a matrix of weights in int8, whatever lies beside it."""
    return spec.dtype == "I8" and len(spec.shape) == _MATRIX and 0 not in spec.shape and bool(_WEIGHT.search(spec.name))


def companions(weight: str) -> tuple[str, str]:
    """What the scales of the rows of an int8 weight and the order of its values are called."""
    module = weight.removesuffix("weight")
    return f"{module}SCB", f"{module}weight_format"


def scaled(specs: Mapping[str, TensorSpec]) -> dict[str, tuple[str, ...]]:
    """The int8 weights that have scales, and what is there beside each."""
    beside = {spec.name: companions(spec.name) for spec in specs.values() if is_packed(spec)}
    return {name: tuple(one for one in pair if one in specs) for name, pair in beside.items() if pair[0] in specs}


def transposed(specs: Mapping[str, TensorSpec], config: Mapping[str, Any] | None) -> frozenset[str]:
    """The int8 weights that lie transposed: those of Conv1D where query, key and value are three rows to a column."""
    if (config or {}).get("model_type") not in _TRANSPOSING:
        return frozenset()
    shapes = {spec.shape for spec in specs.values() if is_packed(spec) and _QUERY_KEY_VALUE.search(spec.name)}
    if not shapes or any(rows != 3 * columns for rows, columns in shapes):
        return frozenset()
    return frozenset(spec.name for spec in specs.values() if is_packed(spec) and _CONV1D.search(spec.name))


def problem(weight: TensorSpec, specs: Mapping[str, TensorSpec]) -> tuple[str, str] | None:
    """The tensor on account of which an int8 weight cannot be decoded, and why; None where it can."""
    name, order = companions(weight.name)
    scale = specs.get(name)
    if scale is None:
        return weight.name, f"weights are stored as I8 without the scales of their rows ({name})"
    rows = weight.shape[0]
    if (scale.dtype, scale.shape) != ("F32", (rows,)):
        return name, f"holds {_text(scale)}, expected F32 ({rows},): a scale for each row of {weight.name}"
    if order in specs and (specs[order].dtype, specs[order].stop - specs[order].start) != ("U8", 1):
        return order, f"holds {_text(specs[order])}, expected a single U8"
    return None


def _text(spec: TensorSpec) -> str:
    return f"{spec.dtype} {spec.shape}"
