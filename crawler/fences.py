"""Markdown's fenced blocks: what a card shows as code, and the prose around it."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"[ \t]{0,8}(?:`{3,}|~{3,})")


@dataclass(frozen=True)
class Block:
    """A fenced block; one that is never closed ends with the text."""

    language: str  # the first word behind the fence, in small letters
    content: str


def split_fences(text: str) -> tuple[str, tuple[Block, ...]]:
    """The text without its fenced blocks, and these (https://spec.commonmark.org/0.31.2/#fenced-code-blocks)."""
    prose: list[str] = []
    blocks: list[Block] = []
    fence = language = ""
    inside: list[str] = []
    for line in text.split("\n"):
        match = _FENCE.match(line)
        if not fence:
            if match is None or (line.lstrip()[0] == "`" and "`" in line[match.end() :]):
                prose.append(line)
            else:
                fence = match[0].strip()
                language = (line[match.end() :].split() or [""])[0].lower()
        elif match is not None and match[0].strip().startswith(fence) and not line[match.end() :].strip():
            blocks.append(Block(language, "\n".join(inside)))
            fence, inside = "", []
        else:
            inside.append(line)
    if fence:
        blocks.append(Block(language, "\n".join(inside)))
    return "\n".join(prose), tuple(blocks)
