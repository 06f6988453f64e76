"""Parents that are not at hand: siblings that were joined to one another because nobody stands between them.

In a tree all of whose nodes are there, the angle at a node between its neighbours is nearly right. Where the parent h
of a, b, c, ... is missing, the spanning tree joins them to the one that moved least, a, and the angles there are acute:
<b - a, c - a> = ||a - h||², the same for all pairs b, c. Siblings whose drift is shared have acute angles at their
parent too. What tells the two apart is how acute angles are elsewhere in the tree, where nobody is missing; that the
centre of a group could be replaced, as another sibling is hardly farther from the rest; and norms, which say of an edge
whether its ends' parent lies between them (between.py). A logistic regression weighs the four (benchmarks/learn.py).
Decay is one drift that can be taken out: it moves all children along their parent.

Where norms alone leave no doubt, as of folds of one initialisation, two siblings are enough, and the tree is rooted at
them, whatever its other edges say: the absent parent is above them all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan, log

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from lineage.adjacency import edge_margins
from lineage.between import CLEAREST
from lineage.learnt import AbsentWeights, learnt
from lineage.preorder import preorder
from lineage.skeleton import Skeleton
from lineage.walk import outward

ACUTE = 0.1  # cosine from which on the angle between two neighbours makes them one group
HELPED = 3.0  # what norms say, on average, of the edges of a group whose centre's parent is none of them
LEAST = 0.5  # probability from which on the parent of a group counts as absent
USUAL = 0.9  # quantile of the other cosines in a tree
FEWEST = 3  # cosines that make a quantile
NEAREST = 512  # neighbours of one member that are looked at
FLOOR = 0.02  # of a cosine; what small networks scatter by
MARGIN_FLOOR = 0.01

Pair = tuple[int, int]


@dataclass(frozen=True)
class Group:
    """A member and neighbours that it sees under acute angles, and what speaks for an absent parent of them all."""

    members: frozenset[int]
    acute: float  # mean cosine of the angles at the centre, decay taken out
    usual: float  # a high quantile of the cosines of the tree's other angles; NaN: there are too few
    margin: float  # the largest of its edges' margins over their best replacement, see adjacency.py
    between: float  # mean of what norms say of its edges, 0 where nothing is told

    def probability(self, weights: AbsentWeights) -> float:
        """That the common parent of the group is absent, of trees half of which lack their root."""
        return float(expit(self.log_odds(weights)))

    def log_odds(self, weights: AbsentWeights) -> float:
        """The same as log-odds."""
        usual = weights.usual_cosine if isnan(self.usual) else log(max(self.usual, 0.0) + FLOOR)
        odds = weights.offset + weights.acute * log(max(self.acute, 0.0) + FLOOR) + weights.usual * usual
        return odds + weights.margin * log(self.margin + MARGIN_FLOOR) + weights.between * self.between


def absent_parents(found: Skeleton, root: int) -> tuple[tuple[int, ...], ...]:
    """Groups of sources whose common parent is missing, each of them ascending, ordered by their first.

    `root`, a source, is the root that was chosen for the skeleton.
    """
    weights = learnt().absent
    groups = [set(one.members) for one in seen_groups(found, root) if one.probability(weights) >= LEAST]
    joined: list[set[int]] = []
    for group in [*clear_siblings(found), *groups]:
        # Of two that moved equally little each may have been given some of the others, and the two one another.
        alike = [one for one in joined if len(one & group) > 1]
        joined = [one for one in joined if one not in alike] + [group.union(*alike)]
    return tuple(sorted(tuple(sorted(group)) for group in joined))


def absence(found: Skeleton, root: int, absent: Sequence[Sequence[int]]) -> dict[Pair, float]:
    """Of the core's edges within groups whose parent counts as absent, by both orders: how likely it is absent indeed.

    That a parent counts as absent is asked as if half of all trees lacked their root, as a false parent is worse than
    none. What edges are stated at goes by how often it is so (`AdjacencyWeights.rarity`). An edge between clear
    siblings is as unlikely as such edges were.
    """
    if not absent:
        return {}
    weights = learnt().adjacency
    seen = [(one.members, one.log_odds(learnt().absent) + weights.rarity) for one in seen_groups(found, root)]
    told: dict[Pair, float] = {}
    for group in map(set, absent):
        odds = [value for members, value in seen if members <= group]
        for a, b in found.core:
            if {a, b} <= group:
                likely = float(expit(max(odds))) if odds else 0.0
                if (a, b) in found.clear:
                    likely = max(likely, 1 - weights.clear)
                told[a, b] = told[b, a] = max(likely, told.get((a, b), 0.0))
    return told


def clear_siblings(found: Skeleton) -> list[set[int]]:
    """Sources that edges join whose ends are siblings by their norms alone, in sets."""
    clear = [pair for pair in found.between if pair in found.clear]
    groups: list[set[int]] = []
    for pair in clear:
        touched = [one for one in groups if not one.isdisjoint(pair)]
        groups = [one for one in groups if one not in touched] + [set(pair).union(*touched)]
    return groups


def seen_groups(found: Skeleton, root: int) -> list[Group]:
    """The groups of a skeleton that may lack a parent, at every source with two neighbours and more.

    The way from a centre to its own parent leads through the missing parent too. So a group has the parent of its
    centre in it, or the root for its centre, else it is siblings who share a drift, unless norms say otherwise.
    """
    if len(found.core) < 2:
        return []
    directed = outward(root, found.core)
    place = {member: index for index, member in enumerate(found.sources)}
    edges = np.array([(place[a], place[b]) for a, b in directed], dtype=np.intp)
    margins = edge_margins(found.core_squared, edges, preorder(len(place), edges, place[root]))
    margin = {frozenset(edge): max(value, 0.0) for edge, value in zip(directed, margins.tolist(), strict=True)}
    parent = {child: up for up, child in directed}
    neighbours: dict[int, list[int]] = {}
    for a, b in directed:
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    angled = [(centre, sorted(others)) for centre, others in sorted(neighbours.items()) if len(others) > 1]
    stars = [_star(found, place, centre, others) for centre, others in angled]
    groups = []
    for star in stars:
        for inside in star.groups:
            members = [star.others[at] for at in inside]
            told = [found.between.get((star.centre, one), 0.0) for one in members]
            between = float(np.mean([min(one, CLEAREST) for one in told]))
            if parent.get(star.centre, star.centre) not in (star.centre, *members) and between < HELPED:
                continue
            groups.append(
                Group(
                    frozenset((star.centre, *members)),
                    float(star.cosines[np.ix_(inside, inside)][np.triu_indices(len(inside), 1)].mean()),
                    _usual(stars, star, inside),
                    max(margin[frozenset((star.centre, one))] for one in members),
                    between,
                )
            )
    return groups


@dataclass(frozen=True)
class _Star:
    """A member with its neighbours, the nearest of them where they are very many."""

    centre: int
    others: tuple[int, ...]
    cosines: NDArray[np.float64]  # (k, k) of the angles at the centre, 1 on the diagonal
    groups: tuple[NDArray[np.intp], ...]  # of two neighbours and more, by their places


def _star(found: Skeleton, place: Mapping[int, int], centre: int, others: Sequence[int]) -> _Star:
    at, around = place[centre], np.array([place[one] for one in others], dtype=np.intp)
    squared = found.core_squared
    around = around[
        np.isfinite(squared[at, around]) & np.isfinite(found.norms[[at]]) & np.isfinite(found.norms[around])
    ]
    around = np.sort(around[np.argsort(squared[at, around], kind="stable")[:NEAREST]])
    products = (squared[at, around][:, None] + squared[at, around] - squared[np.ix_(around, around)]) / 2
    # What decay did to each: its share of the centre itself.
    norms = found.norms
    along = (norms[at] + squared[at, around] - norms[around]) / 2
    if norms[at] > 0:
        products = products - along[:, None] * along / norms[at]
    sizes = np.sqrt(np.maximum(np.diag(products), 0))
    sides = sizes[:, None] * sizes
    cosines = np.divide(products, sides, out=np.zeros_like(products), where=(sides > 0) & np.isfinite(products))
    cosines = np.where(np.abs(cosines) <= 1, cosines, 0.0)  # beyond 1: distances over different elements
    np.fill_diagonal(cosines, 1.0)
    labels = np.zeros(len(around), dtype=np.int32)
    if len(around) > 1:  # most members have one neighbour
        labels = connected_components(cosines >= ACUTE, directed=False)[1]
    inside = [np.flatnonzero(labels == label) for label in range(labels.max(initial=-1) + 1)]
    members = tuple(found.sources[one] for one in around)
    return _Star(centre, members, cosines, tuple(one for one in inside if len(one) > 1))


def _usual(stars: Sequence[_Star], here: _Star, inside: NDArray[np.intp]) -> float:
    """A high quantile of the cosines of all angles but those of one group; NaN where there are few."""
    apart = np.ones(len(here.others), dtype=bool)
    apart[inside] = False
    others = [star.cosines[np.triu_indices(len(star.others), 1)] for star in stars if star is not here]
    others.append(here.cosines[np.triu(apart[:, None] | apart, 1)])
    every = np.concatenate(others)
    return float(np.quantile(every, USUAL)) if len(every) >= FEWEST else float("nan")


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
