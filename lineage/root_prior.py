"""What is known of a root before its edges are asked: that it is seldom pruned, and by dates seldom the younger one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lineage.edges import dates
from lineage.family import FamilyMeasures
from lineage.pruned import SPARSE, zero_share

YOUNGER = 1.0  # log-odds against a root for each model that it is joined to and that is older
PRUNED = 1.0  # log-odds against a root of whose trunk more than `SPARSE` is zero


def root_prior(
    measures: FamilyMeasures, members: Sequence[int], edges: Sequence[tuple[int, int]], created: Mapping[int, float]
) -> dict[int, float]:
    """Log-odds of each of the `members` of a tree (positions) to be its root, from outside of its edges' scores.

    `created` (seconds, by position) is the date of those of which it is known.
    """
    sparse = zero_share(measures, members) > SPARSE
    prior = {member: -PRUNED if pruned else 0.0 for member, pruned in zip(members, sparse.tolist(), strict=True)}
    for a, b in edges:
        for older in dates(a, b, created).values():
            prior[b if older > 0 else a] -= YOUNGER
    return prior
