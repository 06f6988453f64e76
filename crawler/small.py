"""The errors of small files, the same for every source."""

from __future__ import annotations

from db.errors import CardMalformed, ConfigMalformed, Failure, WeightsMissing


def too_large(name: str, path: str, limit: int, size: int | None = None) -> Failure:
    """CardMalformed for a README.md, ConfigMalformed for all else."""
    found = f"{size} bytes" if size is not None else "more bytes than that"
    return _kind(path)(f"it has {found}, expected at most {limit}", model=name, file=path)


def missing_file(name: str, path: str) -> Failure:
    """WeightsMissing for weights, else as `too_large`."""
    kind = WeightsMissing if path.endswith(".safetensors") else _kind(path)
    return kind("the file is not in this revision", model=name, file=path)


def _kind(path: str) -> type[Failure]:
    return CardMalformed if path == "README.md" else ConfigMalformed
