"""Families: which revisions' trunks are comparable, decided from their signatures alone."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, TypeVar

from crawler.architecture import CanonicalTensor

OVERLAP = 0.5  # the least share of trunk tensors that two members of a family have in common

Signature = frozenset[tuple[str, tuple[int | None, ...]]]
"""Canonical name and shape of every trunk tensor; None for a vocabulary's rows."""

Key = TypeVar("Key", bound=Hashable)


def signature(tensors: Iterable[CanonicalTensor]) -> Signature:
    """The signature of a trunk (other kinds of tensors are passed over)."""
    return frozenset((tensor.name, tensor.signature_shape) for tensor in tensors if tensor.kind == "trunk")


def digest(trunk: Signature) -> str:
    """64 hex digits that name a signature."""
    lines = sorted(f"{name} {','.join('*' if size is None else str(size) for size in shape)}" for name, shape in trunk)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def overlap(a: Signature, b: Signature) -> float:
    """Jaccard index of trunk tensors of equal name and shape; 0 where both are empty. Symmetric."""
    union = len(a | b)
    return len(a & b) / union if union else 0.0


def same_family(a: Signature, b: Signature, least: float = OVERLAP) -> bool:
    """Whether two trunks are comparable. Networks of equal names and other widths share no tensor, hence are not."""
    return overlap(a, b) >= least and bool(a & b)


def families(signatures: Mapping[Key, Signature], least: float = OVERLAP) -> tuple[tuple[Key, ...], ...]:
    """Connected components under same_family, whatever the mapping's order; an empty trunk belongs to none.

    Members are in the order of str(key), families in that of their first members.
    """
    holders: dict[Signature, list[Key]] = {}
    for key, trunk in signatures.items():
        if trunk:
            holders.setdefault(trunk, []).append(key)
    distinct = list(holders)
    root = list(range(len(distinct)))

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    for later in range(len(distinct)):
        for earlier in range(later):
            if find(later) != find(earlier) and same_family(distinct[later], distinct[earlier], least):
                root[find(later)] = find(earlier)
    groups: dict[int, list[Key]] = {}
    for index, trunk in enumerate(distinct):
        groups.setdefault(find(index), []).extend(holders[trunk])
    ordered = [tuple(sorted(group, key=str)) for group in groups.values()]
    return tuple(sorted(ordered, key=lambda group: str(group[0])))


def representative(trunks: Iterable[Signature]) -> Signature:
    """The signature that most of a family's members have; among equals the largest, then the least digest."""
    counts = Counter(trunks)
    return min(counts, key=lambda trunk: (-counts[trunk], -len(trunk), digest(trunk)))


def family_name(config: Mapping[str, Any] | None, trunk: Signature) -> str:
    """A name for people, the same for the same trunk and model type: "vit-4x64-1a2b3c" has 4 blocks of width 64."""
    config = config or {}
    architectures = config.get("architectures")
    kind = config.get("model_type")
    if not isinstance(kind, str) and isinstance(architectures, list) and architectures:
        kind = architectures[0]
    slug = re.sub(r"[^a-z0-9]+", "_", kind.lower()).strip("_")[:40] if isinstance(kind, str) else ""
    widths = Counter(size for _, shape in trunk for size in shape[:2] if size is not None)
    width = max(widths, key=lambda size: (widths[size], size), default=0)
    return f"{slug or 'net'}-{_blocks(trunk)}x{width}-{digest(trunk)[:6]}"


def _blocks(trunk: Signature) -> int:
    """How often the part of the names that repeats most does so: layers of a transformer, stages' blocks of a CNN."""
    numbered: dict[str, set[str]] = {}
    for name, _ in trunk:
        for match in re.finditer(r"(?<![^._])\d+(?=[._])", name):
            numbered.setdefault(name[: match.start()], set()).add(match[0])
    return max((len(numbers) for numbers in numbered.values()), default=1)
