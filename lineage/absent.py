"""Parents that are not at hand: siblings that were joined to one another because nobody stands between them.

In a tree all of whose nodes are there, the angle at a node between its neighbours is nearly right. Where the parent h
of a, b, c, ... is missing, the spanning tree joins them to the one that moved least, a, and the angles there are acute:
<b - a, c - a> = ||a - h||², the same for all pairs b, c, and about half of their squared distances. Siblings whose
drift is shared have acute angles at their parent too, but smaller ones, whose products go with the lengths of both
steps. So folds of one initialisation, or fine-tunes of a base that is not public, show themselves from three on; two
alone cannot.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from lineage.drift import cosine

ACUTE = 0.35  # cosine of an angle that no parent has between its children, of three and more ...
ACUTE_PAIR = 0.4  # ... and of two
CONSTANT = 0.25  # spread of the inner products over their mean, at most


def absent_parents(
    members: Sequence[int], edges: Sequence[tuple[int, int]], squared: NDArray[np.float64]
) -> tuple[tuple[int, ...], ...]:
    """Groups of members whose common parent is missing, each of them ascending, ordered by their first.

    `edges` are a tree that spans `members` (positions in the family), each from parent to child, and `squared` (n, n)
    is over `members`. The way from the centre to its parent leads through the missing parent too, so a group has the
    parent of its centre in it, or the root for its centre: else it is siblings who share a drift.
    """
    place = {member: index for index, member in enumerate(members)}
    neighbours: dict[int, list[int]] = {}
    parent = {place[child]: place[up] for up, child in edges}
    for a, b in edges:
        neighbours.setdefault(place[a], []).append(place[b])
        neighbours.setdefault(place[b], []).append(place[a])
    found: list[set[int]] = []
    for centre in sorted(neighbours):
        others = np.array(sorted(neighbours[centre]), dtype=np.int64)
        for group in _acute(centre, others, squared):
            if parent.get(centre, centre) not in group:
                continue
            # Of two that moved equally little each may have been given some of the others, and the two one another.
            alike = [one for one in found if len(one & group) > 1]
            found = [one for one in found if one not in alike] + [group.union(*alike)]
    return tuple(sorted(tuple(sorted(members[at] for at in group)) for group in found))


def _acute(centre: int, others: NDArray[np.int64], squared: NDArray[np.float64]) -> list[set[int]]:
    """The centre with neighbours that it sees under acute angles with one constant inner product, in sets."""
    if len(others) < 2:
        return []
    a, b = (index.ravel() for index in np.meshgrid(others, others, indexing="ij"))
    angles = cosine(squared, np.full(len(a), centre), a, b).reshape(len(others), -1)
    near = (angles >= ACUTE) & (angles <= 1)
    labels = connected_components(near, directed=False)[1]
    groups = []
    for label in range(labels.max() + 1):
        inside = np.flatnonzero(labels == label)
        pairs = np.triu_indices(len(inside), 1)
        cosines = angles[np.ix_(inside, inside)][pairs]
        if len(cosines) == 0 or cosines.min() < (ACUTE if len(inside) > 2 else ACUTE_PAIR):
            continue
        lengths = np.sqrt(squared[centre, others[inside]])
        products = cosines * lengths[pairs[0]] * lengths[pairs[1]]
        if products.std() <= CONSTANT * products.mean():
            groups.append({centre, *map(int, others[inside])})
    return groups


def distances_to_absent(squared: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) squared distances of n >= 3 siblings to their absent parent, from the (n, n) ones among them.

    Steps away from one parent h are nearly orthogonal, so squared distances add up along the tree and, for every two
    others b and c, ||a - h||² = (||a - b||² + ||a - c||² - ||b - c||²) / 2: the length of a leaf's edge in an additive
    tree (Saitou and Nei 1987, there for trees of three). Here it is the mean over all b and c, and at least 0.
    """
    size = len(squared)
    if size < 3:
        raise ValueError(f"{size} siblings, expected three or more")
    to_others = squared.sum(axis=1)  # each pair of others holds n - 2 times each of them
    among_others = (squared.sum() - 2 * to_others) / 2
    pairs = (size - 1) * (size - 2) / 2
    found: NDArray[np.float64] = np.maximum((to_others * (size - 2) - among_others) / (2 * pairs), 0)
    return found
