"""YAML as plain data, whatever people have written: composed, never constructed, within bounds of time and memory.

Tags and merge keys of YAML have no effect. Values follow YAML 1.2's core schema: `no` is a word and a date is its text,
so that nothing changes its meaning on the way into JSON.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from crawler.plain import DEPTH_LIMIT, plain_text

TEXT_LIMIT = 256 * 1024  # characters
NODE_LIMIT = 50_000  # values, aliases counted as often as they are used

_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:[0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,2})?")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class YamlError(ValueError):
    """This is no YAML that we read, for the reason in the message, which is one line."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line  # where it went wrong, counted from 1; None: nowhere in particular


def documents(text: str, what: str, *, lines_before: int = 0) -> list[Any]:
    """All documents of a text as dict, list, str, int, finite float, bool and None; None for an empty one.

    `what` names the text in messages, whose lines count on from `lines_before`. Raises YamlError for what is no YAML,
    is longer than TEXT_LIMIT, or holds more than DEPTH_LIMIT levels or NODE_LIMIT values.
    """
    if len(text) > TEXT_LIMIT:
        raise YamlError(f"{what} has {len(text)} characters, expected at most {TEXT_LIMIT}")
    try:
        _check_size(text, what)
        nodes = list(yaml.compose_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 + lines_before if mark else None
        where = "" if line is None else f" at line {line}"
        raise YamlError(f"YAML{where}: {_one_line(error.problem or error.context)}", line) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise YamlError(_one_line(error)) from None
    budget = [NODE_LIMIT]
    return [None if node is None else _value(node, what, 0, budget) for node in nodes]


def _one_line(message: Any) -> str:
    return plain_text(" ".join(str(message).split()))[:300]


def _too_much(what: str) -> YamlError:
    return YamlError(f"{what} has more than {DEPTH_LIMIT} levels or {NODE_LIMIT} values")


def _check_size(text: str, what: str) -> None:
    """Refuses deep nesting before the composer recurses into it."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_LIMIT or count > 2 * NODE_LIMIT:
            raise _too_much(what)


def _value(node: yaml.Node, what: str, depth: int, budget: list[int]) -> Any:
    budget[0] -= 1
    if depth > DEPTH_LIMIT or budget[0] < 0:  # aliases that repeat or contain themselves
        raise _too_much(what)
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, what, depth + 1, budget) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {
            plain_text(key.value): _value(item, what, depth + 1, budget)
            for key, item in node.value
            if isinstance(key, yaml.ScalarNode)
        }
    text = plain_text(str(node.value))
    return _word(text) if isinstance(node, yaml.ScalarNode) and not node.style else text


def _word(text: str) -> Any:
    """An unquoted scalar under YAML 1.2's core schema, numbers of a sane length only."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
