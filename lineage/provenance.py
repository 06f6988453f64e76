"""What an inference came from: the versions of the code and of the libraries that computed it."""

from __future__ import annotations

import hashlib
import json
import platform
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

_LIBRARIES = ("numpy", "scipy", "torch")


@cache
def versions() -> dict[str, str]:
    """Versions of Python, of the numerical libraries and of hublineage, and a digest of this package's code."""
    return {
        "hublineage": version("hublineage"),
        "code": code_digest(),
        "python": platform.python_version(),
        **{name: version(name) for name in _LIBRARIES},
    }


def code_digest() -> str:
    """16 hex digits that change with any source or data file of the package `lineage`."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*")):
        if path.suffix in {".py", ".json", ".safetensors"}:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def digest(value: Any) -> bytes:
    """A hash of anything that JSON can hold, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).digest()
