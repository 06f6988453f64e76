"""The tree that pieces of it make together: one root over the scores of all, and what it says of each piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lineage.absent import absent_parents
from lineage.adjacency import core_steps_beside
from lineage.direction import Rooted, rooted, trusting, weighed
from lineage.family import FamilyMeasures
from lineage.preorder import Preorder, preorder
from lineage.root_prior import root_prior
from lineage.rooted_apart import rooted_apart
from lineage.skeleton import Skeleton
from lineage.uneven import sureness
from lineage.walk import outward

Pair = tuple[int, int]


@dataclass
class Piece:
    """A piece of a tree, by positions in the family; what is named in `found` and `scores` are places in `members`."""

    members: tuple[int, ...]
    found: Skeleton
    scores: dict[Pair, dict[str, float]]  # of every edge of the core, before the whole tree's leaves are asked
    lengths: dict[Pair, float]  # of their steps
    measures: FamilyMeasures | None  # None: to be read again

    def at(self, pair: Pair) -> Pair:
        """The positions of two places."""
        return self.members[pair[0]], self.members[pair[1]]


@dataclass(frozen=True)
class Stated:
    """What the whole tree says of a piece, by places in it."""

    piece: Piece
    rooted: Rooted  # as if all that hangs on a member were that member
    directed: list[Pair]
    absent: list[set[int]]


class WholeTree:
    """The tree that pieces make together: its root, and what it says of each of them."""

    def __init__(self, family: FamilyMeasures, own: list[Piece], created: Mapping[int, float]) -> None:
        self._pieces = own
        joined = _joined(own)
        members = sorted({piece.members[one] for piece in own for one in piece.found.sources})
        self._sources = np.array(members, dtype=np.intp)
        lengths = {piece.at(pair): length for piece in own for pair, length in piece.lengths.items()}
        self._scores = trusting(weighed(members, joined), lengths)
        sure = sureness(told for piece in own for told in core_steps_beside(piece.found).tolist())
        prior = root_prior(family, members, list(self._scores), created)
        self.rooted = rooted(members, self._scores, prior, sure)
        clear = {piece.at(pair) for piece in own for pair in piece.found.clear}
        self.rooted = rooted_apart(self.rooted, clear & joined.keys(), prior, sure)
        self.root = self.rooted.root
        self._tree = _preorder(self._sources, list(self._scores), self.root)
        likely = np.array([self.rooted.probabilities[member] for member in members])
        # The chance of the root to be at or below each, by place.
        self._below = self._tree.below(likely[self._tree.order])

    def _places(self, positions: Sequence[int]) -> NDArray[np.intp]:
        """Where these sources stand among all."""
        found: NDArray[np.intp] = np.searchsorted(self._sources, positions)
        return found

    def stated(self, absent: list[set[int]]) -> list[Stated]:
        """What the tree says of its pieces, from the root downwards; adds groups that lack a parent to `absent`."""
        places = [
            self._tree.place[self._places([piece.members[one] for one in piece.found.sources])]
            for piece in self._pieces
        ]
        parents: dict[int, int] = {}
        found = []
        for at in sorted(range(len(places)), key=lambda one: int(places[one].min())):
            piece = self._pieces[at]
            own = self._in(piece, dict(zip(piece.found.sources, places[at].tolist(), strict=True)))
            directed = piece.found.outward(own.root)
            groups = absent_parents(piece.found, own.root)
            for parent, child in map(piece.at, directed):
                parents.setdefault(child, parent)
            here = [
                group
                for group in map(set, groups)
                if self._is_absent(piece, own.root, directed, group, parents, absent)
            ]
            found.append(Stated(piece, own, directed, here))
        return found

    def _in(self, piece: Piece, place: Mapping[int, int]) -> Rooted:
        """The root as a piece sees it, whose sources stand at these places of the whole tree."""
        top = min(place, key=place.__getitem__)
        mass = {one: float(self._below[at]) for one, at in place.items()} | {top: 1.0}
        for parent, child in outward(top, piece.found.core):
            mass[parent] -= float(self._below[place[child]])
        scores = {pair: self._scores.get(piece.at(pair), own) for pair, own in piece.scores.items()}
        return Rooted(top, {one: max(value, 0.0) for one, value in mass.items()}, scores)

    def _is_absent(
        self,
        piece: Piece,
        top: int,
        directed: Sequence[Pair],
        group: set[int],
        parents: Mapping[int, int],
        absent: list[set[int]],
    ) -> bool:
        """Whether the common parent of a group is missing, and if so add the group to `absent`.

        The way from a centre to its parent leads through the missing one too; the parent of a centre that two pieces
        share lies in the other.
        """
        members, shared = {piece.members[one] for one in group}, piece.members[top]
        centred = top in group and all(parent == top for parent, child in directed if child in group)
        if centred:
            needed = {shared} if shared == self.root else {shared, parents.get(shared, -1)}
            wider = next((known for known in absent if needed <= known), None)
            if wider is not None:
                wider |= members
                return True
            if shared != self.root:
                return False
        absent.append(members)
        return True


def _preorder(sources: NDArray[np.intp], edges: Sequence[Pair], root: int) -> Preorder:
    """The tree that edges make of these positions, whose places are those of the positions among `sources`."""
    pairs = np.searchsorted(sources, np.array(edges, dtype=np.intp).reshape(-1, 2))
    return preorder(len(sources), pairs, int(np.searchsorted(sources, root)))


def _joined(own: Sequence[Piece]) -> dict[Pair, dict[str, float]]:
    """The edges of the tree that pieces make, by positions, and their scores.

    Pieces that share more than one member may join the same two twice: the first way counts. A copy that is none to a
    piece without its source is joined to that, with no scores, as to which of the two is the parent says nothing.
    """
    first: dict[int, int] = {}

    def top(one: int) -> int:
        while first.setdefault(one, one) != one:
            first[one] = first[first[one]]
            one = first[one]
        return one

    found: dict[Pair, dict[str, float]] = {}
    edges = [(piece.at(pair), dict(scores)) for piece in own for pair, scores in piece.scores.items()]
    sources = {piece.members[one] for piece in own for one in piece.found.sources}
    copies = [piece.at((source, copy)) for piece in own for copy, source in piece.found.copies.source.items()]
    edges += [(pair, {}) for pair in copies if pair[1] in sources]
    for (a, b), scores in edges:
        one, other = top(a), top(b)
        if one != other:
            first[other] = one
            found[a, b] = scores
    return found
