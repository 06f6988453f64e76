"""Whether a child's training went on with its parent's or turned to another task: the stage of an edge.

MoTHer calls the first generalisation (pre-training that is continued: the parent saw less data of the same kind) and
the second specialisation (fine-tuning), and is told which of the two made each model. Here it is inferred, of each
edge, from what changed along it. In generalisation kurtosis rises and in specialisation it falls; long training with
decay shrinks the norms of matrices while biases and normalisation spread steadily; and a head that is kept says that
the task may be the old one, unless its rows are a vocabulary's: fine-tunes of language models keep those as well. The
logistic regression is learnt with both stages counting alike (benchmarks/learn_stage.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from lineage.between import norm_growth
from lineage.direction import scores_apart
from lineage.family import FamilyMeasures, LayerKind
from lineage.learnt import StageWeights, learnt

EVIDENCE = "stage: generalisation"
KEPT = 0.5  # of the squared norms: a head farther than this from the parent's is another
FARTHEST = 2.0  # of norm growth, beyond which more of it says no more
UNEMBEDDINGS = frozenset(("embed_out", "generator_predictions", "lm_head", "predictions", "vocab_projector"))
USUAL_GROWTH = 1.0  # of a step at right angles to the parent, where norms do not tell


def generalisation(measures: FamilyMeasures, edges: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """(e,) probabilities that the children of (parent, child) edges were made by continued pre-training."""
    return stage_probabilities(stage_signs(measures, edges), learnt().stage)


def stage_probabilities(signs: NDArray[np.float64], weights: StageWeights) -> NDArray[np.float64]:
    """(e,) probabilities from the (e, 4) signs."""
    found: NDArray[np.float64] = expit(weights.offset + signs @ np.array(weights.signs))
    return found


def stage_signs(measures: FamilyMeasures, edges: Sequence[tuple[int, int]]) -> NDArray[np.float64]:
    """(e, 4) of (parent, child) edges: rise of kurtosis, growth of norms, spread of vectors, whether a head is kept.

    The first and the third are the steadiness of log ratios over layers, in standard deviations (direction.py); the
    second is that of between.py; the last is 1 where a head of the parent's is, changed at most, in the child, -1 where
    it is not, and 0 where no member of the two has one; what gives a number for each word of a vocabulary is none.
    """
    if not edges:
        return np.zeros((0, 4))
    pairs = np.array(edges, dtype=np.intp)
    # Each edge as a tree of its own: what goes with a tree's shape is no sign of a stage.
    scores = scores_apart(measures, pairs)
    growth = np.clip(np.nan_to_num(norm_growth(measures, pairs)[0], nan=USUAL_GROWTH), -FARTHEST, FARTHEST)
    heads = _task_heads(measures)
    one, other = pairs.T
    have = measures.count[heads] > 0
    apart = measures.squared_distance[heads][:, one, other]
    norms = measures.squared_norm[heads]
    same = have[:, one] & have[:, other] & (apart <= KEPT * (norms[:, one] + norms[:, other]))
    kept = np.where(same.any(axis=0), 1.0, np.where(have[:, one].any(axis=0) | have[:, other].any(axis=0), -1.0, 0.0))
    risen = np.array([-told["kurtosis"] for told in scores])
    spread = np.array([told["vectors"] for told in scores])
    return np.column_stack([risen, growth, spread, kept])


def _task_heads(measures: FamilyMeasures) -> NDArray[np.bool_]:
    """(L,) which layers are matrices of task heads, and no unembeddings."""
    heads = [
        layer.kind is LayerKind.HEAD and len(layer.shape) > 1 and UNEMBEDDINGS.isdisjoint(layer.name.split("."))
        for layer in measures.layers
    ]
    return np.array(heads, dtype=bool)
