"""Dates of creation as evidence, where they are known; dates of upload are no dates of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf


def oldest_first(group: Sequence[int], created: Mapping[int, float]) -> tuple[int, ...]:
    """Members by the date of their creation (seconds, by member), those without one last, else as they are given."""
    return tuple(sorted(group, key=lambda one: created.get(one, inf)))
