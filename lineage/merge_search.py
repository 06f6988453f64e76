"""Which mean of others a model is, if it is one.

A mean is sought over the whole trunk (average, linear, task arithmetic; SLERP of near models differs from it by a
factor near 1); as a sum of two parents of any scale in each layer (SLERP, weights that change with depth); by layers
taken whole; and with one base of negative weight (task arithmetic whose weights exceed 1 in all).

Who of an affinely dependent set is the merge? Where all weights are positive only one member can be. Else the base is
the member from which the others look orthogonal. Layers taken whole are told from fine-tunes of frozen layers only
where the parents are unrelated, or somebody shows that they moved apart (`lineage.merge_whole_layers`): equality of
layers alone is the same for a chain of fine-tunes each of which moved other layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from lineage.affine import between, cone, convex_mean, gram, mean_of, nearest_plane
from lineage.merge_layers import layer_fits, overall, pair_fits
from lineage.merge_seen import Seen
from lineage.merge_whole_layers import whole_layers

Floats = NDArray[np.float64]

RATIO = 0.1  # models of zoos without merges were at 0.91 and above
PARENTS = 6
ORTHOGONAL = 0.25  # cosines of less are none
_NEAREST = 16  # candidates that a mean is first sought among
_PURSUED = 8  # others that what is left may point to
_BASES = 12  # nearest members that are tried as the base of task arithmetic
_OTHERS = 1024  # candidates that pairs are made of
_PAIRS = 1 << 15  # pairs that are looked at, if there are so many
_BETWEEN = 0.1  # of the null distance: a pair that a child lies between by less is not looked at closer
_EVEN = 0.01  # weights that differ by less are even
_LEAST_WEIGHT = 0.01
_OPPOSED = -0.15  # as seen from a mean some two of its parents have a cosine below this

Residual = Callable[[int, list[int]], float]


@dataclass(frozen=True)
class Found:
    """One explanation of a child, in indices of what was seen."""

    child: int
    parents: tuple[int, ...]
    weights: tuple[float, ...]
    layer_weights: Floats
    scale: float
    residual: float
    ratio: float
    exact: bool
    kind: str


def cosines(squared: Floats, corner: int, others: Sequence[int]) -> Floats:
    """(k, k) cosines of the angles between k others as seen from a corner; 0 where one is equal to it."""
    away = squared[corner, list(others)]
    products = gram(away, squared[np.ix_(others, others)])
    lengths = np.sqrt(np.outer(away, away))
    angles: Floats = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return angles


@dataclass(frozen=True)
class Search:
    """A search among the members seen, for means of 2 to `largest` parents with a ratio below `ratio`."""

    seen: Seen
    ratio: float = RATIO
    largest: int = PARENTS

    def near(self, child: int, count: int = 4) -> frozenset[int]:
        """The members nearest to a child."""
        order = np.argsort(self.seen.total[child], kind="stable")
        return frozenset(int(one) for one in order[: count + 1] if one != child)

    def explain(self, child: int, without: frozenset[int] = frozenset()) -> Found | None:
        """The mean with positive weights that explains a child best: one that leaves nothing, else the nearest."""
        allowed = self._allowed(child, without)
        if len(allowed) < 2:
            return None
        best: Found | None = None
        for attempt in (self._mean, self._pair, self._whole_layers):
            found = attempt(child, allowed)
            if found and found.exact:
                return self._fewer(child, allowed, found)
            if found and (best is None or found.ratio < best.ratio):
                best = found
        return best

    def _fewer(self, child: int, allowed: list[int], found: Found) -> Found:
        """The same by two parents, if that leaves nothing either: a merge of a merge. An even mean stays as it is."""
        if len(found.parents) < 3 or max(found.weights) - min(found.weights) < _EVEN:
            return found
        pair = self._pair(child, allowed)
        return pair if pair is not None and pair.exact else found

    def _allowed(self, child: int, without: frozenset[int]) -> list[int]:
        """The candidates, nearest first."""
        away = self.seen.total[child]
        order = np.argsort(away, kind="stable").tolist()
        return [one for one in order if one != child and one not in without and away[one] > self.seen.rounding[child]]

    def _mean(self, child: int, allowed: list[int]) -> Found | None:
        near = allowed[:_NEAREST]
        opposed = _cosines_between(self.seen.total, child, near, allowed).min()
        if opposed > _OPPOSED:
            return None
        support = self._reduced(child, self._pursued(child, allowed), partial(_mean_residual, self.seen.total))
        return self._judged(child, support, _mean_residual(self.seen.total, child, support), "linear")

    def _pursued(self, child: int, allowed: list[int]) -> list[int]:
        """The support of the best mean: of the nearest, and of those that what is left points to, one at a time."""
        squared = self.seen.total
        pool, everyone = allowed[:_NEAREST], np.array(allowed, dtype=np.intp)
        for _ in range(_PURSUED):
            fit = convex_mean(gram(squared[child, pool], squared[np.ix_(pool, pool)]))
            if fit.residual <= self.seen.rounding[child]:
                break
            spread = float(fit.weights @ squared[np.ix_(pool, pool)] @ fit.weights) / 2
            away = np.maximum(fit.weights @ squared[pool][:, everyone] - spread, 0.0)
            along = (fit.residual + away - squared[child, everyone]) / 2
            gain = np.divide(np.maximum(along, 0.0) ** 2, away, out=np.zeros_like(away), where=away > 0)
            gain[np.isin(everyone, pool)] = 0
            best = int(gain.argmax())
            if gain[best] <= 1e-3 * fit.residual:
                break
            pool = [*pool, int(everyone[best])]
        fit = convex_mean(gram(squared[child, pool], squared[np.ix_(pool, pool)]))
        return _heaviest(pool, fit.weights, self.largest + 2)

    def _reduced(self, child: int, support: list[int], residual: Residual) -> list[int]:
        """Leave out parents, the least needed first, as long as what is left does not grow."""
        left = residual(child, support)
        while len(support) > 2:
            smaller = [[one for one in support if one != gone] for gone in support]
            lefts = [residual(child, some) for some in smaller]
            best = int(np.argmin(lefts))
            if lefts[best] > max(self.seen.rounding[child], 1.1 * left):
                break
            support, left = smaller[best], lefts[best]
        return support

    def _judged(self, child: int, support: list[int], residual: float, kind: str) -> Found | None:
        """What was found, if it is a merge by its ratio, with weights and kind from a closer look at the layers."""
        null = between(self.seen.total[child, support])
        if not 2 <= len(support) <= self.largest or null <= self.seen.rounding[child]:
            return None
        ratio = max(0.0, residual - self.seen.rounding[child]) / null
        if ratio >= self.ratio:
            return None
        return self._described(child, support, residual, ratio, kind)

    def based(self, child: int, without: frozenset[int] = frozenset()) -> tuple[float, Found] | None:
        """Task arithmetic: a base plus weighted differences from it, whose weights exceed 1 in all.

        How far the differences are from orthogonal comes first: it tells a base from the other members of the set.
        """
        allowed = self._allowed(child, without)
        if len(allowed) < 3:
            return None
        squared = self.seen.total
        pool = allowed[: _NEAREST + _PURSUED]
        if not self._reachable(child, pool):
            return None
        best = None
        for base in pool[:_BASES]:
            others = [one for one in pool if one != base]
            away = squared[base, others]
            onto = (squared[base, child] + away - squared[child, others]) / 2
            fit = cone(gram(away, squared[np.ix_(others, others)]), onto, float(squared[base, child]))
            support = _heaviest(others, fit.weights, self.largest - 1)
            if len(support) < 2 or not self._reachable(child, [*support, base]):
                continue
            support = [*self._reduced(child, [*support, base], partial(_signed_residual, squared))]
            if base not in support or len(support) < 3:
                continue
            found = self._judged(child, support, _signed_residual(squared, child, support), "task arithmetic")
            if found is None or found.weights[found.parents.index(base)] >= 0 or sorted(found.weights)[1] < 0:
                continue
            skew = np.abs(
                cosines(squared, base, [one for one in support if one != base]) - np.eye(len(support) - 1)
            ).max()
            if skew < 2 * ORTHOGONAL and (best is None or skew < best[0]):
                best = (float(skew), found)
        return best

    def _reachable(self, child: int, pool: list[int]) -> bool:
        """Whether three or more of a pool could have a mean, of weights of any sign, whose ratio is low enough.

        None of them leaves less than all together, and none has a larger null than the three that are farthest.
        """
        left = nearest_plane(_products(self.seen.total, child, pool))
        null = between(np.sort(self.seen.total[child, pool])[-3:])
        return bool(left - self.seen.rounding[child] < self.ratio * null)

    def _pair(self, child: int, allowed: list[int]) -> Found | None:
        """Two parents with weights of any sum in each layer: SLERP, and weights that change with depth."""
        others = np.array(allowed[:_OTHERS], dtype=np.intp)
        near = others[: max(_NEAREST, _PAIRS // len(others))]
        apart = self.seen.total[child]
        whole = apart[near][:, None] * apart[others] / (apart[near][:, None] + apart[others])
        products = (apart[near][:, None] + apart[others] - self.seen.total[np.ix_(near, others)]) / 2
        # Whatever its scale, a sum lies between its parents, which a tree's members do not: few pairs are left.
        first, second = np.nonzero(products < -_BETWEEN * whole)
        if not len(first):
            return None
        whole, some, others = whole[first, second], near[first], others[second]
        residual, null = pair_fits(self.seen, child, some, others)
        left = np.maximum(residual - self.seen.rounding[child], 0.0)
        # Where most layers are taken whole, a sum that leaves nothing says less: see `_whole_layers`.
        possible = (null > np.maximum(0.1 * whole, self.seen.rounding[child])) & (left < self.ratio * null)
        left = np.where(possible, residual, np.inf)
        best = int(left.argmin())
        if not np.isfinite(left[best]):
            return None
        ratio = max(0.0, float(residual[best] - self.seen.rounding[child])) / float(null[best])
        return self._described(child, [int(some[best]), int(others[best])], float(residual[best]), ratio, "slerp")

    def _whole_layers(self, child: int, allowed: list[int]) -> Found | None:
        """Every layer equal to that of one of the parents, but for rounding."""
        found = whole_layers(self.seen, child, allowed, self.largest, _LEAST_WEIGHT)
        if found is None:
            return None
        parents, weights = found
        sizes = self.seen.sizes
        return Found(child, parents, overall(weights, sizes), weights, 1.0, 0.0, 0.0, exact=True, kind="layers")

    def _described(self, child: int, support: list[int], residual: float, ratio: float, kind: str) -> Found | None:
        """A closer look, which tells one weight for all layers from a turn in each and from weights that change."""
        seen, rounding = self.seen, float(self.seen.rounding[child])
        uniform = mean_of(_products(seen.total, child, support))
        weights: Floats = uniform.weights
        layers = layer_fits(seen, child, support, scaled=False)
        scale, residual = 1.0, min(residual, uniform.residual)
        if uniform.residual <= rounding and kind == "slerp":
            kind = "linear"
        if uniform.residual > rounding and kind != "task arithmetic":
            turned = layer_fits(seen, child, support, scaled=True)
            kind = "linear"
            if len(support) == 2 and layers.residual > rounding and turned.residual < layers.residual / 2:
                kind, scale, layers = "slerp", turned.scale, turned
            elif layers.residual < uniform.residual / 2:
                kind = "layers"
            if kind != "linear":
                residual = layers.residual
                weights = np.array(overall(layers.weights, seen.sizes))
        if np.abs(weights).min() < _LEAST_WEIGHT:
            return None
        return Found(
            child,
            tuple(support),
            tuple(map(float, weights)),
            layers.weights,
            scale,
            residual,
            ratio,
            exact=residual <= rounding,
            kind=kind,
        )


def _products(squared: Floats, child: int, parents: list[int]) -> Floats:
    return gram(squared[child, parents], squared[np.ix_(parents, parents)])


def _mean_residual(squared: Floats, child: int, parents: list[int]) -> float:
    return convex_mean(_products(squared, child, parents)).residual


def _signed_residual(squared: Floats, child: int, parents: list[int]) -> float:
    return mean_of(_products(squared, child, parents)).residual


def _heaviest(pool: list[int], weights: Floats, count: int) -> list[int]:
    """The candidates of most weight, of those that have any to speak of."""
    order = np.argsort(-weights, kind="stable")[:count]
    return [pool[index] for index in order if weights[index] > _LEAST_WEIGHT / 2]


def _cosines_between(squared: Floats, corner: int, some: list[int], others: list[int]) -> Floats:
    """The (some, others) cosines of the angles between members as seen from a corner."""
    here, there = squared[corner, some], squared[corner, others]
    products = (here[:, None] + there[None, :] - squared[np.ix_(some, others)]) / 2
    angles: Floats = products / np.sqrt(np.outer(here, there))
    return angles
