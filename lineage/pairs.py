"""Squared distances between models, block by block, exact for models that hardly differ.

The squared distance of two vectors from their Gram matrix, |u|^2 + |v|^2 - 2 <u, v>, loses as many digits as the
vectors share: for fine-tunes that differ by 1e-4 it is useless in float32 and poor in float64. So every group of near
models is centred on one of them first, which leaves the Gram matrix of the differences, with nothing left to cancel.
"""

from __future__ import annotations

import torch

# Two models nearer than this (relative distance, see cluster.py) are measured again after centring ...
_NEAR = 0.7
# ... with all that lie this near to the same leader, so that no near pair falls between two groups.
_NEAR_TOO = 0.9


class SquaredDistances:
    """Sums of squared differences over blocks: of the first `members` models with all models."""

    def __init__(self, members: int, models: int, device: torch.device) -> None:
        self.total = torch.zeros((members, models), dtype=torch.float64, device=device)

    def add(self, values: torch.Tensor) -> None:
        """Add a block of elements, (models, n) float64."""
        self.total += squared_distances(values, self.total.shape[0])


def squared_distances(values: torch.Tensor, members: int) -> torch.Tensor:
    """(members, models) float64: squared L2 distances of the first `members` rows of (models, n) to all rows."""
    new = values[:members]
    norms = (values * values).sum(dim=1)
    both = norms[:members, None] + norms[None, :]
    distances = torch.addmm(both, new, values.T, alpha=-2).clamp_(min=0)
    relative = distances / both.clamp(min=torch.finfo(torch.float64).tiny)
    done = torch.zeros(members, dtype=torch.bool, device=values.device)
    for leader in range(members):
        if done[leader]:
            continue
        done |= relative[leader, :members] < _NEAR**2
        group = torch.nonzero(relative[leader] < _NEAR_TOO**2).flatten()
        if len(group) > 1:
            _measure_group(values, distances, group, leader)
    diagonal = torch.arange(members, device=values.device)
    distances[diagonal, diagonal] = 0
    return distances


def _measure_group(values: torch.Tensor, distances: torch.Tensor, group: torch.Tensor, leader: int) -> None:
    """Write the distances within a group of near models, from the Gram matrix of their differences to the leader."""
    members = distances.shape[0]
    centred = values[group] - values[leader]
    rows = group < members
    norms = (centred * centred).sum(dim=1)
    both = norms[rows][:, None] + norms[None, :]
    near = torch.addmm(both, centred[rows], centred.T, alpha=-2).clamp_(min=0)
    distances[group[rows][:, None], group[None, :]] = near
