"""Weights in int8 with a scale for each row, as bitsandbytes stores them (LLM.int8(), Dettmers et al., 2022).

Beside X.weight (I8, rows by columns) lie X.SCB (F32, the largest magnitude of each row) and, mostly, X.weight_format
(U8, one byte: the order of the values). These two are no layers: they belong to the weight.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from crawler.safetensors_header import TensorSpec

_WEIGHT = re.compile(r"(^|\.)weight$")
_MATRIX = 2  # dimensions


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
