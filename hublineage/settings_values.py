"""Values of settings that are words with a meaning: addresses, amounts of memory, devices, paths."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def checked_endpoint(text: str) -> str:
    """A Hub's address, as it is. Raises ValueError for what is none."""
    try:
        parts = urlsplit(text)
        named = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        named = False
    if not named:
        raise ValueError("this is no Hub's address, such as https://huggingface.co")
    return text


def _checked_size(text: str) -> str:
    parse_size(text)
    return text


def _checked_memory(text: str) -> str:
    parse_memory(text)
    return text


def _checked_device(text: str) -> str:
    if re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", text) is None:
        raise ValueError("expected auto, cpu, cuda or cuda:number")
    return text


Place = Annotated[Path, AfterValidator(Path.expanduser)]
Endpoint = Annotated[str, AfterValidator(checked_endpoint)]
Size = Annotated[str, AfterValidator(_checked_size)]
Memory = Annotated[str, AfterValidator(_checked_memory)]
Device = Annotated[str, AfterValidator(_checked_device)]


def parse_memory(text: str) -> int:
    """`parse_size`, of at least 64 MiB."""
    count = parse_size(text)
    if count < 64 << 20:
        raise ValueError(f"{text!r} is too little memory: measuring needs at least 64M")
    return count


def parse_size(text: str) -> int:
    """Bytes of "800M", "1GiB", "1.5 g" or a plain number. Raises ValueError."""
    letters = text.strip().lower().removesuffix("ib").removesuffix("b").strip()
    number = letters.rstrip("kmgt")
    try:
        count = int(float(number) * _UNITS[letters[len(number) :]])
    except (KeyError, ValueError, OverflowError):
        raise ValueError(f"{text!r} is no amount of memory: expected something like 800M or 2GiB") from None
    if count < 0:
        raise ValueError(f"{text!r} is less than nothing")
    return count
