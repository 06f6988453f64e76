"""The minimum directed spanning tree, and what each root would cost.

Tarjan's dense O(n²) form of Chu-Liu and Edmonds' algorithm (R. E. Tarjan, "Finding optimum branchings", Networks 7,
1977; the growing path is Gabow, Galil, Spencer and Tarjan's, 1986). A path is grown backwards along cheapest entering
edges; where it bites its own tail the cycle is contracted into one component, whose entering edges are made cheaper
by what each of its parts has paid (its dual). No virtual root and no big constant is needed: contraction does not
depend on the root.

By linear programming duality the best arborescence rooted at r costs the sum of all duals less those of the
components that hold r, so one pass prices every root.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_TIE = 1e-12  # prices that differ by less than this share of the sum of absolute duals are equal but for rounding


class NoArborescence(ValueError):  # noqa: N818  # a property of the graph; whoever asked may well go on
    """No directed spanning tree exists: the allowed edges reach all nodes from no (or not from this) root."""


@dataclass(frozen=True)
class Arborescence:
    """A minimum directed spanning tree of n nodes."""

    root: int
    parent: NDArray[np.intp]  # (n,) the parent of each node, -1 at the root
    cost: float  # sum of the costs of the n - 1 edges
    prices: NDArray[np.float64]  # (n,) cost of the best arborescence rooted at each node; inf where there is none
    cheapest: tuple[int, ...]  # the roots of least price, equal but for rounding; ascending

    @property
    def gap(self) -> float:
        """What the best other root costs more: inf if there is none, negative if a dearer root was asked for."""
        others = np.delete(self.prices, self.root)
        return float(others.min() - self.prices[self.root]) if len(others) else math.inf

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """The n - 1 (parent, child) pairs, by child."""
        return tuple((int(u), v) for v, u in enumerate(self.parent) if u >= 0)


def minimum_arborescence(cost: NDArray[np.float64], root: int | None = None) -> Arborescence:
    """Return the directed spanning tree of least total cost, rooted at `root` or at the cheapest root.

    `cost` is (n, n) with cost[u, v] that of the edge from parent u to child v, in any unit and of any sign; inf says
    that there is no such edge. The diagonal is not read. Equal choices go to the lowest index, so the same matrix
    always gives the same tree. Time O(n²), memory one more n x n matrix.

    Raises NoArborescence if there is no such tree, and ValueError if the matrix is empty, not square, holds NaN or
    minus infinity, or if `root` is no node.
    """
    costs = np.asarray(cost, dtype=np.float64)
    if costs.ndim != 2 or costs.shape[0] != costs.shape[1] or not len(costs):
        raise ValueError(f"costs must be a square matrix of one node or more, not of shape {costs.shape}")
    if root is not None and not 0 <= root < len(costs):
        raise ValueError(f"root {root} is none of the {len(costs)} nodes")
    contraction = _Contraction(costs)
    prices, rounding = contraction.prices()
    cheapest = tuple(int(node) for node in np.flatnonzero(prices <= prices.min() + rounding))
    chosen = cheapest[0] if root is None else root
    if not np.isfinite(prices[chosen]):
        raise NoArborescence(f"no directed spanning tree is rooted at node {chosen}")
    parent = contraction.expand(chosen)
    children = np.flatnonzero(parent >= 0)
    return Arborescence(chosen, parent, math.fsum(costs[parent[children], children]), prices, cheapest)


class _Contraction:
    """Components: 0 .. n-1 are the nodes, those after them contracted cycles of earlier ones."""

    def __init__(self, cost: NDArray[np.float64]) -> None:
        nodes = len(cost)
        self.cost = cost
        self.rows = cost.T.copy()  # [row[c], u]: reduced cost of the cheapest edge from node u into component c
        np.fill_diagonal(self.rows, np.inf)
        if np.isnan(self.rows).any() or np.isneginf(self.rows).any():
            raise ValueError("costs must not be NaN or minus infinity")
        self.component = np.arange(nodes)  # the outermost component of each node
        self.reduction = np.zeros(nodes)  # the duals that have been taken off the edges into each node
        self.source = -1  # the one component that no edge enters: any node in it may be the root
        # By component:
        self.row = list(range(nodes))
        self.members = [np.array([v]) for v in range(nodes)]
        self.parts: list[list[int]] = [[] for _ in range(nodes)]  # what it was contracted from
        self.outer = [-1] * nodes  # what it was contracted into
        self.dual = [0.0] * nodes  # reduced cost of the cheapest edge that enters it
        self.entry = [(-1, -1)] * nodes  # that edge between nodes
        self.finished = [False] * nodes
        for start in range(nodes):
            self._grow(int(self.component[start]))

    def _grow(self, current: int) -> None:
        """Grow a path backwards from a component until it meets what is finished or what no edge enters."""
        path: list[int] = []
        place: dict[int, int] = {}
        while current >= 0 and not self.finished[current]:
            if current in place:
                cycle = path[place[current] :]
                del path[place[current] :]
                for part in cycle:
                    del place[part]
                current = self._contract(cycle)
            place[current] = len(path)
            path.append(current)
            current = self._enter(current)
        for component in path:
            self.finished[component] = True

    def _enter(self, component: int) -> int:
        """Choose the cheapest edge into a component; return the component it comes from, or -1 if there is none."""
        entering = self.rows[self.row[component]]
        u = int(entering.argmin())
        if entering[u] == np.inf:
            if self.source >= 0:
                raise NoArborescence("two parts of the graph are entered by no edge")
            self.source = component
            return -1
        inside = self.members[component]
        self.dual[component] = float(entering[u])
        self.entry[component] = u, int(inside[(self.cost[u, inside] - self.reduction[inside]).argmin()])
        return int(self.component[u])

    def _contract(self, cycle: list[int]) -> int:
        """Make one component of a cycle and return its number."""
        number = len(self.row)
        duals = np.array([self.dual[part] for part in cycle])
        inside = np.concatenate([self.members[part] for part in cycle])
        merged = (self.rows[[self.row[part] for part in cycle]] - duals[:, None]).min(axis=0)
        merged[inside] = np.inf
        self.rows[self.row[cycle[0]]] = merged
        self.component[inside] = number
        for part in cycle:
            self.reduction[self.members[part]] += self.dual[part]
            self.outer[part] = number
        self.row.append(self.row[cycle[0]])
        self.members.append(inside)
        self.parts.append(cycle)
        self.outer.append(-1)
        self.dual.append(0.0)
        self.entry.append((-1, -1))
        self.finished.append(False)
        return number

    def prices(self) -> tuple[NDArray[np.float64], float]:
        """The (n,) costs by root, and by how much rounding may have moved them."""
        total = math.fsum(self.dual)
        paid = self.dual.copy()  # by a component and all that hold it
        for number in reversed(range(len(paid))):  # what holds a component has a higher number
            if self.outer[number] >= 0:
                paid[number] += paid[self.outer[number]]
        outermost = self.component.tolist()
        prices = [total - paid[v] if top == self.source else math.inf for v, top in enumerate(outermost)]
        return np.array(prices), _TIE * math.fsum(map(abs, self.dual))

    def expand(self, root: int) -> NDArray[np.intp]:
        """The (n,) parents in the best arborescence from `root`, a node of the source component.

        A component that is entered at node v keeps the cycle edges of all its parts but the one that holds v, and so
        on inwards.
        """
        parent = np.full(len(self.cost), -1, dtype=np.intp)
        pending = [number for number, outer in enumerate(self.outer) if outer < 0 and number != self.source]
        pending.extend(self._beside(root, self.source))
        while pending:
            component = pending.pop()
            u, v = self.entry[component]
            parent[v] = u
            pending.extend(self._beside(v, component))
        return parent

    def _beside(self, node: int, component: int) -> Iterator[int]:
        """All parts within `component` that do not hold `node` themselves, but lie in one that does."""
        inner = node
        while inner != component:
            outer = self.outer[inner]
            yield from (part for part in self.parts[outer] if part != inner)
            inner = outer
