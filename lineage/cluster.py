"""Which members of a family belong together: model trees as clusters, and exact copies.

Clusters are tuples of positions 0 .. N-1 of members, not of their ids; each is ascending and they are ordered by
their first member.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform

from lineage.family import FamilyMeasures, LayerKind
from lineage.pruned import bare, forgiven_mass

Clusters = tuple[tuple[int, ...], ...]

THRESHOLD = 0.7  # unrelated real networks were at 0.94 and above, fine-tunes at 0.27 and below
SHARED_SHARE = 0.5


@dataclass(frozen=True)
class TrunkSums:
    """Sums over the trunk layers that are compared, for each pair of n members; all (n, n) and symmetric."""

    squared_distance: NDArray[np.float64]  # inf where a pair has no layer in common or was not measured
    squared_norms: NDArray[np.float64]  # ||u||² + ||v||²
    elements: NDArray[np.int64]  # parameters compared


def trunk_layers(measures: FamilyMeasures, members: Sequence[int]) -> NDArray[np.bool_]:
    """Return the (L, n) table of which of these members have which trunk layer; False for layers of other kinds."""
    trunk = np.array([layer.kind is LayerKind.TRUNK for layer in measures.layers], dtype=bool)
    return trunk[:, None] & (measures.count[:, list(members)] > 0)


def trunk_sums(
    measures: FamilyMeasures,
    members: Sequence[int] | None = None,
    *,
    shared_share: float = SHARED_SHARE,
    related: float | None = None,
    kindred_share: float = 0.5,
) -> TrunkSums:
    """Return the sums over trunk layers for all pairs of `members` (default: all of the family).

    The layers are those of `compared_layers`. Where each pair is summed over the layers that both have, the sums of two
    pairs are comparable only after division by `elements` or `squared_norms`.

    With `related`, what was pruned from the sparser of two counts neither for their distance nor for their norms, and
    who has next to nothing left is compared with nobody who has more.
    """
    chosen = list(range(len(measures.members)) if members is None else members)
    has = compared_layers(measures, chosen, shared_share=shared_share, related=related, kindred_share=kindred_share)
    sizes = np.array([layer.size for layer in measures.layers], dtype=np.int64)
    used = np.flatnonzero(has.any(axis=1))
    present = has[used].astype(np.int64)
    norms = np.where(has[used], measures.squared_norm[used][:, chosen], 0.0)
    squared = np.zeros((len(chosen), len(chosen)))
    half: NDArray[np.float64] = norms.T @ present.astype(np.float64)
    both_norms = half + half.T
    for layer, here in zip(used, has[used], strict=True):  # one layer at a time: the whole may be large
        both = here[:, None] & here
        distance = measures.squared_distance[layer][np.ix_(chosen, chosen)]
        forgiven = None if related is None else forgiven_mass(measures, int(layer), chosen)
        if forgiven is not None:
            distance = np.maximum(distance - forgiven, 0.0)
            both_norms -= np.where(both, forgiven, 0.0)
        squared += np.where(both, distance, 0.0)
    elements = (present * sizes[used, None]).T @ present
    squared[np.isnan(squared) | (elements == 0)] = np.inf
    if related is not None:
        nothing = bare(measures, chosen)
        squared[nothing[:, None] != nothing] = np.inf
    np.fill_diagonal(squared, 0.0)
    return TrunkSums(squared, both_norms, elements)


def compared_layers(
    measures: FamilyMeasures,
    members: Sequence[int],
    *,
    shared_share: float = SHARED_SHARE,
    related: float | None = None,
    kindred_share: float = 0.5,
) -> NDArray[np.bool_]:
    """Return the (L, n) table of the trunk layers in which each of `members` is compared.

    If the trunk layers that all these members have hold at least `shared_share` of the parameters of those that any
    has, only they are taken, so that all pairs are measured on the same coordinates. Else (one odd member would leave
    too little to compare) each pair is compared in the layers that both have.

    With `related`, layers in which less than `kindred_share` of the pairs (and not one of them) are nearer than that
    relative distance are left out, unless too little would remain: a head under a name that does not tell, drawn anew
    for each task, would drown the rest.
    """
    chosen = list(members)
    has = trunk_layers(measures, chosen)
    sizes = np.array([layer.size for layer in measures.layers], dtype=np.int64)
    everywhere = np.asarray(has.all(axis=1))
    anywhere = np.asarray(has.any(axis=1))
    if everywhere.any() and sizes[everywhere].sum() >= shared_share * sizes[anywhere].sum():
        has &= everywhere[:, None]
    if related is not None:
        kindred = _kindred_layers(measures, chosen, has, related, kindred_share)
        if sizes[kindred].sum() >= shared_share * sizes[has.any(axis=1)].sum():
            has &= kindred[:, None]
    return has


def _kindred_layers(
    measures: FamilyMeasures, chosen: list[int], has: NDArray[np.bool_], related: float, share: float
) -> NDArray[np.bool_]:
    """(L,) the layers in which at least this share of the pairs, and one of them, are nearer than `related`."""
    kindred = np.zeros(len(has), dtype=bool)
    pairs = np.triu_indices(len(chosen), 1)
    nothing = bare(measures, chosen)
    told = ~(nothing[pairs[0]] | nothing[pairs[1]])
    for layer in np.flatnonzero(has.any(axis=1)):
        norms = measures.squared_norm[layer, chosen]
        squared = measures.squared_distance[layer][np.ix_(chosen, chosen)][pairs]
        both_norms = norms[pairs[0]] + norms[pairs[1]]
        forgiven = forgiven_mass(measures, int(layer), chosen)
        if forgiven is not None:
            squared, both_norms = squared - forgiven[pairs], both_norms - forgiven[pairs]
        near = squared < related**2 * both_norms
        near |= squared == 0
        both = told & has[layer][pairs[0]] & has[layer][pairs[1]] & ~np.isnan(squared)  # of those that were measured
        kindred[layer] = near[both].sum() >= max(1, share * both.sum())
    return kindred


def relative_distance(sums: TrunkSums) -> NDArray[np.float64]:
    """Return ||u - v|| / sqrt(||u||² + ||v||²) as (n, n): 0 for equal, about 1 for unrelated; inf if incomparable."""
    positive = sums.squared_norms > 0
    apart = np.where(sums.squared_distance > 0, np.inf, 0.0)  # where both are all zeros, they are equal
    return np.sqrt(np.divide(sums.squared_distance, sums.squared_norms, out=apart, where=positive))


def clusters(
    measures: FamilyMeasures, threshold: float = THRESHOLD, *, members: Sequence[int] | None = None
) -> Clusters:
    """Return the model trees of a family: single linkage of relative trunk distances below `threshold`.

    Their number need not be known. A member without any relative is a cluster of one. `members` (ascending positions)
    are those that are clustered; default: all.
    """
    chosen = list(range(len(measures.members)) if members is None else members)
    # A layer in which nobody is near anybody says nothing of who is a relative.
    sums = trunk_sums(measures, chosen, related=threshold, kindred_share=0.0)
    found = linked_below(relative_distance(sums), threshold)
    return tuple(tuple(chosen[index] for index in cluster) for cluster in found)


def linked_below(distance: NDArray[np.float64], threshold: float) -> Clusters:
    """Single linkage cut at `threshold`: the connected components of the pairs strictly below it.

    `distance` is (n, n) and symmetric; inf is allowed.
    """
    return _grouped(connected_components(distance < threshold, directed=False)[1])


def linked_into(distance: NDArray[np.float64], number: int) -> Clusters:
    """Cluster into a given number, as the paper does: scipy's hierarchical clustering with its defaults.

    That is single linkage and the criterion "maxclust": where merges tie, there can be fewer than `number`. Infinite
    distances join last. Raises ValueError unless 1 <= number <= n.
    """
    members = len(distance)
    if not 1 <= number <= members:
        raise ValueError(f"{members} members cannot form {number} clusters")
    if members == 1:
        return ((0,),)
    finite = np.isfinite(distance)
    farthest = 2 * distance[finite].max() + 1  # linkage refuses infinity
    condensed = squareform(np.where(finite, distance, farthest), checks=False)
    return _grouped(fcluster(linkage(condensed), number, criterion="maxclust"))


def duplicates(measures: FamilyMeasures) -> Clusters:
    """Return the groups of two or more members that have the same layers with equal values, whatever their kind.

    Values are compared by digest, which does not tell dtypes apart: a cast is a duplicate only if it lost nothing. What
    the same weights are saved with or without may be missing in some: constant tables (causal masks, position ids), and
    a head that is tied to the embeddings, which some programs write once and some twice.
    """
    trained = [at for at, layer in enumerate(measures.layers) if layer.kind is not LayerKind.BUFFER]
    tables = [at for at, layer in enumerate(measures.layers) if layer.kind is LayerKind.BUFFER]
    ties = _ties(measures)
    groups: defaultdict[tuple[bytes, ...], list[tuple[dict[int, bytes], list[int]]]] = defaultdict(list)
    for position, digests in enumerate(zip(*measures.digest, strict=True)):
        tied = {at for at, twins in ties.items() if any(digests[at] == digests[one] for one in twins)}
        written = tuple(b"" if at in tied else digests[at] for at in trained)
        known = {at: digests[at] for at in tables if digests[at]}
        for told, group in groups[written]:
            if all(told.get(at, value) == value for at, value in known.items()):
                told.update(known)
                group.append(position)
                break
        else:
            groups[written].append((known, [position]))
    found = (tuple(group) for key, alike in groups.items() if any(key) for _, group in alike)
    return tuple(sorted(group for group in found if len(group) > 1))


def _ties(measures: FamilyMeasures) -> dict[int, list[int]]:
    """Of every head the matrices of the trunk that may be the same one, written twice."""
    by_shape: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for at, layer in enumerate(measures.layers):
        if layer.kind is LayerKind.TRUNK:
            by_shape[layer.shape].append(at)
    return {at: by_shape[one.shape] for at, one in enumerate(measures.layers) if one.kind is LayerKind.HEAD}


def _grouped(labels: NDArray[np.int32]) -> Clusters:
    groups: defaultdict[int, list[int]] = defaultdict(list)
    for position, label in enumerate(labels):
        groups[int(label)].append(position)
    return tuple(sorted(map(tuple, groups.values())))
