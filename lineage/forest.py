"""Clusters and spanning forests of families whose pairs are passed block by block.

What joins two members is one number, a sum over layers, so that nothing of single layers is kept. A block's pairs are
summed and then reduced to a minimum spanning forest of their own: an edge that a part of the pairs can do without the
whole can do without too, so the forest of all blocks' forests is the forest of all pairs.

The number is the cost of a step (lineage/step.py) with fewer scruples: of pruned members the mass that the other has
lost is taken off, from distances and from norms, but common elements are not counted. These forests say only where a
family may be cut; trees are made of the pieces (lineage/skeleton.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lineage.chord import norm_ratios, usual_norms
from lineage.cluster import SHARED_SHARE, THRESHOLD, compared_layers
from lineage.family import FamilyMeasures
from lineage.pair_store import Block, LayerPairs, PairStore, Strip
from lineage.pruned import SPARSE, bare
from lineage.span import Bools, Edges, Singles, rectangle_tree, sparse_tree
from lineage.step import FLOOR

_SAMPLE = 1 << 16
_TOGETHER = 4  # strips that are reduced as one


@dataclass(frozen=True)
class Forest:
    """A spanning forest of a family: a tree for every cluster."""

    edges: Edges  # (e, 2) positions
    relative: NDArray[np.float64]  # (e,) squared relative distance: ||u - v||² / (||u||² + ||v||²), of what is compared
    unlike: tuple[int, ...]  # layers in which nobody is near anybody, which were left out


def forest(store: PairStore, members: Sequence[int], threshold: float = THRESHOLD) -> Forest:
    """The spanning forest of `members` (positions) over pairs that are nearer than a relative distance.

    Its parts are the clusters that `lineage.cluster.clusters` gives. Pairs are passed once, and once more where a layer
    turns out to say nothing of who is a relative.
    """
    family = store.family
    has = compared_layers(family, members)
    sizes = np.array([layer.size for layer in family.layers], dtype=np.int64)
    used = [int(one) for one in np.flatnonzero(has.any(axis=1))]
    found, near = _passed(store, members, has, used, threshold)
    unlike = [layer for layer in used if layer not in near]
    if unlike and sizes[sorted(near)].sum() >= SHARED_SHARE * sizes[used].sum():
        used = sorted(near)
        has[unlike] = False
        found, near = _passed(store, members, has, used, threshold)
        return Forest(found.edges, found.relative, tuple(unlike))
    return found


def _passed(
    store: PairStore, members: Sequence[int], has: Bools, used: list[int], threshold: float
) -> tuple[Forest, set[int]]:
    """The forest by these layers, and those of them in which any two members are near."""
    sums = _Sums(store.family, list(members), has, used, threshold)
    edges, costs, relatives = [np.empty((0, 2), dtype=np.intp)], [np.empty(0)], [np.empty(0)]
    for block in store.blocks(used):
        for pairs, cost, relative in sums.forests(block):
            edges.append(pairs)
            costs.append(cost)
            relatives.append(relative)
    pairs, cost, relative = np.concatenate(edges), np.concatenate(costs), np.concatenate(relatives)
    chosen = sparse_tree(len(store.family.members), pairs, cost)
    return Forest(pairs[chosen], relative[chosen], ()), sums.near


class _Sums:
    """Sums pairs over layers, block by block."""

    def __init__(
        self, family: FamilyMeasures, members: list[int], has: Bools, used: list[int], threshold: float
    ) -> None:
        everyone = len(family.members)
        self._family, self._threshold = family, threshold
        self._wanted = np.zeros(everyone, dtype=bool)
        self._wanted[[one for one, nothing in zip(members, bare(family, members), strict=True) if not nothing]] = True
        self._has = np.zeros((len(family.layers), everyone), dtype=bool)
        self._has[:, members] = has
        self._uniform = bool(has[used].all())
        norms = np.where(self._has, family.squared_norm, 0.0)
        self._scale = 1 / max(
            float(norms[used].sum(axis=0).max(initial=0.0)), 1e-300
        )  # single precision is enough then
        self._norms = (norms * self._scale).astype(np.float32)
        self._roots = np.sqrt(norms * self._scale)  # double precision: near members' are nearly the same
        ratios = norm_ratios(family, range(everyone), usual_norms(family, range(everyone), self._has))
        self._level = np.where(self._has, 1 / ratios, 0.0).astype(np.float32)
        self._share = np.array([layer.size for layer in family.layers], dtype=np.float64)
        self._share /= max(self._share[used].sum(), 1.0)
        zeros = family.zeros / np.maximum(family.count, 1)
        self._sparse: Bools = np.asarray((np.where(self._has, zeros, 0.0) > SPARSE).any(axis=1))
        self._zeros = family.zeros
        self._half = self._norms[used].sum(axis=0, dtype=np.float32)  # of ||u||² + ||v||², where all have all layers
        self._typical: dict[int, float] = {}
        self.near: set[int] = set()

    def forests(self, block: Block) -> Iterator[tuple[Edges, NDArray[np.float64], NDArray[np.float64]]]:
        """The edges of forests of the block's strips, with their costs and their squared relative distances."""
        totals = [_Total.of(strip, self._uniform) for strip in block.strips]
        for layer, strips in block.layers:
            for total, strip, pairs in zip(totals, block.strips, strips, strict=True):
                self._add(total, strip, layer, pairs)
        for first in range(0, len(totals), _TOGETHER):
            some = slice(first, first + _TOGETHER)
            yield self._reduced(block.strips[some], totals[some])
            totals[some] = [None] * len(totals[some])  # type: ignore[list-item]  # gone as soon as it was used

    def _add(self, total: _Total, strip: Strip, layer: int, pairs: LayerPairs) -> None:
        i, j = strip.first, strip.second
        squared = np.empty(strip.shape, dtype=np.float32)
        np.multiply(pairs.squared_distance, self._scale, out=squared, casting="same_kind")
        norms = self._norms[layer]
        both_norms = norms[i] + norms[j]
        if pairs.lost is None or pairs.lost_of is None or not self._sparse[layer]:
            kept = self._chords(layer, i, j, squared, self._roots[layer][i], self._roots[layer][j])
        else:
            scale, more = np.float32(self._scale), self._zeros[layer][i] - self._zeros[layer][j]
            lost, lost_of = pairs.lost * scale, pairs.lost_of * scale
            one_way = np.where(more > 0, lost_of, np.where(more < 0, lost, np.maximum(lost, lost_of)))
            roots = self._roots[layer]
            own, other = (np.sqrt(np.maximum(roots[one] ** 2 - gone, 0)) for one, gone in ((i, lost), (j, lost_of)))
            kept = self._chords(layer, i, j, np.maximum(squared - lost - lost_of, 0.0), own, other)
            squared, both_norms = np.maximum(squared - one_way, 0.0), both_norms - one_way
            total.forgiven = one_way if total.forgiven is None else total.forgiven + one_way
        typical = self._typical.get(layer) or self._look(layer, squared, both_norms, kept, self._pairs(i, j))
        share = np.float32(self._share[layer])
        cost = kept
        cost *= np.float32(1 / typical)
        cost += np.float32(FLOOR)
        np.log(cost, out=cost)
        cost *= share
        if self._uniform:
            total.squared += squared
            total.cost += cost
            return
        assert total.norms is not None  # noqa: S101  # as `_Total.of` has it
        assert total.weight is not None  # noqa: S101
        both = self._has[layer][i] & self._has[layer][j]
        total.squared += np.where(both, squared, 0)
        total.cost += np.where(both, cost, 0)
        total.norms += np.where(both, both_norms, 0)
        total.weight += np.where(both, share, 0)

    def _chords(
        self,
        layer: int,
        i: NDArray[np.intp],
        j: NDArray[np.intp],
        squared: Singles,
        own: NDArray[np.float64],
        other: NDArray[np.float64],
    ) -> Singles:
        """A strip's squared distances as `lineage.chord.squared_chords` has them, by the norms of both; a new array."""
        found: Singles = np.empty_like(squared)
        np.subtract(own, other, out=found, casting="same_kind")
        np.square(found, out=found)
        np.subtract(squared, found, out=found)
        np.maximum(found, 0.0, out=found)
        if not (own.all() and other.all()):
            found = np.where((own > 0) & (other > 0), found, squared)
        found *= self._level[layer][i]
        found *= self._level[layer][j]
        return found

    def _pairs(self, i: NDArray[np.intp], j: NDArray[np.intp]) -> Bools:
        """Which pairs are of two members that are asked about."""
        found: Bools = self._wanted[i] & self._wanted[j] & (i != j)
        return found

    def _look(self, layer: int, squared: Singles, both_norms: Singles, kept: Singles, others: Bools) -> float:
        """The median step of near relatives in a layer, from the first strip that has any; 1 as long as none has."""
        near = ((squared < self._threshold**2 * both_norms) | (squared == 0)) & others
        if near.any():
            self.near.add(layer)
        values = kept[near & (kept > 0)]
        if len(values):
            self._typical[layer] = float(np.median(values[:: 1 + len(values) // _SAMPLE]))
        return self._typical.get(layer, 1.0)

    def _reduced(
        self, strips: Sequence[Strip], totals: Sequence[_Total]
    ) -> tuple[Edges, NDArray[np.float64], NDArray[np.float64]]:
        relatives, costs = [], []
        for strip, total in zip(strips, totals, strict=True):
            relative, cost = self._related(strip, total)
            relatives.append(relative)
            costs.append(cost)
        if strips[0].first.ndim == 1:
            (strip,), (relative,), (cost,) = strips, relatives, costs
            near = np.flatnonzero(np.isfinite(cost))
            pairs = np.column_stack([strip.first[near], strip.second[near]])
            chosen = sparse_tree(len(self._wanted), pairs, cost[near])
            return pairs[chosen], cost[near][chosen].astype(np.float64), relative[near][chosen].astype(np.float64)
        return _spanned(strips, costs, relatives)

    def _related(self, strip: Strip, total: _Total) -> tuple[Singles, Singles]:
        """Squared relative distances of a strip, and costs, inf where the two are no near relatives."""
        i, j = strip.first, strip.second
        norms = (self._half[i] + self._half[j]).astype(np.float32) if total.norms is None else total.norms
        if total.norms is None and total.forgiven is not None:
            norms = norms - total.forgiven
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = total.squared / norms
            cost = total.cost if total.weight is None else total.cost / total.weight
        relative[total.squared == 0] = 0.0
        related = (relative < self._threshold**2) & np.isfinite(cost)
        related &= self._pairs(i, j)
        if total.weight is not None:
            related &= total.weight > 0
        return relative, np.where(related, cost, np.float32(np.inf))


@dataclass
class _Total:
    """Sums of a strip in its shape."""

    squared: Singles
    cost: Singles
    norms: Singles | None  # None: those of single members are enough, as all have all layers
    weight: Singles | None
    forgiven: Singles | None = field(default=None)

    @staticmethod
    def of(strip: Strip, uniform: bool) -> _Total:
        def empty() -> Singles:
            return np.zeros(strip.shape, dtype=np.float32)

        return _Total(empty(), empty(), None if uniform else empty(), None if uniform else empty())


def _spanned(
    strips: Sequence[Strip], costs: Sequence[Singles], relatives: Sequence[Singles]
) -> tuple[Edges, NDArray[np.float64], NDArray[np.float64]]:
    """The forest of strips of rows by columns."""
    rows = np.concatenate([strip.first[:, 0] for strip in strips])
    columns = np.unique(np.concatenate([strip.second[0] for strip in strips]))
    cost = np.full((len(rows), len(columns)), np.inf, dtype=np.float32)
    start, starts, places = 0, [], []
    for strip, values in zip(strips, costs, strict=True):
        place = np.searchsorted(columns, strip.second[0])
        if len(place) == len(columns):
            cost[start : start + len(values)] = values
        else:
            cost[start : start + len(values), place] = values
        starts.append(start)
        places.append({int(column): index for index, column in enumerate(place.tolist())})
        start += len(values)
    nodes = np.unique(np.concatenate([rows, columns]))
    row, column = rectangle_tree(cost, np.searchsorted(nodes, rows), np.searchsorted(nodes, columns), len(nodes))
    strip_of = np.searchsorted(starts, row, side="right") - 1
    relative = [
        relatives[s][r - starts[s], places[s][c]]
        for s, r, c in zip(strip_of.tolist(), row.tolist(), column.tolist(), strict=True)
    ]
    pairs = np.column_stack([rows[row], columns[column]])
    return pairs, cost[row, column].astype(np.float64), np.array(relative, dtype=np.float64)
