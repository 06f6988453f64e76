"""The undirected tree of a cluster: who was trained from whom, without saying which of the two was the parent.

Fine-tuning deltas are nearly orthogonal in high dimension, so squared distances add up along the tree, and the tree
is the minimum spanning tree of squared distances, between members brought to one norm in every layer, as decay draws
siblings together (chord.py). Where siblings share a drift they do not add up, and for low-rank
(LoRA) children the rank of the difference is the better metric: it adds up exactly, and grows however the deltas
correlate.

So the cost of a pair is (rank, squared distance) in lexicographic order, with a rank that never contradicts the
truth. Between u and v let e be any edge of the true path. Whatever is counted must be monotone: never more for e than
for the pair (u, v). Then every true edge is at most as dear as what it competes with, and the squared distance
decides ties. This holds for what is counted here, and the rules answer these traps:

- Full fine-tunes: measured ranks near the full rank are noise. In a layer the rank counts as it is below `low_rank`
  of the full rank, else as the full rank. A pair whose full layers hold more than `full_share` of the capacity (the
  sum of full ranks) costs the whole capacity, so all pairs that a full fine-tune separates tie and the squared
  distance decides.
- Frozen layers, and siblings of which few layers moved: an equal layer counts 0 and a moved one its rank. Shares of
  the moved layers alone would not be monotone (a child of a sparse mover moves more layers), shares of the capacity
  are.
- Small matrices: rank 1 of 1 x 16 says nothing. There only 0 or the full rank can be counted, and by capacity they
  weigh little.
- Casts: rounding has full rank unless the measured rank has a floor for it, and the floor for a coarse dtype hides
  small singular values, so that a bf16 copy of the parent can seem nearer to a child than the parent. Members at rank
  0 from one another (equal but for rounding) are one group, and all pairs between two groups cost what the cheapest
  of them costs: the squared distance decides which copy it is.
- Few true low ranks among many full ones can be accidents: ranks are used only if at least `touched_share` of the
  members have a partner from which most moved layers have a measured rank above 0 and below `low_rank`.

A pair that was not measured counts full wherever it differs, so ranks help only where the near pairs are measured.
What remains open: a member in a coarse dtype beside a high-rank sibling in a fine one, whose small singular values
its floor hides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.csgraph import minimum_spanning_tree as csgraph_tree

from lineage.between import CLEAR, SPARSE, told_between
from lineage.cluster import THRESHOLD, compared_layers, trunk_layers
from lineage.copies import Copies, Speakers, copies, stand_ins
from lineage.direction import root_tree
from lineage.drift import SiblingOdds, settle
from lineage.family import FamilyMeasures
from lineage.pruned import zero_share
from lineage.siblings import joined_by_roots
from lineage.step import steps
from lineage.walk import outward

LOW_RANK = 0.25
FULL_SHARE = 0.25
TOUCHED_SHARE = 0.2


class Unjoined(ValueError):  # noqa: N818  # a property of the members; whoever asked may well go on
    """Members that share too little to be joined; `parts` are the groups of them that can be, as positions."""

    def __init__(self, parts: tuple[tuple[int, ...], ...]) -> None:
        number = sum(map(len, parts))
        super().__init__(f"no tree joins all of the {number} members, which fall into {len(parts)} groups")
        self.parts = parts


@dataclass(frozen=True)
class Skeleton:
    """The undirected spanning tree of a cluster of n members, all named by their positions in the family."""

    members: tuple[int, ...]  # as they were given
    edges: tuple[
        tuple[int, int], ...
    ]  # n - 1 pairs, each and all of them ascending; copies where `likely_root` has them
    used_ranks: bool
    squared: NDArray[np.float64]  # (n, n) squared distances, over elements that are zero in neither
    core: tuple[tuple[int, int], ...]  # the tree of those that are no copies
    copies: Copies
    stand_in: dict[
        tuple[int, int], int
    ]  # for edges of the core: by (c, x), the copy of x that c would come from, if any
    share: dict[tuple[int, int], float]  # for edges of the core whose x has copies: by (c, x), how sure that choice is
    core_squared: NDArray[np.float64]  # (s, s) squared chords between sources, each by whom of its node is nearest
    norms: NDArray[np.float64]  # (s,) squared norms of sources as these chords have them; NaN of sparse ones
    between: dict[
        tuple[int, int], float
    ]  # for edges of the core, by both orders: what norms say of a parent between, where they do

    @cached_property
    def sources(self) -> tuple[int, ...]:
        """Those that are no casts or pruned copies of others."""
        return tuple(member for member in self.members if member not in self.copies.source)

    @cached_property
    def clear(self) -> frozenset[tuple[int, int]]:
        """The edges of the core that join clear siblings, by both orders."""
        return frozenset(pair for pair, told in self.between.items() if told >= CLEAR)

    def outward(self, root: int) -> list[tuple[int, int]]:
        """(parent, child) of every edge, copies included, seen from a root that is no copy, nearest first.

        Copies are children of their sources; children of a copy are joined to it.
        """
        edges = [(self.stand_in.get((child, parent), parent), child) for parent, child in outward(root, self.core)]
        return outward(root, [*edges, *((source, copy) for copy, source in self.copies.source.items())])


def skeleton(
    measures: FamilyMeasures,
    members: Sequence[int],
    *,
    low_rank: float = LOW_RANK,
    full_share: float = FULL_SHARE,
    touched_share: float = TOUCHED_SHARE,
    asked: SiblingOdds | None = None,
) -> Skeleton:
    """Return the minimum spanning tree of a cluster (positions of members) by rank, where it helps, then distance.

    `asked` is one more witness of who is whose sibling, see `lineage.drift.settle`, where ranks do not help.

    Raises Unjoined if members share no layer, or hardly an element that is zero in neither: what `lineage.cluster`
    joins may, where it was pruned to next to nothing.
    """
    chosen = tuple(members)
    found = copies(measures, chosen)
    compared = compared_layers(measures, chosen, related=THRESHOLD)
    step = steps(measures, chosen, compared)
    ranks = rank_costs(measures, chosen, low_rank=low_rank, full_share=full_share, touched_share=touched_share)
    nodes = _nodes(measures, chosen, found)
    costs = [nodes.between(cost) for cost in (step.cost, ranks) if cost is not None][::-1]
    sources = list(nodes.sources)
    nodes.check(costs)
    tree = [(sources[i], sources[j]) for i, j in spanning_tree(*costs)]
    squared = nodes.between(step.chord)
    first = root_tree(measures, sources, tree).root
    low = None if ranks is None else costs[0] < costs[0].max()  # ranks add up however siblings drift
    witness = asked if ranks is None else None
    core = settle(sources, tree, squared, first, sure=low, zeros=zero_share(measures, sources), asked=witness)
    core = joined_by_roots(measures, sources, core)
    at = {member: place for place, member in enumerate(chosen)}
    result = Skeleton(
        chosen,
        (),
        ranks is not None,
        step.squared,
        core,
        found,
        nodes.stand_in(core),
        nodes.share(core),
        squared,
        np.where(zero_share(measures, sources) > SPARSE, np.nan, step.norms[[at[one] for one in sources]]),
        _between(measures, core),
    )
    root = root_tree(measures, sources, core, stand_in=result.stand_in)
    edges = sorted((min(edge), max(edge)) for edge in result.outward(root.root))
    return replace(result, edges=tuple(edges))


def _between(measures: FamilyMeasures, core: Sequence[tuple[int, int]]) -> dict[tuple[int, int], float]:
    told = told_between(measures, core).tolist()
    known = [(edge, value) for edge, value in zip(core, told, strict=True) if not np.isnan(value)]
    return {pair: value for edge, value in known for pair in (edge, edge[::-1])}


@dataclass(frozen=True)
class _Nodes:
    """Sources, each with its copies as one node of the tree."""

    members: tuple[int, ...]
    sources: tuple[int, ...]
    found: Copies
    speakers: Speakers | None  # None: there are no copies

    def between(self, cost: NDArray[np.float64]) -> NDArray[np.float64]:
        """The costs (n, n) between members as those between nodes: of the members that speak for them."""
        if self.speakers is None:
            return cost
        place = np.zeros(max(self.members) + 1, dtype=np.int64)
        place[list(self.members)] = np.arange(len(self.members))
        own = place[list(self.sources)]
        spoken = cost[own[:, None], place[self.speakers.who]]
        other = self.speakers.who != np.array(self.sources)
        spoken = np.where(other | ~other.T, spoken, spoken.T)
        return np.minimum(spoken, spoken.T)

    def check(self, costs: Sequence[NDArray[np.float64]]) -> None:
        """Raise Unjoined where some nodes are reached from others at no finite cost."""
        number, label = connected_components(np.asarray(np.isfinite(costs).all(axis=0)), directed=False)
        if number > 1:
            of = dict(zip(self.sources, label.tolist(), strict=True))
            home = {one: of[self.found.source.get(one, one)] for one in self.members}
            raise Unjoined(tuple(tuple(one for one in self.members if home[one] == part) for part in range(number)))

    def stand_in(self, core: Sequence[tuple[int, int]]) -> dict[tuple[int, int], int]:
        """For both ends of every edge: the copy of the other end that it is nearer to than to the other end itself."""
        if self.speakers is None:
            return {}
        spoken = {pair: int(self.speakers.who[place]) for pair, place in self._both_ways(core).items()}
        return {pair: copy for pair, copy in spoken.items() if copy != pair[1]}

    def share(self, core: Sequence[tuple[int, int]]) -> dict[tuple[int, int], float]:
        """For both ends of every edge, where the other end has copies: how likely it is the one that it is given."""
        if self.speakers is None:
            return {}
        with_copies = set(self.found.source.values())
        places = self._both_ways(core).items()
        return {pair: float(self.speakers.share[place]) for pair, place in places if pair[1] in with_copies}

    def _both_ways(self, core: Sequence[tuple[int, int]]) -> dict[tuple[int, int], tuple[int, int]]:
        """The edges as (c, x) and as (x, c), with their rows and columns among sources."""
        place = {member: index for index, member in enumerate(self.sources)}
        return {(c, x): (place[c], place[x]) for edge in core for c, x in (edge, edge[::-1])}


def _nodes(measures: FamilyMeasures, chosen: tuple[int, ...], found: Copies) -> _Nodes:
    sources = tuple(member for member in chosen if member not in found.source)
    return _Nodes(chosen, sources, found, stand_ins(measures, sources, found) if found.source else None)


def spanning_tree(*costs: NDArray[np.float64]) -> tuple[tuple[int, int], ...]:
    """Return the minimum spanning tree of (n, n) symmetric costs, compared in the order given, then by index.

    Costs may be zero or negative; inf or NaN in any of them says that there is no such edge. Edges are (i, j) with i
    < j, ascending. The same matrices always give the same tree. Raises ValueError if no tree spans all n nodes.
    """
    nodes = len(costs[0])
    i, j = np.triu_indices(nodes, k=1)
    pairs = [cost[i, j] for cost in costs]
    allowed = np.isfinite(pairs).all(axis=0)
    i, j, pairs = i[allowed], j[allowed], [pair[allowed] for pair in pairs]
    order = np.lexsort(pairs[::-1])  # stable: what ties stays in the order of (i, j)
    place = np.empty(len(order))
    place[order] = np.arange(1, len(order) + 1)  # distinct and above 0, which csgraph would read as no edge
    tree = coo_array(csgraph_tree(coo_array((place, (i, j)), shape=(nodes, nodes)).tocsr()))
    if tree.nnz != nodes - 1:
        raise ValueError(f"no tree joins all of the {nodes} nodes")
    return tuple(sorted((int(a), int(b)) for a, b in zip(tree.row, tree.col, strict=True)))


def rank_costs(
    measures: FamilyMeasures,
    members: Sequence[int],
    *,
    low_rank: float = LOW_RANK,
    full_share: float = FULL_SHARE,
    touched_share: float = TOUCHED_SHARE,
) -> NDArray[np.float64] | None:
    """Return the (n, n) ranks of the members' differences summed over shared trunk layers; None if they tell nothing.

    The rules and their reasons are in the module's description.
    """
    chosen = list(members)
    shared = np.flatnonzero(trunk_layers(measures, chosen).all(axis=1))
    shape = (len(chosen), len(chosen))
    counted, capacity = np.zeros(shape), 0
    full = np.zeros(shape)  # capacity of the layers that count as full
    moved, truly_low = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.int64)
    for layer in shared:
        pairs = np.ix_(chosen, chosen)
        largest = int(measures.full_rank[layer])
        rank = measures.rank[layer][pairs]
        differs = ~_equal(measures, int(layer), chosen)
        low = (rank >= 0) & (rank < low_rank * largest)
        full += np.where(differs & ~low, largest, 0)
        counted += np.where(differs, np.where(low, rank, largest), 0)
        moved += differs
        truly_low += differs & low & (rank > 0)
        capacity += largest
    near = full <= full_share * capacity
    touched = (near & (2 * truly_low > moved)).any(axis=1)
    if not touched.any() or touched.mean() < touched_share:
        return None
    return _level_copies(np.where(near, counted, float(capacity)))


def _equal(measures: FamilyMeasures, layer: int, chosen: list[int]) -> NDArray[np.bool_]:
    """The (n, n) pairs that are equal in a layer: by digest as well, as a distance may carry rounding."""
    codes: dict[bytes, int] = {}
    digests = measures.digest[layer]
    code = np.array([codes.setdefault(digests[member], len(codes)) for member in chosen])
    equal: NDArray[np.bool_] = measures.squared_distance[layer][np.ix_(chosen, chosen)] == 0
    equal |= code[:, None] == code
    return equal


def _level_copies(costs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give all pairs between two groups of members at cost 0 from one another the cost of the cheapest of them."""
    groups, group = connected_components(costs == 0, directed=False)
    cheapest = np.full((groups, groups), np.inf)
    np.minimum.at(cheapest, (group[:, None], group[None, :]), costs)
    level: NDArray[np.float64] = cheapest[np.ix_(group, group)]
    return level
