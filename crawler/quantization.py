"""What configurations say of quantisation, and of the model that was loaded before this one was saved."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any

from crawler.parents import Declared, declare
from crawler.plain import plain_text

# "quantization" is transformers' old key of the same; bitsandbytes wrote its switches flat at first.
_KEYS = ("quantization_config", "compression_config", "quantization")
_BASE_KEYS = ("base_model", "base_model_name_or_path", "_name_or_path", "model_name_or_path")
_PARTS = ("encoder", "decoder", "text_config", "vision_config", "audio_config", "question_encoder", "generator")
_QUANTIZED_NAME = re.compile(
    r"(?i)(?:^|[-_./])(?:bnb|gptq|awq|exl[23]|gguf|ggml|fp8|nvfp4|mxfp4|int[48]|[248]-?bits?|[2-8][._]\d+bpw|w\d+a\d+)(?:[-_.]|$)"
)


def is_quantized(config: Mapping[str, Any] | None, quantize_config: Mapping[str, Any] | None = None) -> bool:
    """Whether config.json or quantize_config.json (AutoGPTQ's) says that the weights are quantised."""
    return bool(quantize_config) or any(isinstance((config or {}).get(key), dict) for key in _KEYS)


def names_quantized(name: str) -> bool:
    """Whether a model's name says that it is quantised itself: what was trained on it is no quantisation of it."""
    return bool(_QUANTIZED_NAME.search(name))


def method(config: Mapping[str, Any] | None, quantize_config: Mapping[str, Any] | None = None) -> str | None:
    """How the weights are quantised, in the configuration's own word: gptq, awq, bitsandbytes, fp8 and so on."""
    for found in ((config or {}).get(key) for key in _KEYS):
        if isinstance(found, dict):
            for key in ("quant_method", "quant_algo", "quantization_method", "format"):
                if isinstance(found.get(key), str):
                    return plain_text(str(found[key])[:40])
            if "load_in_4bit" in found or "load_in_8bit" in found:
                return "bitsandbytes"
    return "gptq" if quantize_config and "bits" in quantize_config else None


def config_parents(
    config: Mapping[str, Any] | None, quantize_config: Mapping[str, Any] | None, model: str
) -> Iterator[Declared]:
    """What a quantisation's configuration calls its base, and weakly the model that config.json was loaded from.

    Paths and the model's own name are passed over: libraries write there where they found the files.
    """
    quantized = is_quantized(config, quantize_config)
    how = method(config, quantize_config)
    detail = {"method": how} if how is not None else None
    for settings in (*((config or {}).get(key) for key in _KEYS), quantize_config):
        if isinstance(settings, dict):
            yield from _named(settings, _BASE_KEYS, "quantized", "quantization", detail, model)
    relation = "quantized" if quantized else "unknown"
    for part in (None, *_PARTS):
        settings = config if part is None else (config or {}).get(part)
        if isinstance(settings, dict):
            more = detail if part is None else {**(detail or {}), "part": part}
            yield from _named(settings, ("_name_or_path",), relation, "config", more, model)


def _named(
    settings: Mapping[str, Any],
    keys: tuple[str, ...],
    relation: str,
    source: str,
    detail: Mapping[str, Any] | None,
    model: str,
) -> Iterator[Declared]:
    for key in keys:
        if isinstance(settings.get(key), str):
            for parent in declare(settings[key], relation, source, detail):
                if parent.kind == "hub" and parent.name.lower() != model.lower():
                    again = relation == "quantized" and source == "config" and names_quantized(parent.name)
                    yield dataclasses.replace(parent, relation="unknown") if again else parent
