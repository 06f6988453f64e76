"""Trees of families that are too large to be seen whole: in pieces, with one root over all evidence of a tree.

1. Duplicates are found by digests alone. Clusters and a spanning tree of each are found over sums of pairs, which are
   passed once (lineage/forest.py).
2. Each tree is cut into connected pieces of a few hundred members that share single members (lineage/pieces.py). All
   measures of a piece are in memory at once, and its tree is made as that of a small family is, copies, low ranks and
   siblings that drift alike included. Pieces' trees make the tree of the cluster.
3. Scores of edges are summed along the whole tree, whose sides they count: there is one root, as in a small family
   (lineage/whole_tree.py).
4. Edges are stated piece by piece. What lies outside of a piece hangs on the member that they share, with all of its
   chance to hold the root, so that the direction of an edge is as sure as the whole tree makes it.

What a piece cannot know: a pair across two pieces, which would replace an edge or make an angle at a member that both
share, and a better tree than the forest where pieces meet. A cluster of no more members than a piece is one, and is
inferred as it is in a small family. Merges are not sought.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from lineage.cluster import duplicates
from lineage.copies import ROUNDING
from lineage.dated import oldest_first
from lineage.detector_direction import with_detector
from lineage.detector_siblings import sibling_odds
from lineage.direction import plain_scores, step_lengths
from lineage.edges import copy_edge, directed_edges
from lineage.family import FamilyMeasures, LayerKind
from lineage.forest import Forest, forest
from lineage.pieces import pieces
from lineage.skeleton import Unjoined, skeleton
from lineage.span import Edges, parts
from lineage.trees import Heritage, InferredEdge, Tree
from lineage.whole_tree import Pair, Piece, Stated, WholeTree

if TYPE_CHECKING:
    from lineage.pair_store import PairStore
    from lineage.parameters import Parameters

PIECE = 256  # members
_KEPT = 1 << 30  # bytes of measures of pieces that are kept from making their trees to stating their edges


def large_heritage(store: PairStore, parameters: Parameters, created: Mapping[int, float]) -> Heritage:
    """The trees of a family by our method (`lineage.recover`), in pieces of `parameters.piece` members.

    `created` (seconds, by position) is the one evidence that is not from weights.
    """
    family = store.family
    copies = [oldest_first(group, created) for group in duplicates(family)]
    hidden = {copy for group in copies for copy in group[1:]}
    shown = [position for position in range(len(family.members)) if position not in hidden]
    grown = _grown(store, shown, parameters, created)
    home = {member: plant for plant in grown for member in plant.members}
    for original, *others in copies:
        home[original].members += others
        home[original].edges += [copy_edge(family, original, copy, created) for copy in others]
    note = f"a family of {len(shown)} different members, more than {parameters.whole}: inferred in pieces"
    merges = f"merges were not sought: {len(shown)} different members, in pieces"
    trees = sorted((_tree(family, plant) for plant in grown), key=lambda tree: tree.members)
    groups = tuple(tuple(family.members[one] for one in group) for group in copies)
    return Heritage(tuple(trees), groups, (note, merges) if parameters.merges else (note,))


@dataclass
class _Plant:
    """A tree while it grows, in positions."""

    members: list[int]
    root: int
    root_confidence: float
    edges: list[InferredEdge] = field(default_factory=list)
    absent: list[set[int]] = field(default_factory=list)


def _grown(
    store: PairStore, shown: Sequence[int], parameters: Parameters, created: Mapping[int, float]
) -> list[_Plant]:
    """The trees of members of whom no two are duplicates."""
    family = store.family
    found = forest(store, shown, parameters.threshold)
    kin = _perhaps_copies(family, found)
    joined = found.edges
    while True:
        clusters = _clusters(len(family.members), joined, shown)
        cut = [pieces(edges, parameters.piece, [edge for edge in edges if edge in kin]) for _, edges in clusters]
        every, apart = _made(store, [group for groups in cut for group in groups], parameters.detector)
        if not apart:
            break
        joined = _parted(joined, apart)
    made = iter(every)
    plants: list[_Plant] = []
    stated: list[tuple[_Plant, Stated]] = []
    for (members, _), groups in zip(clusters, cut, strict=True):
        if not groups:
            plants.append(_Plant(members, members[0], 1.0))
            continue
        tree = WholeTree(store.family, [next(made) for _ in groups], created)
        plants.append(_Plant(members, tree.root, tree.rooted.probabilities[tree.root]))
        stated += [(plants[-1], one) for one in tree.stated(plants[-1].absent)]
    _state(store, stated, parameters, created)
    return plants


def _clusters(everyone: int, joined: Edges, shown: Sequence[int]) -> list[tuple[list[int], list[Pair]]]:
    """The members of each cluster, ascending, and its edges, of those that are `joined`; ordered by first members."""
    label = parts(everyone, joined)
    members: dict[int, list[int]] = {}
    for position in shown:
        members.setdefault(int(label[position]), []).append(position)
    edges: dict[int, list[Pair]] = {one: [] for one in members}
    for a, b in joined.tolist():
        edges[int(label[a])].append((a, b))
    return [(some, edges[one]) for one, some in members.items()]


def _perhaps_copies(family: FamilyMeasures, found: Forest) -> set[Pair]:
    """Edges of the forest between what may be a cast or a pruned copy and its source, which should not be parted."""
    trunk = [at for at, layer in enumerate(family.layers) if layer.kind is LayerKind.TRUNK]
    forms, zeros = family.form[trunk].astype(np.int64).sum(axis=0), family.zeros[trunk].sum(axis=0)
    a, b = found.edges.T
    near = (found.relative <= ROUNDING.max()) & ((forms[a] != forms[b]) | (zeros[a] != zeros[b]))
    return set(map(tuple, found.edges[near].tolist()))


def _made(
    store: PairStore, groups: Sequence[tuple[int, ...]], detector: bool
) -> tuple[list[Piece], list[tuple[tuple[int, ...], ...]]]:
    """The tree of each piece, with the scores of its edges; and the parts of pieces that no tree joins."""
    kept = 0
    made: list[Piece] = []
    unjoined: list[tuple[tuple[int, ...], ...]] = []
    for group, measures in zip(groups, store.pieces(groups), strict=True):
        everyone = range(len(group))
        try:
            found = skeleton(measures, everyone, asked=sibling_odds(measures, everyone))
        except Unjoined as apart:
            unjoined.append(tuple(tuple(group[one] for one in part) for part in apart.parts))
            continue
        scores = plain_scores(measures, found.sources, found.core, found.stand_in)
        lengths = step_lengths(measures, found.core)
        if detector:
            scores = with_detector(measures, scores)
        kept += _bytes(measures)
        made.append(Piece(group, found, scores, lengths, measures if kept <= _KEPT else None))
    return made, unjoined


def _parted(joined: Edges, unjoined: Sequence[Sequence[tuple[int, ...]]]) -> Edges:
    """The forest's edges with each part of those pieces joined for itself, no matter how: pieces are made again."""
    pieces_of = [frozenset(one for part in piece for one in part) for piece in unjoined]
    left = [pair for pair in joined.tolist() if not any(piece.issuperset(pair) for piece in pieces_of)]
    left += [list(pair) for piece in unjoined for part in piece for pair in pairwise(part)]
    return np.array(left, dtype=np.intp).reshape(-1, 2)


