"""Siblings that drift alike: who seems to be a child of its sibling is given back to their parent.

Fine-tunes on similar data move their parent in similar directions. With correlation r between siblings i and j of h,
||i - j||² = ||i - h||² + ||j - h||² - 2 r ||i - h|| ||j - h|| is below ||j - h||² as soon as i's step is shorter than
2 r of j's: a sibling that hardly moved steals children. Two angles tell the cases apart. If i lies between h and j, the
cosine at i of the ways to h and to j is near 0, as of any parent and child; if h lies between, the cosine at h is that
of siblings, whatever that is in this tree. Both distributions are taken from the tree itself, with wide tails: two
siblings may have seen the same data, and a child may go on as its parent did.

Where siblings do drift, and angles do not say clearly which of the two it is, others may be asked besides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lineage.walk import outward

SPREAD_OF_SIBLINGS = 0.05  # at least, of the cosines of siblings
SPREAD_AT_PARENTS = 0.04  # at least, of the cosines at those between
SIBLINGS_TAIL = 0.1  # share of siblings whose cosine is anything from 0 to 1: two may have seen the very same data
PARENTS_TAIL = 0.1  # share of those between whose cosine is anything from -1 to 0: a child that goes on as they did
KNOWN_AS = 4.0  # siblings that the tree's median is worth beside those of the same parent
SKEWED = 0.18  # from this median or spread of the cosines of a tree's siblings on, they drift so that angles mislead
DECADES = 1.0  # of the lengths of a tree's steps; where they vary by more it is these that skew angles, and no drift
CLEAR = 4.0  # log-odds, beyond which nobody else is asked
_FEWEST = 3
_SAME_ZEROS = 0.1
_ROUNDS = 10

SiblingOdds = Callable[[NDArray[np.intp]], NDArray[np.float64]]
"""Of chains (c, 3) of positions h, its child i, and j: (c,) what is added to the log-odds that j is i's sibling."""


def settle(
    members: Sequence[int],
    edges: Sequence[tuple[int, int]],
    squared: NDArray[np.float64],
    root: int,
    *,
    sure: NDArray[np.bool_] | None = None,
    zeros: NDArray[np.float64] | None = None,
    asked: SiblingOdds | None = None,
) -> tuple[tuple[int, int], ...]:
    """Return the edges of the tree after all repairs, as pairs of positions, ascending.

    `squared` is (n, n) over `members`; the tree is seen from `root`. Pairs that are `sure` (n, n) keep their edge, and
    members whose shares of `zeros` (n,) differ by more than a tenth make no triangle.

    `asked` says of chains (c, 3), where siblings drift and angles are unclear, how much likelier (in log) than by their
    angles the last two are siblings, children of the first, than parent and child.
    """
    measured = _Measured(
        squared,
        np.zeros(squared.shape, dtype=bool) if sure is None else sure,
        np.zeros(len(squared)) if zeros is None else zeros,
        None if asked is None else lambda chains: asked(np.array(members, dtype=np.intp)[chains]),
    )
    place = {member: index for index, member in enumerate(members)}
    parent = {place[child]: place[up] for up, child in outward(root, edges)}
    for _ in range(_ROUNDS):
        repairs = _repairs(parent, measured)
        if not repairs:
            break
        parent |= repairs
    pairs = ((members[up], members[child]) for child, up in parent.items())
    return tuple(sorted((min(pair), max(pair)) for pair in pairs))


@dataclass(frozen=True)
class _Measured:
    squared: NDArray[np.float64]
    sure: NDArray[np.bool_]
    zeros: NDArray[np.float64]
    asked: SiblingOdds | None = None


