"""What others wrote, made into values that PostgreSQL's text and JSONB can hold."""

from __future__ import annotations

import math
from typing import Any

DEPTH_LIMIT = 50
NODE_LIMIT = 200_000


def plain_text(text: str) -> str:
    """The text without NULs and unpaired surrogates, which no UTF-8 column holds."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def plain(value: Any) -> Any:
    """A copy made of dict, list, str, int, finite float, bool and None only; other values become their text.

    Raises ValueError beyond DEPTH_LIMIT levels or NODE_LIMIT values.
    """
    return _plain(value, 0, [NODE_LIMIT])


def _plain(value: Any, depth: int, budget: list[int]) -> Any:
    budget[0] -= 1
    if depth > DEPTH_LIMIT or budget[0] < 0:
        raise ValueError(f"more than {DEPTH_LIMIT} levels or {NODE_LIMIT} values")
    if isinstance(value, dict):
        return {plain_text(str(key)): _plain(item, depth + 1, budget) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1, budget) for item in value]
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    return plain_text(str(value))