def _bytes(measures: FamilyMeasures) -> int:
    pairs = (measures.squared_distance, measures.slope, measures.rank, measures.equal, measures.lost)
    return sum(one.nbytes for one in pairs if one is not None and any(one.strides))


def _state(
    store: PairStore, stated: Sequence[tuple[_Plant, Stated]], parameters: Parameters, created: Mapping[int, float]
) -> None:
    """State the edges of all pieces; a child that two pieces have a parent for keeps that nearest to the root."""
    again = store.pieces([one.piece.members for _, one in stated if one.piece.measures is None])
    known: set[int] = set()
    for plant, one in stated:
        measures = one.piece.measures if one.piece.measures is not None else next(again)
        one.piece.measures = None
        dated = {place: created[member] for place, member in enumerate(one.piece.members) if member in created}
        decide = parameters.decide, parameters.decide_direction
        edges = directed_edges(
            measures, one.piece.found, one.directed, one.rooted, [tuple(group) for group in one.absent], *decide, dated
        )
        plant.edges += [edge for edge in edges if edge.child not in known]
        known.update(edge.child for edge in edges)


def _tree(family: FamilyMeasures, plant: _Plant) -> Tree:
    def ids(positions: Iterable[int]) -> tuple[int, ...]:
        return tuple(family.members[position] for position in sorted(positions))

    edges = tuple(sorted(plant.edges, key=lambda edge: (edge.parent, edge.child)))
    absent = tuple(sorted(ids(group) for group in plant.absent))
    return Tree(ids(plant.members), family.members[plant.root], plant.root_confidence, edges, absent)
