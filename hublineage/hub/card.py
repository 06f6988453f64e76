"""The header of a model card, read as the Hub reads it, into values that JSON can carry."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER_LIMIT = 1 << 19  # bytes of README.md that are looked at: the parser in Python takes seconds for more
_HEADER = re.compile(r"\A\ufeff?\s*---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_DEPTH_LIMIT = 50
_NODE_LIMIT = 200_000  # a few aliases of aliases can stand for more values than memory holds


class _Yaml12(yaml.SafeLoader):
    """YAML 1.2's reading of plain scalars, as JavaScript has it: `no` is Norwegian and 1:30 is a string.

    Not libyaml's loader, although it is five times as fast: deep nesting overflows its stack and kills the process.
    """


_Yaml12.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*)([eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+", "-+.0123456789"),
):
    _Yaml12.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))
_Yaml12.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^(?:<<)$"), ["<"])


def card_data(text: str) -> dict[str, Any] | None:
    """The card's header as a mapping; None where there is none at the top, it is malformed or it is not a mapping."""
    match = _HEADER.match(text)
    if match is None:
        return None
    try:
        value = jsonable(yaml.load(match[1], Loader=_Yaml12))  # noqa: S506  # a SafeLoader
    except Exception:  # PyYAML's constructors raise KeyError, IndexError and more on odd scalars
        return None
    return value if isinstance(value, dict) else None


def jsonable(value: Any) -> Any:
    """`value` with keys as strings, dates as ISO text, no NaN, no lone surrogates.

    Raises ValueError where it is nested or expanded (by aliases) beyond reason.
    """
    return _Plain().of(value, 0)


class _Plain:
    def __init__(self) -> None:
        self._left = _NODE_LIMIT

    def of(self, value: Any, depth: int) -> Any:
        self._left -= 1
        if depth > _DEPTH_LIMIT or self._left < 0:
            raise ValueError("nested or expanded beyond reason")
        if isinstance(value, Mapping):
            return {_key(key): self.of(inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, list | tuple | set):
            return [self.of(inner, depth + 1) for inner in value]
        return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, int | float):
        return _number(value)
    if value is None:
        return None
    if isinstance(value, date):
        return value.isoformat()
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text.encode(errors="replace").decode()


def _number(value: float) -> float | None:
    """A number that JSON and JavaScript can hold: integers beyond 64 bits as floats, None for what is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if -(2**63) <= value < 2**63:
        return value
    return float(value) if abs(value) < 10**308 else None


def _key(key: Any) -> str:
    return "null" if key is None else str(_scalar(key))


def strings(value: Any) -> Iterator[str]:
    """The texts of a card's field that should be a text or a list of texts; what is neither is left out."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, str) and item.strip():
            yield item.strip()
