"""Model cards: README.md in, its YAML header as plain data out, whatever people have written there.

The Hub reads a header only at the very top, between two lines of `---`
(https://huggingface.co/docs/hub/model-cards, "Model card metadata"). We read what else can be read with certainty and
say what is wrong. Values follow YAML 1.2: `no` is a word and a date is its text, so that nothing changes its meaning on
the way into JSON.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import yaml

from crawler.plain import DEPTH_LIMIT, plain_text

HEADER_LIMIT = 256 * 1024  # characters
NODE_LIMIT = 50_000  # values in a header, aliases counted as often as they are used
BODY_LIMIT = 100_000  # characters of prose that are kept

_Loader: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_KNOWN_KEYS = frozenset((
    "base_model", "base_model_relation", "datasets", "language", "library_name", "license", "metrics",
    "model-index", "pipeline_tag", "tags",
))  # fmt: skip
_INT = re.compile(r"[-+]?[0-9]{1,18}")
_FLOAT = re.compile(r"[-+]?(?:[0-9]{1,30}\.?[0-9]{0,30}|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,2})?")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True)
class Card:
    """A model card; `data` and `problem` may both be set: read in spite of something."""

    data: dict[str, Any] | None  # the header, fit for JSON; None: there is none that can be read
    problem: str | None = None  # one line: what is wrong with the header; None: nothing, or no header at all
    body: str = ""  # the text behind the header, at most BODY_LIMIT characters


class _HeaderError(ValueError):
    """This is no header, for the reason in the message."""


def parse_card(content: bytes) -> Card:
    """The card of a README.md. Never raises; time and memory are linear in the content."""
    text, encoding_problem = _decode(content)
    lines = text.split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return Card(None, encoding_problem)
    fences = [number for number, line in enumerate(lines) if line.rstrip() == "---"][:50]
    if not fences:
        return Card(None, encoding_problem, _body(lines))
    if fences[0] != first:
        return _misplaced(lines, fences, encoding_problem)
    if len(fences) == 1:
        return _unclosed(lines, first, encoding_problem)
    body = _body(lines[fences[1] + 1 :])
    try:
        return Card(_mapping("\n".join(lines[first + 1 : fences[1]]), first + 1), encoding_problem, body)
    except _HeaderError as error:
        return Card(None, str(error), body)


def _decode(content: bytes) -> tuple[str, str | None]:
    problem = None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            text, problem = content.decode("utf-16", "replace"), "the card is UTF-16, expected UTF-8"
        else:
            text, problem = content.decode("utf-8", "replace"), f"the card is not UTF-8 at byte {error.start}"
    return plain_text(text).removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n"), problem


def _body(lines: list[str]) -> str:
    return "\n".join(lines)[:BODY_LIMIT]


def _misplaced(lines: list[str], fences: list[int], problem: str | None) -> Card:
    """A header behind other text: the Hub ignores it. Ours if a block between fences holds keys of a card."""
    for begin, end in pairwise(fences):
        data = _salvaged(lines[begin + 1 : end])
        if data is not None:
            return Card(data, f"the header begins at line {begin + 1}, expected the top", _body(lines[end + 1 :]))
    return Card(None, problem, _body(lines))  # horizontal rules


def _unclosed(lines: list[str], first: int, problem: str | None) -> Card:
    """One fence only: what stands up to the first blank line or heading is the header, if it holds keys of a card."""
    end = first + 1
    while end < len(lines) and lines[end].strip() and not lines[end].startswith("# "):
        end += 1
    data = _salvaged(lines[first + 1 : end])
    if data is None and end == first + 1:
        return Card(None, problem, _body(lines[end:]))  # a rule above the text
    return Card(data, "the header has no closing ---", _body(lines[end:]))


def _salvaged(lines: list[str]) -> dict[str, Any] | None:
    try:
        data = _mapping("\n".join(lines), 0)
    except _HeaderError:
        return None
    return data if data and _KNOWN_KEYS & data.keys() else None


def _mapping(text: str, lines_before: int) -> dict[str, Any] | None:
    """The header's YAML. Composed, never constructed: tags and merge keys of YAML have no effect here."""
    if len(text) > HEADER_LIMIT:
        raise _HeaderError(f"the header has {len(text)} characters, expected at most {HEADER_LIMIT}")
    try:
        _check_size(text)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1 + lines_before}" if mark else ""
        raise _HeaderError(f"YAML{where}: {_one_line(error.problem or error.context)}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise _HeaderError(_one_line(error)) from None
    if node is None:
        return None
    if not isinstance(node, yaml.MappingNode):
        raise _HeaderError(f"the header is a {_kind(node)}, expected a mapping of keys to values")
    data = _value(node, 0, [NODE_LIMIT])
    return data if isinstance(data, dict) else None


def _kind(node: yaml.Node) -> str:
    return "list" if isinstance(node, yaml.SequenceNode) else "text"


def _one_line(message: Any) -> str:
    return plain_text(" ".join(str(message).split()))[:300]


def _check_size(text: str) -> None:
    """Refuses deep nesting before the composer recurses into it."""
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > DEPTH_LIMIT or count > 2 * NODE_LIMIT:
            raise _HeaderError(f"the header has more than {DEPTH_LIMIT} levels or {NODE_LIMIT} values")


def _value(node: yaml.Node, depth: int, budget: list[int]) -> Any:
    budget[0] -= 1
    if depth > DEPTH_LIMIT or budget[0] < 0:  # aliases that repeat or contain themselves
        raise _HeaderError(f"the header has more than {DEPTH_LIMIT} levels or {NODE_LIMIT} values")
    if isinstance(node, yaml.SequenceNode):
        return [_value(item, depth + 1, budget) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {
            plain_text(key.value): _value(item, depth + 1, budget)
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
