"""Squared distances between models, block by block, exact for models that hardly differ.

The squared distance of two vectors from their Gram matrix, |u|^2 + |v|^2 - 2 <u, v>, loses as many digits as the
vectors share: for fine-tunes that differ by 1e-4 it is useless in float32 and poor in float64. So where it comes out
far below |u|^2 + |v|^2, the models concerned are centred on one of them, which leaves the Gram matrix of differences
with little left to cancel; and again, where those differences are nearly equal in turn.
"""

from __future__ import annotations

import torch

# A distance below this share of |u|^2 + |v|^2 is measured again. At it, float64 still gives 11 digits.
_CANCELLED = 1e-3


class SquaredDistances:
    """Sums of squared differences over blocks: of the first `members` models with all models."""

    def __init__(self, members: int, models: int, device: torch.device) -> None:
        self.total = torch.zeros((members, models), dtype=torch.float64, device=device)

    def add(self, values: torch.Tensor) -> None:
        """Add a block of elements, (models, n) float64."""
        self.total += squared_distances(values, self.total.shape[0])


def squared_distances(values: torch.Tensor, members: int) -> torch.Tensor:
    """(members, models) float64: squared L2 distances of the first `members` rows of (models, n) to all rows.

    Equal rows are at exactly 0.
    """
    everyone = torch.arange(values.shape[0], device=values.device)
    distances, scale = _from_gram(values, members)
    for leader in range(members):
        # Of a pair that is left, the leader is one: centred on it, nothing of their distance is cancelled.
        group = everyone[distances[leader] < _CANCELLED * scale[leader]]
        if len(group) < 2:
            continue
        centred = values[group]
        centred -= values[leader]
        here = group[group < members]
        near, precise = _from_gram(centred, len(here))
        pairs = here[:, None], group[None, :]
        better = precise < scale[pairs]
        distances[pairs] = torch.where(better, near, distances[pairs])
        scale[pairs] = torch.where(better, precise, scale[pairs])
    distances[everyone[:members], everyone[:members]] = 0
    return distances


def _from_gram(values: torch.Tensor, members: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared distances |u|^2 + |v|^2 - 2 <u, v>, and the sums |u|^2 + |v|^2 that they were subtracted from."""
    norms = torch.linalg.vector_norm(values, dim=1) ** 2
    both = norms[:members, None] + norms[None, :]
    return torch.addmm(both, values[:members], values.T, alpha=-2).clamp_(min=0), both
