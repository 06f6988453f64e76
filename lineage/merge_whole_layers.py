"""Merges that take every layer whole from one of their parents, told from fine-tunes whose layers were frozen."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from lineage.cluster import THRESHOLD
from lineage.merge_seen import Seen

Floats = NDArray[np.float64]

_SPREAD = 0.5  # a cosine of less: two members lie on different sides of a third
_SHARE = 0.05  # of a distance: less of it is none


def whole_layers(
    seen: Seen, child: int, allowed: Sequence[int], largest: int, least: float
) -> tuple[tuple[int, ...], Floats] | None:
    """The parents that a child has every layer of, but for rounding, and their (l, k) weights; None: it is no merge.

    There are at most `largest`, and each is the only one to have a share of at least `least` of the elements.
    """
    share = seen.norms[:, child] / max(float(seen.norms[:, child].sum()), 1e-300)
    equal = seen.by_layer[:, child, :][:, list(allowed)] <= (seen.rounding[child] * share)[:, None]
    if not equal.any(axis=1).all():
        return None
    support, open_layers = [], np.ones(len(seen.sizes), dtype=bool)
    while open_layers.any():
        gain = seen.sizes @ (equal & open_layers[:, None])
        best = int(gain.argmax())
        support.append(best)
        open_layers &= ~equal[:, best]
    parents = tuple(allowed[index] for index in support)
    if not 2 <= len(parents) <= largest:
        return None
    shares = equal[:, support]
    only = [shares[:, one] & ~np.delete(shares, one, axis=1).any(axis=1) for one in range(len(parents))]
    if any(seen.sizes[mine].sum() < least * seen.sizes.sum() for mine in only):
        return None
    apart = all(
        _moved_apart(seen, child, parents[a], only[b], only[a])
        and _moved_apart(seen, child, parents[b], only[a], only[b])
        for a, b in combinations(range(len(parents)), 2)
    )
    if not apart:
        return None
    weights = np.where(shares, 1.0, 0.0) / shares.sum(axis=1, keepdims=True)
    weights[shares.all(axis=1)] = np.nan
    return parents, weights


def _moved_apart(seen: Seen, child: int, parent: int, others: NDArray[np.bool_], own: NDArray[np.bool_]) -> bool:
    """Whether in the layers `others`, which the child does not have from `parent`, the two moved apart.

    They did if they are unrelated there. Else some third member has to lie between the two there, who differs from the
    child in the layers `own` as well, which the child does have from that parent: a base. Without one the child may be
    a neighbour of the parent, which trained those layers and froze the rest.
    """
    there, here = seen.by_layer[others].sum(axis=0), seen.by_layer[own].sum(axis=0)
    distance = float(there[parent, child])
    norms = float(seen.norms[others][:, [parent, child]].sum())
    if distance >= THRESHOLD**2 * norms:
        return True
    to_parent, to_child = there[parent], there[child]
    lengths = np.sqrt(to_parent * to_child)
    cosine = np.divide((to_parent + to_child - distance) / 2, lengths, out=np.ones_like(lengths), where=lengths > 0)
    least = np.minimum(to_parent, to_child) > _SHARE * distance
    return bool(
        (
            least
            & (np.abs(cosine) < _SPREAD)
            & (here[child] > _SHARE * distance * here.max() / max(there.max(), 1e-300))
        ).any()
    )
