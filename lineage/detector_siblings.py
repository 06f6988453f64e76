"""What the detector says of who is a child of its own sibling, where siblings drift (`lineage.drift`).

Of h, its child i and j, which seems to be i's: the detector is asked whether i and j are siblings rather than parent
and child, and whether h is j's parent rather than its grandparent. Both log-odds are added to what angles say. Their
weights, and the offset, maximise the likelihood of the true parents of 158 such j in the skewed trees of zoos that are
not reported on, each judged by runs of the detector that had not seen its tree (docs/detector.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lineage.detector import only, spread_layers
from lineage.detector_direction import SPARSE
from lineage.detector_features import FeatureTable
from lineage.detector_network import CLASSES, Network, network
from lineage.drift import SiblingOdds
from lineage.family import FamilyMeasures
from lineage.pruned import zero_share

SIBLINGS, GRANDPARENT, OFFSET = 0.3, 0.4, 1.4  # weights of the two log-odds, and what is added to them
MOST = 8.0  # log-odds of either
_PARENT, _SIBLINGS, _GRANDPARENT = (CLASSES.index(name) for name in ("parent", "siblings", "ancestor at distance 2"))


def sibling_odds(measures: FamilyMeasures, members: Sequence[int], by: Network | None = None) -> SiblingOdds:
    """What is asked about chains of positions among `members`, whose relatives are evidence; features wait until then.

    0 of members that are mostly zeros. `by`: another network than the shipped one.
    """
    chosen = sorted(members)
    table: list[tuple[FeatureTable, NDArray[np.intp]]] = []

    def logits(pairs: NDArray[np.intp]) -> NDArray[np.float64]:
        if not table:
            own = only(measures, chosen)
            table.append((FeatureTable(own), spread_layers(own)))
        features, layers = table[0]
        return (by or network()).logits(features.features([(int(a), int(b)) for a, b in pairs], layers))

    def odds(chains: NDArray[np.intp]) -> NDArray[np.float64]:
        found = np.zeros(len(chains))
        dense = np.flatnonzero((zero_share(measures, chosen) <= SPARSE)[np.searchsorted(chosen, chains)].all(axis=1))
        if len(dense):
            h, i, j = np.searchsorted(chosen, chains[dense]).T
            near, far = logits(np.column_stack([i, j])), logits(np.column_stack([h, j]))
            siblings = np.clip(near[:, _SIBLINGS] - near[:, _PARENT], -MOST, MOST)
            parent = np.clip(far[:, _PARENT] - far[:, _GRANDPARENT], -MOST, MOST)
            found[dense] = SIBLINGS * siblings + GRANDPARENT * parent + OFFSET
        return found

    return odds
