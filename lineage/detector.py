"""The learned detector: how likely two models are parent and child, siblings, strangers, from their stored measures.

After the learned detector of Neural Phylogeny Detection (ICLR 2025 submission), which classifies pairs; ours sees
measures, not weights, so that one network answers for any architecture and depth, and tells more relations apart. That
two models are equal to the last bit is not learnt: digests say so. docs/detector.md has what it was trained on and how
well it does.

Each pair is computed in one orientation, the lower position first, and the other is that answer with its classes
exchanged: to ask (b, a) in place of (a, b) exchanges the probabilities exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lineage.cluster import duplicates
from lineage.detector_features import FeatureTable, comparable, token_layers
from lineage.detector_network import CLASSES, EXCHANGED, TOKENS, Network, network
from lineage.family import FamilyMeasures

DUPLICATES = "duplicates"
RELATIONS = (*CLASSES, DUPLICATES)  # of a, as seen from b
_EXCHANGED = (*EXCHANGED, len(CLASSES))
_AT_ONCE = 2048


def relations(
    measures: FamilyMeasures, pairs: Sequence[tuple[int, int]], *, by: Network | None = None
) -> NDArray[np.float64]:
    """(p, len(RELATIONS)) probabilities of pairs of positions; rows sum to 1.

    The other members of the family are evidence: a model between two speaks against an edge. `alone` leaves them out.
    Duplicates are sure; so are models that have no trained layer in common, which are unrelated. Layers that one of two
    models lacks, and numbers that were not measured, are left out of what is compared. `by`: another network than the
    shipped one.

    Raises ValueError for a pair of a model and itself, and for positions that are none.
    """
    found = np.zeros((len(pairs), len(RELATIONS)))
    members = len(measures.members)
    for a, b in pairs:
        if not (0 <= a < members and 0 <= b < members):
            raise ValueError(f"the pair ({a}, {b}) names no two of the {members} members")
        if a == b:
            raise ValueError(f"a relation is between two models: member {a} was named twice")
    if not pairs:
        return found
    ordered = np.sort(np.array(pairs, dtype=np.intp), axis=1)
    group = np.arange(members)
    for copies in duplicates(measures):
        group[list(copies)] = copies[0]
    same = group[ordered[:, 0]] == group[ordered[:, 1]]
    apart = ~same & ~comparable(measures)[ordered[:, 0], ordered[:, 1]]
    found[same, -1] = 1.0
    found[apart, 0] = 1.0
    asked = np.flatnonzero(~same & ~apart)
    if len(asked):
        table, layers = FeatureTable(measures), spread_layers(measures)
        for first in range(0, len(asked), _AT_ONCE):
            rows = asked[first : first + _AT_ONCE]
            features = table.features([(int(i), int(j)) for i, j in ordered[rows]], layers)
            found[rows, : len(CLASSES)] = (by or network()).probabilities(features)
    turned = np.array([a > b for a, b in pairs])
    found[turned] = exchanged(found[turned])
    return found


def exchanged(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., len(RELATIONS)) what the same probabilities say of (b, a)."""
    return probabilities[..., list(_EXCHANGED)]


def alone(measures: FamilyMeasures, a: int, b: int) -> FamilyMeasures:
    """The measures of two members and nobody else, `a` first: what they say without their family."""
    return only(measures, (a, b))


def only(measures: FamilyMeasures, members: Sequence[int]) -> FamilyMeasures:
    """The measures of some members (positions) and nobody else, in their order."""
    chosen = list(members)
    across = np.ix_(range(len(measures.layers)), chosen, chosen)
    each = ("count", "squared_norm", "variance", "kurtosis", "zeros", "outliers", "form")
    pairs = ("squared_distance", "slope", "rank", "equal")
    return replace(
        measures,
        members=tuple(measures.members[one] for one in chosen),
        digest=tuple(tuple(row[one] for one in chosen) for row in measures.digest),
        lost=None if measures.lost is None else measures.lost[across],
        estimated=None if measures.estimated is None else measures.estimated[np.ix_(chosen, chosen)],
        **{name: getattr(measures, name)[:, chosen] for name in each},
        **{name: getattr(measures, name)[across] for name in pairs},
    )


def compared(measures: FamilyMeasures, a: int, b: int) -> tuple[int, int]:
    """The number of trained layers in which two members were compared, and of those that either of them has."""
    layers = token_layers(measures)
    either = (measures.count[layers][:, [a, b]] > 0).any(axis=1)
    both = np.isfinite(measures.squared_distance[layers, a, b])
    return int(both.sum()), int(either.sum())


def spread_layers(measures: FamilyMeasures) -> NDArray[np.intp]:
    """The layers that the network looks at: at most TOKENS, evenly spread, as indices into `token_layers`."""
    number = len(token_layers(measures))
    found: NDArray[np.intp] = np.unique(np.linspace(0, max(0, number - 1), min(number, TOKENS)).astype(np.intp))
    return found
