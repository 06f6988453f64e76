"""What the Hub derives from a repository's files: its config, tags, library, parents and parameter counts."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hublineage.hub.card import HEADER_LIMIT, card_data, jsonable, strings
from hublineage.hub.gguf import gguf_summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from hublineage.hub.content import StoredFile
    from hublineage.hub.sidecar import Sidecar

RELATIONS = ("finetune", "adapter", "merge", "quantized")
_JSON_LIMIT = 20_000_000  # bytes of a JSON file that is worth parsing
_HEADER_LIMIT = 25_000_000  # bytes: the client refuses longer safetensors headers
_CONFIG_KEYS = ("architectures", "model_type", "quantization_config", "auto_map")
_TOKENIZER_KEYS = ("bos_token", "eos_token", "pad_token", "unk_token", "mask_token", "chat_template")
_FORMATS = (
    ("pytorch", re.compile(r"(^|/)pytorch_model[^/]*\.bin$")),
    ("tf", re.compile(r"(^|/)tf_model\.h5$")),
    ("jax", re.compile(r"(^|/)flax_model\.msgpack$")),
    ("tflite", re.compile(r"\.tflite$")),
    ("rust", re.compile(r"(^|/)rust_model\.ot$")),
    ("onnx", re.compile(r"\.onnx$")),
    ("safetensors", re.compile(r"\.safetensors$")),
    ("gguf", re.compile(r"\.gguf$")),
)
_TASKS = {
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForMaskedLM": "fill-mask",
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForImageClassification": "image-classification",
}
_ARXIV = re.compile(r"arxiv\.org/(?:abs|pdf)/(\d{4}\.\d{4,5})")


@dataclass(frozen=True)
class Metadata:
    """What listings and information pages say of a repository beyond its sidecar and its list of files."""

    card: dict[str, Any] | None
    config: dict[str, Any] | None
    library_name: str | None
    pipeline_tag: str | None
    base_models: tuple[str, ...]  # as the card writes them, a name once
    relation: str | None  # one of RELATIONS, or what the card says; None without base_models
    tags: tuple[str, ...]
    safetensors: dict[str, Any] | None  # {"parameters": {dtype: count}, "total": count}
    gguf: dict[str, Any] | None  # of the first GGUF file, see gguf.py


def describe(files: Mapping[str, StoredFile], sidecar: Sidecar) -> Metadata:
    """The metadata of a repository from its files by path. Malformed files count as absent."""
    text = _read(files.get("README.md"), HEADER_LIMIT, whole=False).decode(errors="replace")
    card = card_data(text)
    fields = card or {}
    config = _config(files)
    library = sidecar.library_name or _text(fields.get("library_name"))
    if library is None and "adapter_config.json" in files:
        library = "peft"
    parents = tuple(dict.fromkeys(strings(fields.get("base_model"))))
    metadata = Metadata(
        card=card,
        config=config,
        library_name=library,
        pipeline_tag=sidecar.pipeline_tag or _text(fields.get("pipeline_tag")) or _task(library, config),
        base_models=parents,
        relation=_relation(fields, files, config, library, len(parents)) if parents else None,
        tags=(),
        safetensors=_parameter_counts(files),
        gguf=next((gguf_summary(files[path].location) for path in files if path.endswith(".gguf")), None),
    )
    return replace(metadata, tags=tuple(dict.fromkeys((*_tags(metadata, files, text), *sidecar.tags))))


def _relation(
    fields: Mapping[str, Any],
    files: Mapping[str, StoredFile],
    config: Mapping[str, Any] | None,
    library: str | None,
    parents: int,
) -> str:
    """How a model comes from its parents: as the card says, else as the Hub infers it from the files."""
    stated = _text(fields.get("base_model_relation"))
    if stated:
        return stated
    if library == "peft" or "adapter_config.json" in files:
        return "adapter"
    if "quantization_config" in (config or {}) or any(path.endswith(".gguf") for path in files):
        return "quantized"
    return "merge" if parents > 1 else "finetune"


def _tags(metadata: Metadata, files: Mapping[str, StoredFile], text: str) -> Iterator[str]:
    """The tags in the Hub's order, from the rest of the metadata, the files by path and the card's text."""
    fields = metadata.card or {}
    yield from strings(metadata.library_name)
    yield from (name for name, pattern in _FORMATS if any(pattern.search(path) for path in files))
    yield from strings((metadata.config or {}).get("model_type"))
    yield from strings(metadata.pipeline_tag)
    yield from strings(fields.get("tags"))
    yield from strings(fields.get("language"))
    yield from (f"dataset:{name}" for name in strings(fields.get("datasets")))
    yield from (f"arxiv:{number}" for number in _ARXIV.findall(text))
    yield from (f"base_model:{name}" for name in metadata.base_models)
    yield from (f"base_model:{metadata.relation}:{name}" for name in metadata.base_models)
    yield from (f"license:{name}" for name in strings(fields.get("license")))
    yield "region:us"


def _config(files: Mapping[str, StoredFile]) -> dict[str, Any] | None:
    """config.json as the Hub reduces it, with what it keeps of the tokenizer's and the adapter's configuration."""
    config = {}
    model = _json(files.get("config.json"))
    if model is not None:
        config = {key: model[key] for key in _CONFIG_KEYS if key in model}
    tokenizer = _json(files.get("tokenizer_config.json"))
    if tokenizer is not None:
        config["tokenizer_config"] = {key: tokenizer[key] for key in _TOKENIZER_KEYS if key in tokenizer}
    adapter = _json(files.get("adapter_config.json"))
    if adapter is not None:
        config["peft"] = {key: adapter[key] for key in ("base_model_name_or_path", "task_type") if key in adapter}
    return config or None


def _task(library: str | None, config: Mapping[str, Any] | None) -> str | None:
    """The task that an architecture's name tells; the Hub infers it for transformers only."""
    if library != "transformers":
        return None
    names = strings((config or {}).get("architectures"))
    return next((task for name in names for suffix, task in _TASKS.items() if name.endswith(suffix)), None)


