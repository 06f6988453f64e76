"""The API's rows as records; what has another type than documented counts as absent."""

from __future__ import annotations

import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from huggingface_hub import ModelInfo

from crawler.plain import plain, plain_text
from crawler.source import Listed, RemoteFile

_NAME = re.compile(r"(?=.*\S)[^\x00-\x1f\x7f-\x9f\u2028\u2029]{1,300}")  # what is printed as it is
_LONGEST = 300  # characters of a name or an id
_LONGEST_PATH = 1_000
_EARLIEST, _LATEST = 1990, 2100  # years
_CONFIG_KEYS = ("architectures", "model_type", "quantization_config", "peft", "diffusers")
_CARD_KEYS = (
    "base_model", "base_model_relation", "library_name", "license", "license_link", "license_name", "tags",
)  # fmt: skip
_FORMATS = {
    ".safetensors": "safetensors", ".bin": "pytorch", ".pt": "pytorch", ".pth": "pytorch", ".ckpt": "pytorch",
    ".gguf": "gguf", ".onnx": "onnx", ".h5": "tensorflow", ".tflite": "tflite", ".msgpack": "flax",
}  # fmt: skip


def listed_info(info: ModelInfo) -> Listed:
    """The row that huggingface_hub's record of one model was made of."""
    row = {
        "_id": getattr(info, "_id", None), "id": info.id, "sha": info.sha, "author": info.author,
        "createdAt": info.created_at, "lastModified": info.last_modified, "downloads": info.downloads,
        "likes": info.likes, "private": info.private, "gated": info.gated, "disabled": info.disabled,
        "tags": info.tags, "pipeline_tag": info.pipeline_tag, "library_name": info.library_name,
        "config": info.config, "baseModels": info.base_models,
        "safetensors": {"total": info.safetensors.total} if info.safetensors is not None else None,
        "siblings": None if info.siblings is None else [{"rfilename": one.rfilename} for one in info.siblings],
    }  # fmt: skip
    return listed_row(row)


def named(row: Any) -> str | None:
    """The repository's name in a row of the API; None where it has none that can be one. Rows of old have modelId."""
    name = (row.get("id") or row.get("modelId")) if isinstance(row, dict) else None
    return plain_text(name) if isinstance(name, str) and _NAME.fullmatch(name) else None


def listed_row(row: dict[str, Any]) -> Listed:
    """A row of the API that has a name."""
    config = mapping(row.get("config"))
    gated = row.get("gated")
    return Listed(
        name=named(row) or "",
        hub_id=_key(row.get("_id")),
        sha=_key(row.get("sha")),
        author=_text(row.get("author")),
        created_at=_time(row.get("createdAt")),
        last_modified=_time(row.get("lastModified")),
        downloads=_count(row.get("downloads")),
        likes=_count(row.get("likes")),
        private=row.get("private") is True,
        gated=gated if gated in ("auto", "manual") else None,
        disabled=row.get("disabled") is True,
        tags=_texts(row.get("tags")),
        pipeline_tag=_text(row.get("pipeline_tag")),
        library_name=_text(row.get("library_name")),
        architectures=None if config is None else _texts(config.get("architectures")),
        model_type=None if config is None else _text(config.get("model_type")),
        parameters=_count((mapping(row.get("safetensors")) or {}).get("total")),
        formats=_formats(row.get("siblings")),
        config=_some(config, _CONFIG_KEYS),
        card_data=_some(mapping(row.get("cardData")), _CARD_KEYS),
        base_models=_plain(row.get("baseModels")),
    )


def remote_files(siblings: Any) -> tuple[RemoteFile, ...]:
    """The files of a repository, of huggingface_hub's records; what has no name that can be one is left out."""
    found: dict[str, RemoteFile] = {}
    for one in siblings if isinstance(siblings, list) else ():
        path = getattr(one, "rfilename", None)
        if isinstance(path, str) and 0 < len(path) <= _LONGEST_PATH and plain_text(path) == path:
            lfs = getattr(one, "lfs", None)
            sha256 = _key(lfs.get("sha256") if isinstance(lfs, dict) else getattr(lfs, "sha256", None))
            size = _count(getattr(one, "size", None))
            blob, xet = _key(getattr(one, "blob_id", None)), _key(getattr(one, "xet_hash", None))
            found[path] = RemoteFile(path, -1 if size is None else size, blob, sha256, xet)
    return tuple(found.values())


def mapping(value: Any) -> dict[str, Any] | None:
    """The value if it is a JSON object, else None."""
    return value if isinstance(value, dict) else None


def _some(found: dict[str, Any] | None, keys: Collection[str]) -> dict[str, Any] | None:
    """Some of an object's items, fit for the catalogue: a page of whole cards would be most of it."""
    if found is None:
        return None
    return mapping(_plain({key: found[key] for key in keys if found.get(key) is not None}))


def _plain(value: Any) -> Any:
    try:
        return plain(value)
    except ValueError:  # too deep or too large
        return None


def _formats(siblings: Any) -> tuple[str, ...] | None:
    if not isinstance(siblings, list):
        return None
    found = set()
    for sibling in siblings:
        name = sibling.get("rfilename") if isinstance(sibling, dict) else None
        if isinstance(name, str) and "training_args" not in name and "optimizer" not in name:
            found.add(_FORMATS.get(name[name.rfind(".") :] if "." in name else ""))
    return tuple(sorted(one for one in found if one is not None))


def _text(value: Any) -> str | None:
    return plain_text(value) if isinstance(value, str) and value else None


def _key(value: Any) -> str | None:
    """A text that an index holds."""
    found = _text(value)
    return found if found is not None and len(found) <= _LONGEST else None


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(plain_text(item) for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def _time(value: Any) -> datetime | None:
    """A moment in UTC; what is before the Web or after this century is a mistake, which a database might not hold."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None
    return moment if _EARLIEST <= moment.year < _LATEST else None
