"""Weights computed from a network's own: pruned, cast, stripped of their head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.zoo.derivation import Backbone, Cast, Prune
from benchmarks.zoo.quantise import quantised

if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.zoo.network import Network, Weights


def pruned(weights: Weights, how: Prune, names: Iterable[str]) -> Weights:
    """The named tensors with their smallest elements at zero (magnitude pruning); the others as they are."""
    chosen = list(names)
    if how.scope == "network":
        every = torch.cat([weights[name].float().abs().flatten() for name in chosen])
        limits = dict.fromkeys(chosen, _limit(every, how.sparsity))
    else:
        limits = {name: _limit(weights[name].float().abs().flatten(), how.sparsity) for name in chosen}
    return weights | {
        name: torch.where(weights[name].float().abs() > limit, weights[name], 0) for name, limit in limits.items()
    }


def _limit(magnitudes: Tensor, sparsity: float) -> float:
    """The magnitude up to which elements are dropped."""
    dropped = round(sparsity * len(magnitudes))
    return float(magnitudes.kthvalue(dropped).values) if dropped else -1.0


def derived(weights: Weights, how: Prune | Cast | Backbone, network: Network) -> Weights:
    """What becomes of a network's weights under one derivation, in the form in which they are stored."""
    if isinstance(how, Prune):
        return pruned(weights, how, network.prunable(weights))
    if isinstance(how, Backbone):
        return network.backbone(weights)
    if how.form == "int8":
        return quantised(weights, network.linear(weights))
    kind = getattr(torch, how.form)
    return {name: value.to(kind) if value.is_floating_point() else value for name, value in weights.items()}
