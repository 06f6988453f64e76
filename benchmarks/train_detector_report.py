"""How well the detector does on pairs of known relation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.train_detector_data import LabelledPairs
from lineage.calibration import calibration
from lineage.detector_network import Network


@dataclass(frozen=True)
class Scored:
    """Figures of one family of a zoo; None where there is no such pair."""

    zoo: str
    architecture: str
    alone: bool  # whether the two were judged without their family
    pairs: int
    edges: int
    direction: float | None  # of parent-child pairs, the share whose more likely end is the parent
    ancestors: float | None  # the same of ancestors at distance 2 and more
    related_auroc: float | None  # unrelated against related
    edge_auroc: float | None  # parent-child pairs against all others
    accuracy: float  # of the likeliest class, on pairs as they were sampled
    calibration: float | None  # expected error of the stated direction


def scored(found: Network, pairs: LabelledPairs, *, alone: bool) -> Scored:
    """Hold probabilities against labels."""
    features = pairs.features
    if alone:
        empty = np.zeros_like(features.context_even), np.zeros_like(features.context_odd)
        features = replace(features, context_even=empty[0], context_odd=empty[1])
    likely, label = found.probabilities(features), pairs.label
    edge = np.isin(label, (1, 2))
    above = likely[edge, 1] / (likely[edge, 1] + likely[edge, 2])
    right = (above > 0.5) == (label[edge] == 1)
    older = np.isin(label, (4, 6))
    far = older | np.isin(label, (5, 7))
    upper = likely[far][:, [1, 4, 6]].sum(axis=1) > likely[far][:, [2, 5, 7]].sum(axis=1)
    related = label != 0
    stated = np.maximum(above, 1 - above)
    return Scored(
        pairs.zoo,
        pairs.architecture,
        alone,
        len(label),
        int(edge.sum()),
        float(right.mean()) if edge.any() else None,
        float((upper == older[far]).mean()) if far.any() else None,
        float(roc_auc_score(related, 1 - likely[:, 0])) if 0 < related.sum() < len(label) else None,
        float(roc_auc_score(edge, likely[:, 1] + likely[:, 2])) if 0 < edge.sum() < len(label) else None,
        float((likely.argmax(axis=1) == label).mean()),
        float(calibration(stated, right).error) if edge.any() else None,
    )


def line(one: Scored) -> str:
    """A line of a report."""

    def figure(value: float | None) -> str:
        return "  -  " if value is None else f"{value:.3f}"

    return (
        f"{one.zoo:22} {one.architecture:7} {'alone ' if one.alone else 'family'} {one.edges:4} edges  "
        f"direction {figure(one.direction)}  ancestors {figure(one.ancestors)}  related {figure(one.related_auroc)}  "
        f"edge {figure(one.edge_auroc)}  accuracy {one.accuracy:.3f}  calibration {figure(one.calibration)}"
    )
