"""Int8 by rows as bitsandbytes stores it (LLM.int8(), Dettmers et al., 2022, section 2): weight, SCB, weight_format."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

SCALE = ".SCB"  # largest magnitude of each row, float32
FORMAT = ".weight_format"  # uint8 scalar; 0 is row-major, the only order that is saved today
CONFIG: dict[str, Any] = {
    "_load_in_4bit": False,
    "_load_in_8bit": True,
    "llm_int8_enable_fp32_cpu_offload": False,
    "llm_int8_has_fp16_weight": False,
    "llm_int8_skip_modules": None,
    "llm_int8_threshold": 6.0,
    "load_in_4bit": False,
    "load_in_8bit": True,
    "quant_method": "bitsandbytes",
}


def quantised(weights: Mapping[str, Tensor], linear: Collection[str]) -> dict[str, Tensor]:
    """The matrices named in `linear` as int8 with their row scales; everything else that is floating in float16.

    `linear` names (rows, columns) weights, each "X.weight"; an element is int8 * SCB[row] / 127.
    """
    stored: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        if name not in linear:
            stored[name] = tensor.half() if tensor.is_floating_point() else tensor
            continue
        half = tensor.half().float()  # quantised from float16, in which such networks are loaded
        scale = half.abs().amax(dim=1)
        module = name.removesuffix(".weight")
        stored[name] = (half * (127 / scale.clamp(min=1e-12)).unsqueeze(1)).round().to(torch.int8)
        stored[module + SCALE] = scale
        stored[module + FORMAT] = torch.tensor(0, dtype=torch.uint8)
    return stored


def dequantised(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights that int8 storage stands for; tensors that are not packed as they are."""
    weights: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        if name.endswith((SCALE, FORMAT)):
            continue
        scale = stored.get(name.removesuffix(".weight") + SCALE)
        if scale is not None and tensor.dtype == torch.int8:
            weights[name] = tensor.float() * (scale / 127).unsqueeze(1)
        else:
            weights[name] = tensor
    return weights
