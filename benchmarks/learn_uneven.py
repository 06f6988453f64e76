"""Learns how much less the evidence for a root counts where steps are uneven (lineage/uneven.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from benchmarks.true_trees import Scores, TrueTree
from lineage.adjacency import core_steps_beside
from lineage.calibration import calibration
from lineage.direction import root_gains
from lineage.skeleton import Skeleton
from lineage.uneven import Sharing, sharing, sureness
from lineage.walk import outward, sides

LARGEST = 20.0  # of the weight
_CERTAIN = 1e-4  # probabilities beyond are no surer: one edge must not outweigh a zoo


@dataclass(frozen=True)
class Inferred:
    """An inferred skeleton, its evidence, and which of its edges are true."""

    gains: NDArray[np.float64]  # (n,) log-odds of each source to be the root
    away: NDArray[np.bool_]  # (e, n) whether a source is on the second's side of each edge
    shared: Sharing
    true: NDArray[np.intp]  # (t,) which edges are true
    turned: NDArray[np.bool_]  # (t,) and of which the second is the parent
    beside: tuple[float, ...]  # of all edges, see `lineage.uneven.steps_beside`

    def probability(self, weight: float) -> NDArray[np.float64]:
        """(t,) that the true edges have their direction."""
        logits = self.gains * sureness(self.beside, weight)
        likely = np.exp(logits - logsumexp(logits))
        above = self.shared.above(np.clip(self.away @ likely, 0.0, 1.0))[self.true]
        found: NDArray[np.float64] = np.where(self.turned, 1 - above, above)
        return found


def inferred(tree: TrueTree, found: Skeleton, evidence: Scores, weights: Mapping[str, float]) -> Inferred:
    """What the scores of its edges say of the skeleton `found` of a true tree, by the weights of direction."""
    odds = {edge: sum(weights[name] * value for name, value in told.items()) for edge, told in evidence.items()}
    gains = root_gains(found.sources, odds)
    at = {member: place for place, member in enumerate(found.sources)}
    directed = outward(found.sources[0], found.core)
    pairs = np.array([(at[one], at[other]) for one, other in directed], dtype=np.intp)
    parents = {child: parent for parent, child in tree.edges}
    told = [(edge, parents.get(edge[1]) == edge[0], parents.get(edge[0]) == edge[1]) for edge in directed]
    true = [place for place, (_, right, turned) in enumerate(told) if right or turned]
    return Inferred(
        np.array([gains[one] for one in found.sources]),
        ~np.array(list(sides(found.sources, directed)), dtype=bool),
        sharing(found.core_squared, pairs),
        np.array(true, dtype=np.intp),
        np.array([told[place][2] for place in true], dtype=bool),
        tuple(core_steps_beside(found).tolist()),
    )


def learn_uneven(zoos: Sequence[Sequence[Inferred]]) -> float:
    """The weight under which true edges' directions are likeliest, at least 0; zoos count alike."""
    seen = [zoo for zoo in zoos if any(len(tree.true) for tree in zoo)]

    def loss(weight: float) -> float:
        stated = (np.concatenate([tree.probability(weight) for tree in zoo]) for zoo in seen)
        return -float(np.mean([np.log(np.maximum(zoo, _CERTAIN)).mean() for zoo in stated]))

    if not seen:
        return 0.0
    return round(float(minimize_scalar(loss, bounds=(0.0, LARGEST), method="bounded", options={"xatol": 1e-3}).x), 4)


def directions_left_out(zoos: Mapping[str, Sequence[Inferred]]) -> str:
    """Calibration of directions where each zoo is judged by the weight learnt from all others."""
    stated: dict[str, NDArray[np.float64]] = {}
    for out in zoos:
        weight = learn_uneven([seen for name, seen in zoos.items() if name != out])
        if rows := [tree.probability(weight) for tree in zoos[out] if len(tree.true)]:
            stated[out] = np.concatenate(rows)
    told = {out: (np.maximum(one, 1 - one), one > 0.5) for out, one in stated.items()}
    error = {out: calibration(*one).error for out, one in told.items()}
    each = [f"{out} {error[out]:.3f} ({said.mean():.2f}, {right.mean():.2f})" for out, (said, right) in told.items()]
    said, right = (np.concatenate(column) for column in zip(*told.values(), strict=True))
    return f"each zoo left out: {calibration(said, right).error:.3f} of all edges; {', '.join(each)}"
