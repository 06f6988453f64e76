"""The API's rows as records; what has another type than documented counts as absent."""

from __future__ import annotations

from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from huggingface_hub import ModelInfo

from crawler.plain import plain_text
from crawler.source import Listed


def listed_info(info: ModelInfo) -> Listed:
    """The row that huggingface_hub's record of one model was made of."""
    row = {
        "_id": getattr(info, "_id", None), "id": info.id, "sha": info.sha, "author": info.author,
        "createdAt": info.created_at, "lastModified": info.last_modified, "downloads": info.downloads,
        "likes": info.likes, "private": info.private, "gated": info.gated, "disabled": info.disabled,
        "tags": info.tags, "pipeline_tag": info.pipeline_tag, "library_name": info.library_name,
        "config": info.config,
    }  # fmt: skip
    return listed_row(row)


def listed_row(row: dict[str, Any]) -> Listed:
    """A row of the API; its `id` must be a string."""
    config = mapping(row.get("config")) or {}
    gated = row.get("gated")
    return Listed(
        name=plain_text(row["id"]),
        hub_id=_text(row.get("_id")),
        sha=_text(row.get("sha")),
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
        architectures=_texts(config.get("architectures")),
    )


def mapping(value: Any) -> dict[str, Any] | None:
    """The value if it is a JSON object, else None."""
    return value if isinstance(value, dict) else None


def _text(value: Any) -> str | None:
    return plain_text(value) if isinstance(value, str) and value else None


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(plain_text(item) for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def _time(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def matches(row: Listed, patterns: tuple[str, ...]) -> bool:
    """Whether a row is asked for by its architectures: names or shell patterns, any of which will do."""
    names = row.architectures
    if not patterns or names is None:  # not told: only details can decide
        return True
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)
