"""The paper's method: MoTHer, "Unsupervised Model Tree Heritage Recovery" (Horwitz, Shul and Hoshen, ICLR 2025).

Equations 1 to 6 as published, with its default c = 0.3. What the paper leaves open is decided here, and said:

- The diagonal of D is infinite so that no model is its own parent; in the mean of D "over all n² entries" it counts
  as the distance of a model to itself, 0. So lambda = c * (sum of D off the diagonal) / n².
- A stage is given per node and says how that node was trained, so the edge i -> j takes the stage of the child j. In
  specialisation (fine-tuning, T = 0) kurtosis falls from parent to child and an edge with k_i < k_j costs lambda
  more; in generalisation (pre-training, T = 1) it rises, and edges with k_i >= k_j cost lambda more.
- "All layers" of l_FT are weight tensors, biases and normalisation parameters: heads, which are new for a child, and
  buffers, which are not trained, are left out. The "dense layers" of the kurtosis are the trunk's two-dimensional
  tensors or, in a network that has none, its whole trunk. The "adapted layers" of l_LoRA are the trunk layers in
  which any two members of the tree differ.
- Where members lack layers, l_FT is the mean over the layers that both have, and the kurtosis is summed over layers
  that all members of the tree have.
- A rank that was not measured (-1) counts as the full rank; equal layers have rank 0 without being measured.
- Trees that differ in their root alone tie whenever they go against the same number of kurtosis orders, which is
  common. Among tied roots the one of highest kurtosis is taken (of lowest if all members are generalisations), as the
  paper does by hand for three models, so that results do not hang on the order of members.
- The paper is told whether a tree's children are full or low-rank fine-tunes, and the number of trees. Here the
  first is a parameter; without the second, trees are the clusters of `lineage.cluster`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from lineage.arborescence import Arborescence, minimum_arborescence
from lineage.cluster import Clusters, clusters, linked_into
from lineage.family import FamilyMeasures, LayerKind

PENALTY = 0.3  # the paper's c


class Metric(StrEnum):
    """Which distance between weights is used."""

    FINE_TUNE = "fine-tune"  # equation 1
    LOW_RANK = "low-rank"  # equation 2


@dataclass(frozen=True)
class MotherTree:
    """One recovered model tree of n members."""

    members: tuple[int, ...]  # positions in the family, ascending
    kurtosis: NDArray[np.float64]  # (n,) k of equation 3
    arborescence: Arborescence  # over the members in their order here

    @property
    def root(self) -> int:
        """Position in the family."""
        return self.members[self.arborescence.root]

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """(parent, child) as positions in the family, by child."""
        return tuple((self.members[parent], self.members[child]) for parent, child in self.arborescence.edges)


def fine_tune_distance(squared_distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Equation 1, l_FT: (L, n, n) squared distances to the (n, n) mean over layers of L2 norms.

    NaN marks a layer that a pair does not share: it is left out of that pair's mean. inf if none is shared.
    """
    total = np.zeros(squared_distance.shape[1:])
    layers = np.zeros(squared_distance.shape[1:])
    for layer in squared_distance:
        shared = ~np.isnan(layer)
        total += np.sqrt(np.where(shared, layer, 0.0))
        layers += shared
    return np.divide(total, layers, out=np.full_like(total, np.inf), where=layers > 0)


def low_rank_distance(rank: NDArray[np.int32], full_rank: NDArray[np.int64]) -> NDArray[np.float64]:
    """Equation 2, l_LoRA: (L, n, n) ranks of differences and (L,) largest possible to (n, n) maxima over layers.

    -1 (not measured) counts as the full rank.
    """
    known = np.where(rank < 0, full_rank[:, None, None], rank).astype(np.float64)
    largest: NDArray[np.float64] = known.max(axis=0, initial=0.0)
    return largest