def _repairs(parent: dict[int, int], measured: _Measured) -> dict[int, int]:
    """Children that are likelier their parent's siblings, and their grandparents; not two of them on one way down."""
    chains = np.array([(parent[i], i, j) for j, i in parent.items() if i in parent], dtype=np.int64).reshape(-1, 3)
    squared = measured.squared
    chains = chains[np.isfinite(squared[chains[:, 0], chains[:, 2]])]  # of those that were measured
    if not len(chains):
        return {}
    h, i, j = chains.T
    at_parent, at_top = cosine(squared, i, h, j), cosine(squared, h, i, j)
    pairs = _sibling_pairs(parent)
    pairs = pairs[np.isfinite(squared[pairs[:, 1], pairs[:, 2]])]  # of those that were measured
    siblings = cosine(squared, *pairs.T)
    above = np.bincount(pairs[:, 0], weights=siblings, minlength=len(squared))
    number = np.bincount(pairs[:, 0], minlength=len(squared))
    usual, spread = _usual(siblings, 0.0, SPREAD_OF_SIBLINGS)
    between, spread_between = _usual(at_parent, 0.0, SPREAD_AT_PARENTS)
    expected = (above[h] + KNOWN_AS * usual) / (number[h] + KNOWN_AS)
    as_sibling = _log_mixture(at_top, expected, spread, SIBLINGS_TAIL, np.where(at_top > 0, 1.0, 0.0))
    as_child = _log_mixture(at_parent, between, spread_between, PARENTS_TAIL, np.where(at_parent < 0, 1.0, 0.0))
    gain = as_sibling - as_child
    # Beyond 1: distances over different elements, which make no triangle.
    triangle = (np.abs(at_top) <= 1) & (np.abs(at_parent) <= 1)
    triangle &= np.ptp(measured.zeros[chains], axis=1) <= _SAME_ZEROS
    gain[~triangle | measured.sure[i, j]] = -np.inf
    if measured.asked is not None and _drifts(parent, squared, usual, spread):
        unclear = np.flatnonzero(np.abs(gain) <= CLEAR)
        if len(unclear):
            gain[unclear] += measured.asked(chains[unclear])
    found: dict[int, int] = {}
    touched: set[int] = set()
    for at in np.argsort(-gain, kind="stable"):
        if gain[at] <= 0:
            break
        if touched.isdisjoint((int(i[at]), int(j[at]))):
            found[int(j[at])] = int(h[at])
            touched |= {int(i[at]), int(j[at])}
    return found


def _drifts(parent: Mapping[int, int], squared: NDArray[np.float64], *cosines: float) -> bool:
    """Whether siblings' cosines are skewed, by median or spread, though steps are of one order of magnitude."""
    own = squared[list(parent.values()), list(parent)]
    lengths = np.log10(own[(own > 0) & np.isfinite(own)]) / 2
    low, high = np.quantile(lengths, [0.1, 0.9]).tolist() if len(lengths) else (0.0, 0.0)
    return max(map(abs, cosines)) >= SKEWED and high - low <= DECADES


def cosine(
    squared: NDArray[np.float64], at: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Cosines of the angles at `at` in triangles with `a` and `b`, from squared distances.

    0 where two are equal, and -inf where a pair was not measured.
    """
    one, other, across = squared[at, a], squared[at, b], squared[a, b]
    known = np.isfinite(one) & np.isfinite(other) & np.isfinite(across)
    inner = (np.where(known, one + other, 0.0) - np.where(known, across, 0.0)) / 2
    sides = np.where(known, one * other, 0.0)
    found = np.divide(inner, np.sqrt(sides), out=np.zeros(len(at)), where=sides > 0)
    return np.where(known, found, -np.inf)


def _sibling_pairs(parent: dict[int, int]) -> NDArray[np.int64]:
    """(p, 3) parent and two of its children; of a parent of many, each child with the next few only."""
    children: dict[int, list[int]] = {}
    for child, up in parent.items():
        children.setdefault(up, []).append(child)
    found = [
        (up, a, b) for up, group in children.items() for at, a in enumerate(group) for b in group[at + 1 : at + 1 + 16]
    ]
    return np.array(found, dtype=np.int64).reshape(-1, 3)


def _usual(values: NDArray[np.float64], default: float, least: float) -> tuple[float, float]:
    """Median and spread (of the middle half, as of a normal distribution)."""
    if len(values) < _FEWEST:
        return default, least
    middle = float(np.median(values))
    return middle, max(1.4826 * float(np.median(np.abs(values - middle))), least)


def _log_mixture(
    values: NDArray[np.float64],
    middle: NDArray[np.float64] | float,
    spread: float,
    tail: float,
    tail_density: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Log density of a normal distribution with another as its tail."""
    normal = np.exp(-0.5 * ((values - middle) / spread) ** 2) / (spread * np.sqrt(2 * np.pi))
    mixed: NDArray[np.float64] = np.log((1 - tail) * normal + tail * np.maximum(tail_density, 0.0) + 1e-300)
    return mixed
