"""What the Hub says of a GGUF file: its architecture, context length and number of parameters.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

from hublineage.hub.card import jsonable

if TYPE_CHECKING:
    from pathlib import Path

_SCALARS = dict(enumerate("BbHhIif?", start=0)) | {10: "Q", 11: "q", 12: "d"}  # type of a value -> struct's letter
_STRING, _ARRAY = 8, 9
_LIMIT = 50_000_000  # bytes of header that are read: vocabularies take a few millions
_ENTRIES = 1_000_000
_SHOWN = ("chat_template", "bos_token", "eos_token")


class _Reader:
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._left = _LIMIT

    def take(self, size: int) -> bytes:
        self._left -= size
        if self._left < 0:
            raise ValueError("the header is beyond reason")
        content = self._stream.read(size)
        if len(content) != size:
            raise ValueError("the header ends early")
        return content

    def number(self, letter: str) -> Any:
        return struct.unpack("<" + letter, self.take(struct.calcsize("<" + letter)))[0]

    def text(self) -> str:
        return self.take(self.number("Q")).decode(errors="replace")

    def value(self, kind: int) -> Any:
        """A value of metadata; None for an array, which is passed over."""
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            return self.number(_SCALARS[kind])
        inner, count = self.number("I"), self.number("Q")
        if inner in _SCALARS:
            self.take(count * struct.calcsize("<" + _SCALARS[inner]))
        elif count > _ENTRIES:
            raise ValueError("an array is beyond reason")
        elif inner == _STRING:
            for _ in range(count):
                self.take(self.number("Q"))
        else:
            raise ValueError("arrays of arrays are not read")
        return None


def gguf_summary(path: Path) -> dict[str, Any] | None:
    """{total, architecture, context_length, ...} of a GGUF file's header; None where it is malformed."""
    try:
        with path.open("rb") as stream:
            return _summary(_Reader(stream))
    except (OSError, ValueError, KeyError, OverflowError, MemoryError, struct.error):
        return None


def _summary(reader: _Reader) -> dict[str, Any]:
    if reader.take(4) != b"GGUF" or reader.number("I") not in (2, 3):
        raise ValueError("no GGUF file")
    tensors, entries = reader.number("Q"), reader.number("Q")
    if max(tensors, entries) > _ENTRIES:
        raise ValueError("more entries than there can be")
    metadata = {}
    for _ in range(entries):
        key = reader.text()
        metadata[key] = reader.value(reader.number("I"))
    total = 0
    for _ in range(tensors):
        reader.text()
        dimensions = reader.number("I")
        total += math.prod(reader.number("Q") for _ in range(min(dimensions, 8)))
        reader.take(4 + 8)  # type and offset
    architecture = metadata.get("general.architecture")
    found = {
        "total": total,
        "architecture": architecture,
        "context_length": metadata.get(f"{architecture}.context_length"),
        **{name: metadata.get(f"tokenizer.{name}") for name in _SHOWN},
    }
    plain: dict[str, Any] = jsonable({key: value for key, value in found.items() if value is not None})
    return plain
