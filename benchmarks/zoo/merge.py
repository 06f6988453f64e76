"""Several networks made one: averages, SLERP, task arithmetic and ranges of layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from benchmarks.zoo.derivation import Merge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.zoo.network import Network, Weights


def slerp(one: Tensor, other: Tensor, share: float) -> Tensor:
    """From `one` towards `other` along the great circle between their directions (Shoemake, 1985, equation 4)."""
    a, b = one.double(), other.double()
    cosine = (a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-30)
    angle = math.acos(min(1.0, max(-1.0, float(cosine))))
    if math.sin(angle) < 1e-6:
        return (a + share * (b - a)).to(one.dtype)
    return ((math.sin((1 - share) * angle) * a + math.sin(share * angle) * b) / math.sin(angle)).to(one.dtype)


def merged(how: Merge, parents: Sequence[Weights], base: Weights | None, network: Network) -> Weights:
    """The merged network's weights in float32; `parents` in the order in which `how` names them."""
    made: Weights = {}
    for name, first in parents[0].items():
        if not first.is_floating_point() or network.is_head(name):
            made[name] = first
            continue
        values = [parent[name].float() for parent in parents]
        if how.method == "slerp":
            made[name] = slerp(values[0], values[1], how.weights[1])
        elif how.method == "layer ranges":
            made[name] = values[range_of(how, network.depth(name), network.architecture.layers)]
        else:
            origin = torch.zeros_like(values[0]) if base is None else base[name].float()
            steps = (weight * (value - origin) for weight, value in zip(how.weights, values, strict=True))
            made[name] = torch.stack([origin, *steps]).double().sum(0).float()
    return made


def range_of(how: Merge, depth: int | None, layers: int) -> int:
    """Whose range a layer is in: -1 stands for what precedes the layers, None for what follows them."""
    place = layers if depth is None else depth
    return max(number for number, start in enumerate(how.starts) if start <= max(place, 0))


def truth_of_merge(how: Merge, layers: int) -> dict[str, Any]:
    """What truth.json says of a merge beside its parents: method, weights, base, ranges of layers (last included)."""
    if how.method == "layer ranges":
        ends = (*how.starts[1:], layers)
        ranges = zip(how.parents, how.starts, ends, strict=True)
        told = [{"parent": parent, "first": start, "last": end - 1} for parent, start, end in ranges]
        shares = {
            parent: (end - start) / layers for parent, start, end in zip(how.parents, how.starts, ends, strict=True)
        }
        return {"method": how.method, "layers": told, "weights": shares}
    told_weights: Mapping[str, float] = dict(zip(how.parents, how.weights, strict=True))
    own: dict[str, Any] = {"method": how.method, "weights": dict(told_weights)}
    if how.base is not None:
        own |= {"base": how.base, "base_weight": round(1 - sum(how.weights), 6)}
    return own
