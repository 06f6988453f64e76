"""Squared distances between models, block by block, exact for models that hardly differ.

The squared distance of two vectors from their Gram matrix, |u|^2 + |v|^2 - 2 <u, v>, loses as many digits as the
vectors share: for fine-tunes that differ by 1e-4 it is useless in float32 and poor in float64. So every model is
centred on one near it, its leader, and leaders on the first of them, before one Gram matrix is taken of what is left;
distances between models of different leaders follow from it too. Where two models turn out to be much nearer to each
other than to their leaders, their distance is measured again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    Floats = NDArray[np.float64]

# A distance below this share of what it was subtracted from is measured again. At it, float64 still gives 9 digits.
CANCELLED = 1e-6
_LEAD = 1e-3  # a pair below it gets a leader of its own
_MOST_LEADERS = 32
_ROWS_AT_ONCE = 128


@dataclass(frozen=True)
class Centres:
    """What each of n models is centred on, the first m of which are new: leaders are new models."""

    of: NDArray[np.intp]  # (n,) the leader of each; leaders lead themselves
    root: int  # the leader that the other leaders are centred on

    @property
    def leaders(self) -> NDArray[np.intp]:
        """(c,) in ascending order."""
        found: NDArray[np.intp] = np.unique(self.of)
        return found

    def distances(self, gram: Floats, squares: Floats) -> tuple[Floats, NDArray[np.bool_]]:
        """(m, n) squared distances, and where they lost so many digits that they are to be measured again.

        `gram` (m, n) holds the inner products of the centred models, `squares` (n,) those with themselves.
        """
        found = np.empty_like(gram)
        cancelled = np.empty(gram.shape, dtype=np.bool_)
        for first in range(0, len(gram), _ROWS_AT_ONCE):
            rows = slice(first, min(len(gram), first + _ROWS_AT_ONCE))
            here, scale = self._distances(gram, squares, rows)
            np.maximum(here, 0.0, out=found[rows])
            cancelled[rows] = here < CANCELLED * scale
        np.fill_diagonal(found[:, : len(gram)], 0)
        np.fill_diagonal(cancelled[:, : len(gram)], val=False)
        return found, cancelled

    def _distances(self, gram: Floats, squares: Floats, rows: slice) -> tuple[Floats, Floats]:
        """Of some of the new models with all: squared distances, and the sums that they were subtracted from."""
        of, mine = self.of, self.of[rows]
        leads = of == np.arange(len(of))
        apart = np.where(leads, 0.0, squares)
        scale = apart[rows, None] + apart[None, :]
        found = scale - 2 * np.where(leads[rows, None] | leads[None, :], 0.0, gram[rows])
        other = mine[:, None] != of[None, :]
        if other.any():
            # x_i - x_j = (L_a - L_b) + (e_i - e_j), where a leads i, b leads j, and L is taken from the root.
            own = np.where(leads, 0.0, gram[of, np.arange(len(of))])  # <L_b, e_j>
            first = np.where(leads[None, :], 0.0, gram[mine])  # <L_a, e_j>
            second = np.where(leads[rows, None], 0.0, gram[self.leaders][:, rows].T[:, self._number])  # <L_b, e_i>
            between = squares[mine][:, None] + squares[of][None, :]
            cross = between - 2 * gram[mine][:, of] + 2 * (own[rows, None] - second) - 2 * (first - own[None, :])
            found += np.where(other, cross, 0.0)
            scale += np.where(other, between, 0.0)
        return found, scale

    @property
    def _number(self) -> NDArray[np.intp]:
        """(n,) which of the leaders each model has."""
        found: NDArray[np.intp] = np.searchsorted(self.leaders, self.of)
        return found


def centres(distances: Floats) -> Centres:
    """Leaders for models at these squared distances, (m, n): as few as let no near pair be centred far away."""
    members, models = distances.shape
    known = np.nan_to_num(distances, nan=np.inf, posinf=np.inf)
    known[np.arange(members), np.arange(members)] = 0
    root = int(np.argmin(np.median(known, axis=1)))
    of = np.full(models, root)
    apart = known[root].copy()  # squared distance to the leader; of a leader, to the root
    everyone = np.arange(models)
    for _ in range(_MOST_LEADERS - 1):
        leads = of == everyone
        alike = of[:members, None] == of[None, :]
        with np.errstate(invalid="ignore"):
            scale = apart[:members, None] + apart[None, :]
            near = (known < _LEAD * scale) & np.isfinite(scale) & ~leads[None, :]
        near &= ~(alike & leads[:members, None])  # their distance is taken directly
        near[np.arange(members), np.arange(members)] = False
        counts = near.sum(axis=1)
        leader = int(counts.argmax())
        if counts[leader] == 0:
            break
        if not leads[leader]:
            apart[leader] = known[root, leader]
        of[near[leader]] = leader
        apart[near[leader]] = known[leader, near[leader]]
        of[leader] = leader
    return Centres(of, root)


def squared_distances(values: torch.Tensor, members: int) -> torch.Tensor:
    """(members, models) float64: squared L2 distances of the first `members` rows of (models, n) to all rows.

    Whatever the rows are; equal rows are at exactly 0. On any device.
    """
    everyone = torch.arange(values.shape[0], device=values.device)
    distances, scale = _from_gram(values, members)
    for leader in range(members):
        # Of a pair that is left, the leader is one: centred on it, nothing of their distance is cancelled.
        group = everyone[distances[leader] < _LEAD * scale[leader]]
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
