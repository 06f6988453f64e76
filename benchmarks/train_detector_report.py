"""How well the detector does on pairs of known relation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from benchmarks.train_detector_data import LabelledPairs
from lineage.calibration import calibration
from lineage.detector_network import Network, settled


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
    run_directions: tuple[float, ...]  # what `direction` is of each run's network by itself


def scored(found: Network, pairs: LabelledPairs, *, alone: bool) -> Scored:
    """Hold probabilities against labels."""
    features = pairs.features
    if alone:
        empty = np.zeros_like(features.context_even), np.zeros_like(features.context_odd)
        features = replace(features, context_even=empty[0], context_odd=empty[1])
    runs = [Network((run,), {}).logits(features) for run in found.runs]
    likely, label = settled(softmax(np.mean(runs, axis=0), axis=1), features), pairs.label
    edge = np.isin(label, (1, 2))
    above = likely[edge, 1] / (likely[edge, 1] + likely[edge, 2])
    right = _directed(likely, label)
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
        tuple(float(_directed(one, label).mean()) for one in runs) if edge.any() else (),
    )


def _directed(values: NDArray[np.float64], label: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Of each parent-child pair whether logits or probabilities of classes say the right end."""
    edge = np.isin(label, (1, 2))
    found: NDArray[np.bool_] = (values[edge, 1] > values[edge, 2]) == (label[edge] == 1)
    return found


def line(one: Scored) -> str:
    """A line of a report."""

    def figure(value: float | None) -> str:
        return "  -  " if value is None else f"{value:.3f}"

    runs = one.run_directions
    spread = f" (runs {np.mean(runs):.3f} ± {np.std(runs, ddof=1):.3f})" if len(runs) > 1 else ""
    return (
        f"{one.zoo:22} {one.architecture:7} {'alone ' if one.alone else 'family'} {one.edges:4} edges  "
        f"direction {figure(one.direction)}{spread}  ancestors {figure(one.ancestors)}  "
        f"related {figure(one.related_auroc)}  edge {figure(one.edge_auroc)}  accuracy {one.accuracy:.3f}  "
        f"calibration {figure(one.calibration)}"
    )
