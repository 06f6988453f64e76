"""The true trees of a zoo among its measures, as far as weights could show them, and what their edges say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.recovery_zoos import Family
from lineage.cluster import duplicates
from lineage.copies import copies, stand_ins
from lineage.direction import edge_scores
from lineage.family import FamilyMeasures
from lineage.walk import outward

Scores = Mapping[tuple[int, int], Mapping[str, float]]


@dataclass(frozen=True)
class TrueTree:
    """A true tree among a family's measures, or a connected part of it; edges are (parent, child)."""

    measures: FamilyMeasures
    root: int
    evidence: Scores  # of every edge, for its true direction

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Its edges, nearest to the root first."""
        return tuple(outward(self.root, list(self.evidence)))

    @property
    def members(self) -> tuple[int, ...]:
        """Its members, the root first."""
        return (self.root, *(child for _, child in self.edges))


def true_trees(models: Mapping[str, Mapping[str, Any]], families: Sequence[Family]) -> list[TrueTree]:
    """The trees of a zoo, as far as their models were measured, without merges, duplicates and recognised copies."""
    trees = []
    for measures, names in families:
        place = {name: index for index, name in enumerate(names)}
        edges = [
            (place[parent], place[name])
            for name in names
            if models[name]["relation"] not in ("duplicate", "merge")
            for parent in models[name]["parents"]
            if parent in place and models[parent]["relation"] != "merge"
        ]
        roots = sorted({parent for parent, _ in edges} - {child for _, child in edges})
        trees += [_contracted(measures, root, outward(root, edges)) for root in roots]
    return [tree for tree in trees if tree.evidence]


def _contracted(measures: FamilyMeasures, root: int, edges: Sequence[tuple[int, int]]) -> TrueTree:
    """The tree with every copy in its source's node, as skeletons have it, and what its edges say."""
    again = {one for group in duplicates(measures) for one in group[1:]}
    members = [one for one in (root, *(child for _, child in edges)) if one not in again]
    found = copies(measures, members)
    node = {one: found.source.get(one, one) for one in (root, *(child for _, child in edges))}
    joined = list(dict.fromkeys((node[a], node[b]) for a, b in edges if node[a] != node[b]))
    inside = outward(node[root], joined)
    sources = [node[root], *(child for _, child in inside)]
    speaks = stand_ins(measures, sources, found).who if found.source else None
    known = {}
    if speaks is not None:
        at = {member: index for index, member in enumerate(sources)}
        for a, b in [pair for edge in inside for pair in (edge, edge[::-1])]:
            if speaks[at[a], at[b]] != b:
                known[a, b] = int(speaks[at[a], at[b]])
    return TrueTree(measures, node[root], edge_scores(measures, sources, inside, known))
