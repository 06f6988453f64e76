"""Names of the synthetic models of `benchmarks.answers`."""

from __future__ import annotations

_WORDS = ("tiny", "base", "chat", "code", "vision", "speech", "math", "legal", "long", "fast", "mini", "plus")


def name_of(position: int) -> str:
    """org/name of the model at a position: organisations of a power law, names that look alike."""
    organisation = int((position * 2_654_435_761 % 2**32 / 2**32) ** 3 * 150_000)
    word, other = _WORDS[position % len(_WORDS)], _WORDS[position // len(_WORDS) % len(_WORDS)]
    return f"org-{organisation}/{word}-{other}-{position}"
