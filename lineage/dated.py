"""Dates of creation as evidence, where they are known; dates of upload are no dates of training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lineage.edges import dates


def oldest_first(group: Sequence[int], created: Mapping[int, float]) -> tuple[int, ...]:
    """Members by the date of their creation (seconds, by member), those without one last."""
    return tuple(sorted(group, key=lambda position: (created.get(position, np.inf), position)))


def root_prior(
    members: Sequence[int], edges: Sequence[tuple[int, int]], created: Mapping[int, float]
) -> dict[int, float]:
    """Log-odds of each member to be the root: a root is seldom younger than a model that it is joined to."""
    strength = 1.0  # log-odds per neighbour
    prior = dict.fromkeys(members, 0.0)
    for a, b in edges:
        for older in dates(a, b, created).values():
            prior[b if older > 0 else a] -= strength
    return prior
