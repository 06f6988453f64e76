"""Model cards: README.md in, its YAML header as plain data out, whatever people have written there.

The Hub reads a header only at the very top, between two lines of `---`
(https://huggingface.co/docs/hub/model-cards, "Model card metadata"). We read what else can be read with certainty and
say what is wrong.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from crawler.plain import plain_text
from crawler.plain_yaml import YamlError, documents

BODY_LIMIT = 100_000  # characters of prose that are kept

_KNOWN_KEYS = frozenset((
    "base_model", "base_model_relation", "datasets", "language", "library_name", "license", "metrics",
    "model-index", "pipeline_tag", "tags",
))  # fmt: skip
# A script that writes the card, uploaded as the card.
_IN_CODE = re.compile(r"""\w{1,40}\s*=\s*[rf]?(?:"{3}|'{3})---\s*""")


@dataclass(frozen=True)
class Card:
    """A model card; `data` and `problem` may both be set: read in spite of something."""

    data: dict[str, Any] | None  # the header, fit for JSON; None: there is none that can be read
    problem: str | None = None  # one line: what is wrong with the header; None: nothing, or no header at all
    body: str = ""  # the text behind the header, at most BODY_LIMIT characters


def parse_card(content: bytes) -> Card:
    """The card of a README.md. Never raises; time and memory are linear in the content."""
    text, encoding_problem = _decode(content)
    lines = text.split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return Card(None, encoding_problem)
    fences = [number for number, line in enumerate(lines) if line.rstrip() == "---" or _IN_CODE.fullmatch(line)][:50]
    if not fences:
        return Card(None, encoding_problem, _body(lines))
    if fences[0] != first or lines[first].rstrip() != "---":
        return _misplaced(lines, fences, encoding_problem)
    if len(fences) == 1:
        return _unclosed(lines, first, encoding_problem)
    body = _body(lines[fences[1] + 1 :])
    try:
        return Card(_mapping("\n".join(lines[first + 1 : fences[1]]), first + 1), encoding_problem, body)
    except YamlError as error:
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
    except YamlError:
        return None
    return data if data and _KNOWN_KEYS & data.keys() else None


def _mapping(text: str, lines_before: int) -> dict[str, Any] | None:
    """The header's YAML; None for an empty header."""
    found = documents(text, "the header", lines_before=lines_before)
    if len(found) > 1:
        raise YamlError(f"the header holds {len(found)} documents, expected one mapping of keys to values")
    data = found[0] if found else None
    if data is not None and not isinstance(data, dict):
        kind = "list" if isinstance(data, list) else "text"
        raise YamlError(f"the header is a {kind}, expected a mapping of keys to values")
    return data
