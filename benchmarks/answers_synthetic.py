"""Synthetic families, trees and declarations as arrays, which answers_catalogue.py writes into a database.

Families and trees have sizes of a power law; the largest family holds a seventh of all models and one tree of two
thirds of that. In most trees a new model takes a parent with a chance that grows with the children that this has
(preferential attachment), so a few have very many; one tree in twenty is a chain. A part of the models are merges of
several, edges are undecided, duplicates, declared rightly, wrongly, as an ancestor, in circles, under names that no
repository has, and in several places of a card. All of it follows from the seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_UNMEASURED = 0.08  # of all models: listed only, and in no family
_CHAINS = 0.05
_CHAIN_LENGTH = 1_000
_UNDECIDED = 0.05
_DUPLICATES = 0.02


@dataclass(frozen=True)
class Synthetic:
    """Arrays over N models, by position; -1 stands for none."""

    family: NDArray[np.int64]  # (N,)
    tree: NDArray[np.int64]  # (N,)
    roots: NDArray[np.int64]  # (trees,) positions
    parent: NDArray[np.int64]  # (N,) the first parent of each
    merged: NDArray[np.int64]  # (m, 2) child, further parent
    decided: NDArray[np.bool_]  # (N,) of the edge to the first parent
    confidence: NDArray[np.float64]  # (N,)
    duplicate: NDArray[np.bool_]  # (N,) equal to its parent rather than trained from it
    declared: NDArray[np.int64]  # (N,) the declared parent; -2: a name that no repository has
    verdict: NDArray[np.str_]  # (N,)

    @property
    def models(self) -> int:
        """N."""
        return len(self.family)


def synthetic(models: int, seed: int) -> Synthetic:
    """N models with N inferred edges."""
    draw = np.random.default_rng(seed)
    measured = int(models * (1 - _UNMEASURED))
    sizes = _sizes(draw, measured)
    tree = np.full(models, -1)
    tree[:measured] = np.repeat(np.arange(len(sizes)), sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    # Every tree is a family of its own up to a size, small ones share.
    family_of_tree = np.cumsum(sizes > 50) if len(sizes) > 1 else np.zeros(1, dtype=np.int64)
    family_of_tree = np.where(sizes > 50, family_of_tree, np.arange(len(sizes)) // 200 + family_of_tree.max() + 1)
    _, family_of_tree = np.unique(family_of_tree, return_inverse=True)
    family = np.where(tree >= 0, family_of_tree[tree], -1)
    parent = np.full(models, -1)
    for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
        parent[start + 1 : start + size] = start + _attached(draw, size)
    children = np.flatnonzero(parent >= 0)
    more = models - len(children)
    merging = draw.choice(children[sizes[tree[children]] > 3], more)
    other = starts[tree[merging]] + (draw.random(more) * (merging - starts[tree[merging]])).astype(np.int64)
    merged = np.unique(np.stack([merging, other], 1)[other != parent[merging]], axis=0)
    duplicate = (parent >= 0) & (draw.random(models) < _DUPLICATES)
    duplicate[parent] &= False  # who has children stands in the tree
    decided = (draw.random(models) >= _UNDECIDED) & ~duplicate
    confidence = np.where(decided, 0.7 + 0.3 * draw.random(models), 0.6 * draw.random(models))
    declared, verdict = _declared(draw, parent, starts, tree, decided, duplicate)
    return Synthetic(family, tree, starts, parent, merged, decided, confidence, duplicate, declared, verdict)


def _sizes(draw: np.random.Generator, measured: int) -> NDArray[np.int64]:
    """Sizes of trees that add up to all measured models: one of a tenth of them, the rest of a power law."""
    sizes = [max(measured // 9, 1)]
    left = measured - sizes[0]
    while left > 0:
        some = np.minimum((3 * (draw.pareto(1.1, 10_000) + 1)).astype(np.int64), max(measured // 30, 1))
        for size in some.tolist():
            sizes.append(min(size, left))
            left -= sizes[-1]
            if left == 0:
                break
    return np.array(sizes)


def _attached(draw: np.random.Generator, size: int) -> NDArray[np.int64]:
    """The parents of the second and all later models of a tree, within it: of a chain, or the richer the likelier."""
    if size <= _CHAIN_LENGTH and draw.random() < _CHAINS:
        return np.arange(size - 1)
    parents = np.empty(max(size - 1, 0), dtype=np.int64)
    chance, place = draw.random(size).tolist(), draw.random(size).tolist()
    for child in range(1, size):
        # An end of an earlier edge is a model by its degree; the other half of the time any model.
        earlier = int(place[child] * child)
        parents[child - 1] = parents[earlier - 1] if earlier and chance[child] < 0.7 else earlier
    return parents


def _declared(
    draw: np.random.Generator,
    parent: NDArray[np.int64],
    starts: NDArray[np.int64],
    tree: NDArray[np.int64],
    decided: NDArray[np.bool_],
    duplicate: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """What each model declares, and the verdict that follows."""
    size = len(parent)
    kind = draw.random(size)
    above = np.where(parent >= 0, parent[parent], -1)
    stranger = draw.integers(0, size, size)
    declared = np.full(size, -1)
    verdict = np.full(size, "undeclared", dtype="<U12")
    for here, what, said in (
        (kind < 0.62, parent, "agrees"),
        ((kind >= 0.62) & (kind < 0.72) & (above >= 0), above, "ancestor"),
        ((kind >= 0.72) & (kind < 0.82), stranger, "contradicted"),
        ((kind >= 0.82) & (kind < 0.88), np.full(size, -2), "unmeasured"),
    ):
        declared = np.where(here & (what != np.arange(size)), what, declared)
        verdict = np.where(here, said, verdict)
    verdict = np.where((parent < 0) & (tree >= 0) & (declared == -1), "root", verdict)
    verdict = np.where((parent >= 0) & ~decided, "undecided", verdict)
    verdict = np.where(duplicate, "duplicate", verdict)
    verdict = np.where(tree < 0, "unmeasured", verdict)
    roots = starts[tree >= 0] if len(starts) == size else starts
    for root in roots[:: max(len(roots) // (size // 2_000 + 1), 1)].tolist():  # that declare what was trained from them
        if root + 1 < size and tree[root + 1] == tree[root]:
            declared[root], verdict[root] = root + 1, "reversed"
    return declared, verdict
