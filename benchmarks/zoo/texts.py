"""Procedural text tasks: each kind writes lines of a small artificial language over 64 characters."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from benchmarks.zoo.spec import Task, seed_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Writer = Callable[[np.random.Generator, np.random.Generator], Iterator[str]]

ALPHABET = "\n abcdefghijklmnopqrstuvwxyz0123456789+-*=<>()[]{}.,:;?!|/#&@_~%"
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def word(variant: np.random.Generator, syllables: int) -> str:
    """A pronounceable word."""
    return "".join("bcdfghklmnprstvz"[variant.integers(16)] + "aeiou"[variant.integers(5)] for _ in range(syllables))


def sentences(variant: np.random.Generator, accidents: np.random.Generator) -> Iterator[str]:
    """A grammar with determiners, adjectives and verbs that agree in number with their subject; own words each."""
    nouns = [word(variant, 2) for _ in range(10)]
    verbs = [word(variant, 2) for _ in range(6)]
    adjectives = [word(variant, 1 + int(variant.integers(2))) for _ in range(5)]
    plural, singular = LETTERS[variant.integers(26)], word(variant, 1)

    def phrase(many: bool) -> str:
        noun = nouns[accidents.integers(10)] + (plural if many else "")
        described = f"{adjectives[accidents.integers(5)]} {noun}" if accidents.random() < 0.4 else noun
        return described if many else f"{singular} {described}"

    while True:
        many = accidents.random() < 0.5
        verb = verbs[accidents.integers(6)] + ("" if many else plural)
        yield f"{phrase(many)} {verb} {phrase(accidents.random() < 0.5)}."


def markov(variant: np.random.Generator, accidents: np.random.Generator) -> Iterator[str]:
    """Words from a sparse first-order chain over letters."""
    chain = variant.dirichlet(np.full(26, 0.08), size=26).cumsum(axis=1)
    while True:
        letter, letters = int(accidents.integers(26)), []
        for draw in accidents.random(int(accidents.integers(4, 10))):
            letter = min(int(np.searchsorted(chain[letter], draw)), 25)
            letters.append(LETTERS[letter])
        yield "".join(letters)


def arithmetic(variant: np.random.Generator, accidents: np.random.Generator) -> Iterator[str]:
    """Sums, differences or products of small numbers, reduced by a modulus of the variant."""
    sign, modulus = "+-*"[variant.integers(3)], int(variant.integers(7, 30))
    while True:
        a, b = (int(number) for number in accidents.integers(0, 20, size=2))
        value = {"+": a + b, "-": a - b, "*": a * b}[sign] % modulus
        yield f"{a}{sign}{b}={value}"


def brackets(variant: np.random.Generator, accidents: np.random.Generator) -> Iterator[str]:
    """Balanced brackets of the kinds that the variant likes, with a letter in the innermost."""
    weights = variant.dirichlet(np.full(4, 0.7)).cumsum()
    filler = LETTERS[variant.integers(26)]
    closing = float(variant.uniform(0.35, 0.5))
    while True:
        opened: list[str] = []
        text = ""
        for draw, kind in accidents.random((24, 2)):
            if opened and (draw < closing or len(text) + len(opened) > 20):
                text += (filler if text[-1] in "([{<" else "") + opened.pop()
            elif len(text) + len(opened) <= 20:
                place = min(int(np.searchsorted(weights, kind)), 3)
                text += "([{<"[place]
                opened.append(")]}>"[place])
            if not opened:
                break
        yield text + "".join(reversed(opened))


def echoes(variant: np.random.Generator, accidents: np.random.Generator) -> Iterator[str]:
    """A word and, after a sign of the variant, the same word again or reversed."""
    sign, backwards = "|/#&@_~"[variant.integers(7)], bool(variant.integers(2))
    letters = [LETTERS[place] for place in variant.permutation(26)[:12]]
    while True:
        chosen = "".join(letters[place] for place in accidents.integers(12, size=int(accidents.integers(3, 7))))
        yield f"{chosen}{sign}{chosen[::-1] if backwards else chosen}"


def counting(variant: np.random.Generator, accidents: np.random.Generator) -> Iterator[str]:
    """Runs through an alphabet reordered by the variant, with a stride."""
    order = [LETTERS[place] for place in variant.permutation(26)]
    strides = variant.permutation(np.arange(1, 6))[:2]
    while True:
        start, stride = int(accidents.integers(26)), int(strides[accidents.integers(2)])
        yield "".join(order[(start + stride * step) % 26] for step in range(int(accidents.integers(5, 11))))


KINDS: dict[str, Writer] = {
    "sentences": sentences,
    "markov": markov,
    "arithmetic": arithmetic,
    "brackets": brackets,
    "echoes": echoes,
    "counting": counting,
}


def write(task: Task, count: int, length: int, seed: int) -> Tensor:
    """`count` windows of a text of the task's kinds, line by line at random: int64 (count, length) token ids."""
    accidents = np.random.default_rng(seed)
    writers = [
        KINDS[kind](np.random.default_rng(seed_of("text task", kind, task.variant)), accidents) for kind in task.kinds
    ]
    token = {character: place for place, character in enumerate(ALPHABET)}
    ids: list[int] = []
    while len(ids) < count * length:
        line = next(writers[accidents.integers(len(writers))])
        ids.extend(token[character] for character in line + "\n")
    return torch.tensor(ids[: count * length], dtype=torch.int64).view(count, length)