def kurtosis_sum(kurtosis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Equation 3, k: (L, n) kurtosis of each layer to the (n,) sums over layers."""
    total: NDArray[np.float64] = kurtosis.sum(axis=0)
    return total


def kurtosis_order(scores: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Equation 4, K: (n,) scores to the (n, n) table of k_i < k_j."""
    return scores[:, None] < scores[None, :]


def stage_of_edges(generalisation: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Equation 5, T: the (n,) stages of nodes (True: generalisation) to the (n, n) stages of edges i -> j."""
    return np.broadcast_to(generalisation[None, :], (len(generalisation), len(generalisation)))


def objective(
    distance: NDArray[np.float64], order: NDArray[np.bool_], stage: NDArray[np.bool_], c: float = PENALTY
) -> NDArray[np.float64]:
    """Equation 6: M = D + lambda (K xor T), lambda = c * mean of D over all n² entries; all (n, n).

    The diagonal of D counts as 0 in the mean and is infinite in M; so are pairs that cannot be compared (inf).
    """
    apart = distance.copy()
    np.fill_diagonal(apart, np.inf)
    penalty = c * float(np.where(np.isfinite(apart), apart, 0.0).mean())
    penalised: NDArray[np.float64] = apart + penalty * (order ^ stage)
    return penalised


def recover(
    measures: FamilyMeasures,
    *,
    metric: Metric = Metric.FINE_TUNE,
    trees: int | None = None,
    generalisation: Sequence[bool] | NDArray[np.bool_] | None = None,
    c: float = PENALTY,
) -> tuple[MotherTree, ...]:
    """Return the model trees of a family by the paper's method.

    `trees` is their number (clustered on l_FT); without it, clusters by relative distance are used. `generalisation`
    gives each member's stage, by default specialisation for all. Raises ValueError if either does not fit the family,
    and its subclass NoArborescence if `trees` forces members together that cannot be compared.
    """
    members = len(measures.members)
    stages = np.zeros(members, dtype=bool) if generalisation is None else np.asarray(generalisation, dtype=bool)
    if stages.shape != (members,):
        raise ValueError(f"{members} members need as many stages, not {stages.shape}")
    return tuple(_recover_tree(measures, cluster, metric, stages, c) for cluster in _clusters(measures, trees))


def _clusters(measures: FamilyMeasures, trees: int | None) -> Clusters:
    if trees is None:
        return clusters(measures)
    return linked_into(fine_tune_distance(measures.squared_distance[_trained(measures)]), trees)


def _recover_tree(
    measures: FamilyMeasures, cluster: tuple[int, ...], metric: Metric, stages: NDArray[np.bool_], c: float
) -> MotherTree:
    squared = measures.squared_distance[:, cluster][:, :, cluster]
    trunk = np.array([layer.kind is LayerKind.TRUNK for layer in measures.layers], dtype=bool)
    if metric is Metric.LOW_RANK:
        adapted = trunk & (squared > 0).any(axis=(1, 2))
        differs = squared[adapted] > 0  # not where a layer is equal or missing
        rank = np.where(differs, measures.rank[adapted][:, cluster][:, :, cluster], 0)
        distance, scored = low_rank_distance(rank, measures.full_rank[adapted]), adapted
    else:
        distance = fine_tune_distance(squared[_trained(measures)])
        dense = trunk & np.array([len(layer.shape) == 2 for layer in measures.layers], dtype=bool)
        scored = dense if dense.any() else trunk
    everywhere = (measures.count[:, cluster] > 0).all(axis=1)
    scores = kurtosis_sum(measures.kurtosis[scored & everywhere][:, cluster])
    stage = stage_of_edges(stages[list(cluster)])
    matrix = objective(distance, kurtosis_order(scores), stage, c)
    tree = minimum_arborescence(matrix)
    if len(tree.cheapest) > 1:
        likely = -scores if stage.all() else scores
        tree = minimum_arborescence(matrix, max(tree.cheapest, key=lambda root: float(likely[root])))
    return MotherTree(cluster, scores, tree)


def _trained(measures: FamilyMeasures) -> NDArray[np.bool_]:
    kinds = (LayerKind.TRUNK, LayerKind.VECTOR)
    return np.array([layer.kind in kinds for layer in measures.layers], dtype=bool)
