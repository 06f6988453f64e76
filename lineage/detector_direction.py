"""What the detector says of the direction of a skeleton's edges, as one more score of each (`lineage.direction`).

The detector weighs single layers, where the other scores sum up one statistic over all of them, so that both err on
different trees. But edges of one tree err together, and much of what the detector says the other scores have said: its
log-odds are cut off, and its weight (`lineage.direction.ASKED`) is below 1. Both were chosen on zoos of seed 1, each
tree judged by the one run of the detector that had not seen its root (`python -m benchmarks.detector_weight`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from lineage.detector import alone, spread_layers
from lineage.detector_features import FeatureTable, comparable
from lineage.detector_network import CLASSES, Network, network
from lineage.direction import UNLIKE
from lineage.family import FamilyMeasures
from lineage.pruned import zero_share

Edge = tuple[int, int]
Scores = dict[Edge, dict[str, float]]  # of every edge of a tree, as `lineage.direction.edge_scores` gives them
MOST = 4.0  # log-odds of one edge
# Share of zeros. Of trees that are pruned throughout, those of 50 % gained by being asked (the mean loss of the true
# root fell from .075 to .072), those of 90, 95 and 99 % lost (.561 to .571, .745 to .753, .994 to 1.195).
SPARSE = 0.75
_PARENT, _CHILD = CLASSES.index("parent"), CLASSES.index("child")


def with_detector(measures: FamilyMeasures, evidence: Mapping[Edge, Mapping[str, float]]) -> Scores:
    """The scores of a tree's edges, and beside them as `detector` what the detector says of each."""
    said = detector_odds(measures, list(evidence))
    return {edge: {**scores, "detector": said[edge]} for edge, scores in evidence.items()}


def detector_odds(
    measures: FamilyMeasures, edges: Sequence[Edge], by: Network | None = None, most: float = MOST
) -> dict[Edge, float]:
    """Of each edge (i, j), positions of members, the log-odds that i is j's parent against j i's; within ± `most`.

    The two are judged alone: what their relatives say is in the tree's other edges. 0 where nothing was compared. All
    are 0 where any two of them differ too much in their shares of zeros for moments and slopes to be compared
    (`lineage.direction.UNLIKE`): of such edges a quarter was said wrongly, and what is left of a tree whose members are
    pruned in part turned it. So they are where any has a share of zeros above `SPARSE`. `by`: another network than the
    shipped one.
    """
    if not edges:
        return {}
    can = comparable(measures)
    zeros = zero_share(measures, range(len(measures.members)))
    alike = all(abs(zeros[i] - zeros[j]) <= UNLIKE and max(zeros[i], zeros[j]) <= SPARSE for i, j in edges)
    said = {}
    for i, j in edges:
        asked = alike and can[i, j]
        said[i, j] = float(np.clip(_odds(measures, i, j, by or network()), -most, most)) if asked else 0.0
    return said


def _odds(measures: FamilyMeasures, i: int, j: int, by: Network) -> float:
    pair = alone(measures, min(i, j), max(i, j))
    logits = by.logits(FeatureTable(pair).features([(0, 1)], spread_layers(pair)))[0]
    odds = float(logits[_PARENT] - logits[_CHILD])
    return odds if i < j else -odds
