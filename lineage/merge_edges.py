"""Merges in a family's trees: who stands aside while trees are found, and the edges that are attached afterwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lineage.affine import between
from lineage.cluster import trunk_sums
from lineage.family import FamilyMeasures
from lineage.merge_layers import block_weights
from lineage.merges import Merge, Merges, find, relative_rounding
from lineage.trees import InferredEdge

_NEARER = 0.5
_ORTHOGONAL = 0.15
_WITNESSES = 12
_SURE = 0.97  # all 75 parents of the 34 merges of one zoo were right: by Laplace's rule of succession, 76 / 77 and less
_ALIKE = 0.01
_LEFT = 0.25

Floats = NDArray[np.float64]


def merges_apart(measures: FamilyMeasures, members: Sequence[int]) -> Merges:
    """The merges among `members` and those who surely descend from one, none of them above itself.

    Only measured distances count: a merge whose distances from or among its parents are estimates is none. Neither is
    one that leaves more than rounding does: where siblings share a drift, a small step lies between larger ones.
    """
    found = find(measures, members, rounding=relative_rounding(measures.form))
    merges = [one for one in found.found if one.exact and _measured(measures, one) and _told(measures, one)]
    if not merges:
        return Merges((), {})
    squared = trunk_sums(measures, members).squared_distance
    place = {member: index for index, member in enumerate(members)}
    aside = {one.child for one in merges}
    clades = {}
    for one in merges:
        others = [place[member] for member in members if member not in aside and member not in found.clades[one.child]]
        sure = [
            member
            for member in found.clades[one.child]
            if member != one.child and surely_below(squared, place[member], place[one.child], others)
        ]
        clades[one.child] = (one.child, *sure)
    return _in_order(Merges(tuple(merges), clades))


def _measured(measures: FamilyMeasures, merge: Merge) -> bool:
    if measures.estimated is None:
        return True
    all_of_it = [merge.child, *merge.parents]
    return not bool(measures.estimated[np.ix_(all_of_it, all_of_it)].any())


def _told(measures: FamilyMeasures, merge: Merge) -> bool:
    """Whether steps stand out from rounding: else what rounding leaves is what a tree would leave."""
    away = measures.squared_distance[np.ix_(merge.layers, [merge.child], merge.parents)].sum(axis=(0, 1))
    return merge.residual * float(away.min()) <= _LEFT * between(away)


def surely_below(squared: Floats, member: int, merge: int, others: Sequence[int]) -> bool:
    """Whether a member was trained from a merge and not from those that the merge shares a drift with.

    It is much nearer to the merge than to anybody else; and seen from the merge, those who are near (its parents, their
    base and its other children) lie at right angles to it. A sibling of the parents has not their own steps, half of
    which the merge has: it leans towards its siblings and their base. All are indices into `squared` (n, n).
    """
    own = float(squared[member, merge])
    if not len(others):
        return False
    away = squared[merge, others]
    if own >= _NEARER * squared[member, others].min():
        return False
    near = np.argsort(away, kind="stable")[:_WITNESSES]
    onto = (own + away - squared[member, others])[near] / 2
    return bool((onto <= _ORTHOGONAL * away[near]).all())


def _in_order(found: Merges) -> Merges:
    """Merges after all that they are made of. Those that would be above themselves are left out."""
    home = {member: child for child, clade in found.clades.items() for member in clade}
    waiting, done, order = list(found.found), set[int](), []
    while ready := [one for one in waiting if all(home.get(up, up) in done or up not in home for up in one.parents)]:
        order += ready
        done |= {one.child for one in ready}
        waiting = [one for one in waiting if one.child not in done]
    return Merges(tuple(order), {child: clade for child, clade in found.clades.items() if child in done})


def merge_edges(measures: FamilyMeasures, merge: Merge, decide: float) -> list[InferredEdge]:
    """One edge per parent, heaviest first, with its weight overall and, where it changes, by stretches of layers.

    A base of negative weight is no parent: the others' evidence has its weight.
    """
    base = [weight for weight in merge.weights if weight < 0]
    common = {
        "ratio": merge.ratio,
        "residual": merge.residual,
        "scale": merge.scale,
        **({"base weight": base[0]} if base else {}),
    }
    return [
        InferredEdge(
            measures.members[parent],
            measures.members[merge.child],
            "merge",
            _SURE,
            decide <= _SURE,
            {"weight": weight, **common, **_by_stretch(measures, merge, column)},
        )
        for column, (parent, weight) in enumerate(zip(merge.parents, merge.weights, strict=True))
        if weight > 0
    ]


def _by_stretch(measures: FamilyMeasures, merge: Merge, column: int) -> dict[str, float]:
    """The parent's weight in each stretch of blocks (or layers, where there are none) in which it hardly changes."""
    if merge.kind not in {"layers", "slerp"}:
        return {}
    names = [measures.layers[layer].name for layer in merge.layers]
    sizes = np.array([measures.layers[layer].size for layer in merge.layers], dtype=np.float64)
    stretches: list[tuple[str, str, float]] = []
    for name, weights in block_weights(names, merge.layer_weights, sizes).items():
        weight = float(weights[column])
        if stretches and abs(stretches[-1][2] - weight) < _ALIKE:
            stretches[-1] = (stretches[-1][0], name, stretches[-1][2])
        else:
            stretches.append((name, name, weight))
    if len(stretches) < 2:
        return {}
    return {
        f"weight in {first}" + (f" to {last}" if last != first else ""): weight for first, last, weight in stretches
    }