def _parameter_counts(files: Mapping[str, StoredFile]) -> dict[str, Any] | None:
    shards = ["model.safetensors"]
    if shards[0] not in files:
        weight_map = (_json(files.get("model.safetensors.index.json")) or {}).get("weight_map")
        shards = sorted(set(strings(list(weight_map.values())))) if isinstance(weight_map, dict) else []
    parameters: dict[str, int] = {}
    for shard in shards:
        counts = safetensors_counts(files[shard].location) if shard in files else None
        if counts is None:
            return None
        for dtype, count in counts.items():
            parameters[dtype] = parameters.get(dtype, 0) + count
    return {"parameters": parameters, "total": sum(parameters.values())} if shards else None


def safetensors_counts(path: Path) -> dict[str, int] | None:
    """Number of elements by dtype from a safetensors file's header; None where it is malformed.

    Source: https://huggingface.co/docs/safetensors, 8 bytes of little-endian header length, then JSON.
    """
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if not 2 <= length <= min(_HEADER_LIMIT, path.stat().st_size - 8):
                return None
            header = json.loads(stream.read(length))
        counts: dict[str, int] = {}
        for name, spec in header.items():
            if name != "__metadata__":
                if not all(isinstance(n, int) and n >= 0 for n in spec["shape"]) or not isinstance(spec["dtype"], str):
                    return None
                counts[spec["dtype"]] = counts.get(spec["dtype"], 0) + math.prod(spec["shape"])
        plain: dict[str, int] = jsonable(counts)
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None
    return plain


def _read(file: StoredFile | None, limit: int, *, whole: bool) -> bytes:
    """Up to `limit` bytes of a file; nothing where it is absent, unreadable or, if `whole` is asked for, longer."""
    if file is None or (whole and file.size > limit):
        return b""
    try:
        with file.location.open("rb") as stream:
            return stream.read(limit)
    except OSError:
        return b""


def _json(file: StoredFile | None) -> dict[str, Any] | None:
    try:
        value = jsonable(json.loads(_read(file, _JSON_LIMIT, whole=True)))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _text(value: Any) -> str | None:
    return next(strings(value), None)
