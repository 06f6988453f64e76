"""Merges: models that are weighted means of others, or put together from their layers.

The null hypothesis is a tree. Where squared distances add up along a tree, the neighbours of a model c are orthogonal
as seen from it, all others lie behind them, and no weighted mean of others comes nearer to c than
1 / sum_i (1 / d_i), d_i the squared distances of those that take part (`lineage.affine.between`). So

    ratio = (squared distance of c from the mean) / between(d of the parents)

is 1 for every node of a tree whatever its number of neighbours, which makes it a penalty for the number of parents at
the same time, and 0 for a merge. It needs no scale, no rank and no root: a base between its fine-tunes has ratio 1.
`lineage/merge_search.py` says which means are sought.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from lineage.cluster import THRESHOLD, duplicates
from lineage.family import FamilyMeasures
from lineage.merge_layers import block_weights
from lineage.merge_search import ORTHOGONAL, PARENTS, RATIO, Found, Search, cosines
from lineage.merge_seen import Seen, see
from lineage.span import dense_tree

Floats = NDArray[np.float64]
_NEARER = 1.5
_ROUNDED = 4.0


@dataclass(frozen=True)
class Merge:
    """One model as a mean of k others; all are positions in the family."""

    child: int
    parents: tuple[int, ...]  # k, by descending weight
    weights: tuple[float, ...]  # k of sum 1; negative only for the base of a task arithmetic
    layers: tuple[int, ...]  # the n trunk layers that were compared
    layer_weights: Floats  # (n, k) of sum 1 in each layer; NaN where the parents are equal
    scale: float  # the sum of the weights before they were brought to 1: SLERP gives more than 1
    residual: float  # squared distance of the child from the mean, over that from its nearest parent
    ratio: float  # 1 in a tree, 0 for a merge
    exact: bool  # nothing is left but rounding
    kind: str  # "linear", "slerp", "task arithmetic" or "layers"


@dataclass(frozen=True)
class Merges:
    """The merges of a family, and who was trained on from one of them."""

    found: tuple[Merge, ...]  # by child
    clades: Mapping[int, tuple[int, ...]]  # per merge: itself and the descendants that no other merge is nearer to


def find(
    measures: FamilyMeasures,
    members: Sequence[int] | None = None,
    *,
    ratio: float = RATIO,
    largest: int = PARENTS,
    rounding: Floats | None = None,
) -> Merges:
    """Return the merges among `members` (positions; default: all, but one of each group of duplicates).

    A merge has two to `largest` parents and a ratio below `ratio`. Members that lack much of the trunk take no part.
    `rounding` (N,) is the relative rounding error of each member's number format, root mean square; float32 if None.
    """
    if members is None:
        copies = {copy for group in duplicates(measures) for copy in group[1:]}
        members = [position for position in range(len(measures.members)) if position not in copies]
    seen = see(measures, members, rounding)
    if seen is None:
        return Merges((), {})
    search = Search(seen, ratio, largest)
    chosen = _settled(search)
    clades = _clades(seen, chosen)
    place = seen.members
    names = [measures.layers[layer].name for layer in seen.layers]
    return Merges(
        tuple(_named(seen, names, chosen[child]) for child in sorted(chosen)),
        {place[child]: tuple(sorted(place[one] for one in clade)) for child, clade in sorted(clades.items())},
    )


def relative_rounding(form: NDArray[np.integer]) -> Floats:
    """(N,) relative rounding errors, root mean square, of members whose tensors' narrowest formats are `form` (L, N).

    By `lineage.digest.FORMS`: BF16 twice (once with F16), F16, F32 and F64. A member has the format that most of its
    layers fit into.
    """
    bits = np.array([8, 8, 11, 24, 53])
    usual = np.median(np.where((form < 0) | (form > 4), 3, form), axis=0).astype(np.intp)  # none: as F32
    # A step of 2^(1 - bits) to twice that, relative to the value, and an error spread evenly over one step.
    errors: Floats = 2.0 ** (0.5 - bits[usual]) / 12**0.5
    return errors


def _named(seen: Seen, names: Sequence[str], found: Found) -> Merge:
    weights = found.weights
    if found.kind == "layers":  # who puts a model together from layers counts blocks, whatever is outside of them
        blocks = list(block_weights(names, found.layer_weights, seen.sizes).values())
        weights = tuple(np.mean(blocks, axis=0).tolist()) if blocks else weights
    order = np.argsort([-weight for weight in weights], kind="stable")
    return Merge(
        child=seen.members[found.child],
        parents=tuple(seen.members[found.parents[index]] for index in order),
        weights=tuple(float(weights[index]) for index in order),
        layers=seen.layers,
        layer_weights=found.layer_weights[:, order],
        scale=found.scale,
        residual=found.residual / float(seen.total[found.child, list(found.parents)].min()),
        ratio=found.ratio,
        exact=found.exact,
        kind=found.kind,
    )


def _settled(search: Search) -> dict[int, Found]:
    """One explanation per merge, and one merge per affinely dependent set."""
    everyone = range(len(search.seen.members))
    first = {child: found for child in everyone if (found := search.explain(child))}
    merged = frozenset(first)
    chosen = {}
    for child in everyone:
        plain = search.explain(child, without=merged) if merged & ({child} | search.near(child)) else None
        found = first.get(child)
        if found is None:
            # Nearest to a merge, and yet a merge of its own only if nothing is left: else it was trained from it.
            if plain is not None and plain.exact and not _rounded(search.seen, child, merged - {child}):
                chosen[child] = plain
        elif plain is None or not _simpler(search.seen, found, plain, first):
            chosen[child] = found
        else:
            chosen[child] = plain
    chosen = _acyclic(search.seen, _without_children(search.seen, chosen))
    return chosen | _based(search, chosen)


def _based(search: Search, chosen: Mapping[int, Found]) -> dict[int, Found]:
    """Task arithmetic with a base of negative weight, the best base first: what rests on a merge is none.

    It is sought of those, too, that are no more than near to a mean, and counts there if it leaves nothing.
    """
    kept: dict[int, Found] = {}
    merged = frozenset(chosen)
    open_to = [one for one in range(len(search.seen.members)) if one not in chosen or not chosen[one].exact]
    while open_to:
        claims = []
        for child in open_to:
            claim = search.based(child, without=merged | frozenset(kept))
            if claim is not None and (claim[1].exact or child not in chosen):
                skew, found = claim
                claims.append(((not found.exact, round(skew / ORTHOGONAL), -_grown(search.seen, found), child), found))
        before, open_to = len(kept), []
        for _, found in sorted(claims, key=lambda claim: claim[0]):
            if set(found.parents) & set(kept):
                open_to.append(found.child)  # once more, without that parent
            else:
                kept[found.child] = found
        if len(kept) == before:
            break
    return kept


def _acyclic(seen: Seen, chosen: dict[int, Found]) -> dict[int, Found]:
    """Of merges that are one another's parents, keep that which is farthest from its nearest parent.

    The other may well have been trained from its own.
    """
    kept = dict(chosen)

    def apart(child: int) -> float:
        return float(seen.total[child, list(chosen[child].parents)].min())

    for child in sorted(chosen, key=apart):
        if any(parent in kept and child in kept[parent].parents for parent in chosen[child].parents):
            del kept[child]
    return kept


def _grown(seen: Seen, found: Found) -> float:
    """How far direction speaks for base -> parents -> child: by slopes, and by norms where none is known.

    The corners of a rectangle are alike otherwise.
    """
    base = found.parents[int(np.argmin(found.weights))]
    others = [one for one in found.parents if one != base]
    slopes = seen.slope[base, others].sum() + seen.slope[others, found.child].sum()
    norms = seen.norms.sum(axis=0)
    return float(slopes) or float(norms[found.child] - norms[base])


def _simpler(seen: Seen, found: Found, plain: Found, merged: Mapping[int, Found]) -> bool:
    """Whether an explanation without other merges is to be preferred to one with some.

    It is if it has no more parents; or if the other takes a merge and that merge's own base, which nobody would mix.
    """
    if found.exact and not plain.exact:
        return False
    if len(plain.parents) <= len(found.parents):
        return True
    for mixed in set(found.parents) & set(merged):
        others = [one for one in found.parents if one != mixed]
        if all(base_like(seen, one, merged[mixed].parents) for one in others):
            return True
    return False


def base_like(seen: Seen, member: int, parents: Sequence[int]) -> bool:
    """Whether the parents of a merge look orthogonal from a member: from their base they do."""
    if member in parents:
        return False
    apart = cosines(seen.total, member, parents)
    return all(abs(apart[a, b]) < ORTHOGONAL for a, b in combinations(range(len(parents)), 2))


def _rounded(seen: Seen, child: int, merged: frozenset[int]) -> bool:
    """Whether a model is nothing but another merge in a coarser format."""
    return any(seen.total[child, one] <= _ROUNDED * seen.rounding[child] for one in merged)


def _without_children(seen: Seen, chosen: dict[int, Found]) -> dict[int, Found]:
    """Leave out what is nearer to a better merge than to its mean: it was trained, or rounded, from that."""
    kept: dict[int, Found] = {}
    for found in sorted(chosen.values(), key=lambda one: (one.residual, one.child)):
        near = _NEARER * found.residual
        if found.exact and not _rounded(seen, found.child, frozenset(kept)):
            near = -1.0
        if not any(seen.total[found.child, other] <= near for other in kept if other not in found.parents):
            kept[found.child] = found
    return kept


def _clades(seen: Seen, chosen: Mapping[int, Found]) -> dict[int, list[int]]:
    """Every merge with those that hang on it in the minimum spanning tree and are nearer to it than to its parents.

    The base of the parents may hang there as well. Slopes tell it, and where none is known, its other children: it sees
    the parents as orthogonal.
    """
    if not chosen:
        return {}
    neighbours: dict[int, list[int]] = {}
    for a, b in dense_tree(seen.total).tolist():
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    hung = {}
    for child, found in chosen.items():
        clade = [child]
        for member in clade:
            clade += [
                one
                for one in neighbours[member]
                if one not in clade and one not in chosen and _hangs(seen, one, child, found, len(neighbours[one]))
            ]
        hung[child] = clade
    return hung


def _hangs(seen: Seen, member: int, child: int, found: Found, degree: int) -> bool:
    norms = seen.norms.sum(axis=0)
    if member in found.parents or seen.total[member, child] >= THRESHOLD**2 * (norms[member] + norms[child]):
        return False
    if seen.total[member, child] > seen.total[member, list(found.parents)].min():
        return False
    if degree == 1:  # a base has its other children
        return True
    slope = float(seen.slope[member, child])
    return slope < 0 if slope else not base_like(seen, member, _pair(found))


def _pair(found: Found) -> tuple[int, ...]:
    """The parents that were trained from a base: all, but for one of negative weight, which is the base."""
    return tuple(one for one, weight in zip(found.parents, found.weights, strict=True) if weight > 0)
