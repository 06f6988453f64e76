"""Merges seen layer by layer: the weights of the parents in each layer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lineage.affine import gram, mean_of, scaled_sum
from lineage.merge_seen import Seen

Floats = NDArray[np.float64]
_STRAIGHT = 1e-6  # an angle below which a turn is a straight line
_NOTHING = 1e-3  # a weight that is 0 but for rounding
_ALIKE = 1e-10  # parents nearer than this share of their squared norm are equal in a layer


@dataclass(frozen=True)
class LayerFits:
    """A child as a weighted sum of k parents in each of l layers."""

    weights: Floats  # (l, k) of sum 1; NaN where the parents are equal
    residual: float  # squared distance of the child from the sums, over all layers
    scale: float  # sum of the weights before they were brought to 1, the mean over elements


def layer_fits(seen: Seen, child: int, parents: Sequence[int], *, scaled: bool) -> LayerFits:
    """The best weights of the parents in each layer, of sum 1, or (`scaled`) of any sum.

    Two parents' weights of any sum are those of a SLERP, whose share t of the angle Ω between them follows from the
    ratio r of the weights, sin(t Ω) / sin((1 - t) Ω): tan(t Ω) = r sin Ω / (1 + r cos Ω). It is t that is given then.
    """
    chosen = list(parents)
    rows = np.full((len(seen.sizes), len(chosen)), np.nan)
    scales, residual = np.ones(len(seen.sizes)), 0.0
    for number, (squared, norms) in enumerate(zip(seen.by_layer, seen.norms, strict=True)):
        to_child, among = squared[child, chosen], squared[np.ix_(chosen, chosen)]
        if among.max() <= _ALIKE * norms[chosen].max():
            residual += float(to_child.mean())
            continue
        products = gram(to_child, among)
        fit = mean_of(products)
        if scaled:
            onto = (norms[chosen] + norms[child] - to_child) / 2
            fit = scaled_sum(gram(norms[chosen], among), onto, float(norms[child]))
            scales[number] = fit.weights.sum()
        residual += fit.residual
        rows[number] = _turned(fit.weights, among, norms[chosen]) if scaled else fit.weights
    return LayerFits(rows, residual, float(scales @ seen.sizes / seen.sizes.sum()))


def _turned(weights: Floats, among: Floats, norms: Floats) -> Floats:
    """The weights of sum 1 that stand for weights of any sum: a pair's shares of the angle between the two."""
    if len(weights) != 2 or (weights < 0).any():
        even: Floats = weights / (weights.sum() or 1.0)
        return even
    cosine = float((norms.sum() - among[0, 1]) / (2 * np.sqrt(norms.prod())))
    angle = float(np.arccos(np.clip(cosine, -1, 1)))
    a, b = weights
    share = np.arctan2(b * np.sin(angle), a + b * cosine) / angle if angle > _STRAIGHT else b / (a + b)
    return np.array([1 - share, share])


def overall(weights: Floats, sizes: Floats) -> tuple[float, ...]:
    """(k,) the mean of (l, k) weights over the elements of the layers in which they are known."""
    known = ~np.isnan(weights).any(axis=1)
    if not known.any():
        return tuple(np.full(weights.shape[1], 1 / weights.shape[1]).tolist())
    return tuple((sizes[known] @ weights[known] / sizes[known].sum()).tolist())


def block_weights(names: Sequence[str], weights: Floats, sizes: Floats) -> dict[str, Floats]:
    """(k,) weights of each block, in order: means of (l, k) weights over elements, where they are known.

    A block is what has one number in its layers' names; layers outside of blocks are left out, and where there are no
    blocks, each layer is one.
    """
    numbered = [_BLOCK.match(name) for name in names]
    keys = [(found[1], int(found[2]), found[0].rstrip(".")) if found else None for found in numbered]
    if not any(keys):
        keys = [("", number, name) for number, name in enumerate(names)]
    found_in: dict[tuple[str, int, str], list[int]] = {}
    for index, key in enumerate(keys):
        if key is not None and not np.isnan(weights[index]).any():
            found_in.setdefault(key, []).append(index)
    return {
        key[2]: np.average(weights[inside], axis=0, weights=sizes[inside]) for key, inside in sorted(found_in.items())
    }


_BLOCK = re.compile(r"(.*?)(?<![^.])(\d+)\.")


def pair_fits(seen: Seen, child: int, some: NDArray[np.intp], others: NDArray[np.intp]) -> tuple[Floats, Floats]:
    """(p,) what the best sums of p pairs of parents leave, with weights of at least 0 in each layer, and the null.

    With v = c - a and u = b - a, sums of a and b reach what of v is not orthogonal to both a and u. The null is
    what they would leave in a tree: what `lineage.affine.between` gives, summed over layers.
    """
    residual, null = np.zeros(len(some)), np.zeros(len(some))
    for squared, norms in zip(seen.by_layer, seen.norms, strict=True):
        a, b, c = norms[some], norms[others], norms[child]
        to_a, to_b, apart = squared[child, some], squared[child, others], squared[some, others]
        v_a, u_a, u_v = (c - a - to_a) / 2, (b - a - apart) / 2, (to_a + apart - to_b) / 2
        over_a = np.divide(1.0, a, out=np.zeros_like(a), where=a > 0)
        v, u, product = to_a - v_a**2 * over_a, apart - u_a**2 * over_a, u_v - v_a * u_a * over_a
        of_b = np.divide(product, u, out=np.zeros_like(u), where=u > _ALIKE * a)
        of_a = 1 + (v_a - of_b * u_a) * over_a - of_b
        alone = np.minimum(to_a - v_a**2 * over_a, to_b)  # where a weight would be negative, one of the two is left
        positive = (of_a >= -_NOTHING) & (of_b >= -_NOTHING)
        residual += np.where(positive, np.maximum(v - of_b * product, 0.0), alone)
        both = to_a + to_b
        null += np.divide(to_a * to_b, both, out=np.zeros_like(both), where=both > 0)
    return residual, null
