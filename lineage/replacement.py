"""What every edge of a spanning tree would be replaced by: the cheapest other pair across its cut.

How much dearer that is than the edge is the margin by which the two are neighbours. Looking through all pairs for every
edge takes O(n³); here all edges together take one pass over the pairs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lineage.preorder import Preorder

Floats = NDArray[np.floating[Any]]


def dense_replacements(cost: Floats, tree: Preorder) -> Floats:
    """(n,) by place: the cheapest pair across the cut between a member and its parent, but for the two; inf: none.

    `cost` is (N, N) and symmetric, of the whole family; the diagonal is not read. From the leaves upwards, the row of a
    member becomes the least over all below it, so that time is O(n²) and memory one row per open branch.
    """
    places, size = tree.order, tree.size
    found = np.full(len(places), np.inf, dtype=cost.dtype)
    open_rows: dict[int, Floats] = {}
    whole = len(cost) == len(places) and bool((places == np.arange(len(places))).all())
    for place in range(len(places) - 1, 0, -1):
        row = cost[places[place]].copy() if whole else cost[places[place]][places]
        parent = int(tree.parent[place])
        row[parent] = np.inf
        below = open_rows.pop(place, None)
        if below is not None:
            np.minimum(row, below, out=row)
        beyond = row[place + int(size[place]) :]
        found[place] = min(row[:place].min(), beyond.min() if len(beyond) else np.inf)
        above = open_rows.get(parent)
        if above is None:
            open_rows[parent] = row
        else:
            np.minimum(above, row, out=above)
    return found
