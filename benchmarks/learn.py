"""Learns how to weigh the evidence of edges and of their direction, and says how well that works elsewhere.

    python -m benchmarks.learn --learn DIR ... --report DIR ... [--write]

Each DIR is a zoo (`python -m benchmarks.zoo split ...`) with its truth.json. The weights maximise the likelihood of the
true roots of the learning zoos' trees and of random connected parts of them, down to single edges, so that neither the
shape of whole trees nor their number of children is learnt by heart. Skeletons are the true ones: only direction is
asked. How likely an edge of an inferred skeleton is true, by its margin over the best pair that could replace it, is a
logistic regression. What is reported on must not be learnt from; the same folder in both is refused. --write stores the
weights, with their provenance, in lineage/learnt.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from benchmarks.measured import measure_folder, read_truth
from lineage.cluster import THRESHOLD, trunk_sums
from lineage.direction import SCORES, edge_scores, root_tree
from lineage.family import FamilyMeasures
from lineage.learnt import FILE, learnt
from lineage.recover import edge_margin
from lineage.skeleton import skeleton
from lineage.walk import outward, sides

PARTS = 60  # random connected parts of each tree
PENALTY = 0.02  # on the squared weights, per tree


@dataclass(frozen=True)
class TrueTree:
    """A true tree among a family's measures; edges are (parent, child)."""

    measures: FamilyMeasures
    members: tuple[int, ...]
    edges: tuple[tuple[int, int], ...]
    root: int


def true_trees(folder: Path, data_dir: Path) -> list[TrueTree]:
    """The trees of a zoo, without duplicates, as far as their models were measured."""
    truth = read_truth(folder)
    trees = []
    for measures, names in measure_folder(folder, data_dir):
        place = {name: index for index, name in enumerate(names)}
        edges = [
            (place[parent], place[name])
            for name in names
            if truth[name]["relation"] != "duplicate"
            for parent in truth[name]["parents"]
            if parent in place
        ]
        children = {child for _, child in edges}
        for root in sorted({parent for parent, _ in edges} - children):
            mine = outward(root, edges)
            members = (root, *(child for _, child in mine))
            trees.append(TrueTree(measures, members, tuple(mine), root))
    return trees


def parts(tree: TrueTree, rng: np.random.Generator) -> list[TrueTree]:
    """The tree itself and random connected parts of it, of two members and more."""
    found = [tree]
    for _ in range(PARTS):
        size = int(rng.integers(1, len(tree.edges) + 1))
        chosen = [tree.edges[int(rng.integers(len(tree.edges)))]]
        while len(chosen) < size:
            inside = {node for edge in chosen for node in edge}
            near = [edge for edge in tree.edges if edge not in chosen and inside & set(edge)]
            chosen.append(near[int(rng.integers(len(near)))])
        children = {child for _, child in chosen}
        root = next(parent for parent, _ in chosen if parent not in children)
        members = tuple(sorted({node for edge in chosen for node in edge}))
        found.append(TrueTree(tree.measures, members, tuple(chosen), root))
    return found


def gains(tree: TrueTree) -> NDArray[np.float64]:
    """(members, scores): what each score adds to a member's being the root, the true root first and zero there."""
    table: dict[int, NDArray[np.float64]] = {tree.root: np.zeros(len(SCORES))}
    by_edge = edge_scores(tree.measures, tree.members, tree.edges)
    for parent, child in outward(tree.root, tree.edges):
        table[child] = table[parent] - np.array([by_edge[parent, child][name] for name in SCORES])
    return np.array([table[tree.root], *(row for member, row in table.items() if member != tree.root)])


def learn(trees: Sequence[TrueTree], seed: int = 0) -> dict[str, float]:
    """The weights under which the true roots of all parts are likeliest, none of them negative."""
    rng = np.random.default_rng(seed)
    tables = [gains(part) for tree in trees for part in parts(tree, rng)]

    def loss(weights: NDArray[np.float64]) -> float:
        # The true root is the first row, with a gain of zero: its log-likelihood is minus the log-sum of all.
        return float(np.mean([logsumexp(table @ weights) for table in tables])) + PENALTY * float(weights @ weights)

    found = minimize(loss, np.full(len(SCORES), 0.3), bounds=[(0.0, None)] * len(SCORES))
    return {name: round(float(value), 4) for name, value in zip(SCORES, found.x, strict=True)}


def margins(tree: TrueTree) -> list[tuple[float, bool]]:
    """The margin of every edge of the tree's inferred skeleton, and whether the edge is true."""
    members = sorted(tree.members)
    edges = skeleton(tree.measures, members).edges
    squared = trunk_sums(tree.measures, members, related=THRESHOLD).squared_distance
    true = {frozenset(edge) for edge in tree.edges}
    return [
        (edge_margin(squared, side, members.index(edge[0]), members.index(edge[1]))[0], frozenset(edge) in true)
        for edge, side in zip(edges, sides(members, edges), strict=True)
    ]


def learn_adjacency(found: Sequence[tuple[float, bool]]) -> dict[str, float]:
    """Offset and slope of the log-odds that an edge is true, over its margin; the slope is not negative."""
    margin = np.array([one for one, _ in found])
    true = np.array([one for _, one in found], dtype=float)

    def loss(weights: NDArray[np.float64]) -> float:
        logits = weights[0] + weights[1] * margin
        return float(np.mean(np.logaddexp(0, logits) - true * logits)) + 1e-3 * float(weights @ weights)

    found_weights = minimize(loss, np.array([1.0, 1.0]), bounds=[(None, None), (0.0, None)]).x
    return {"offset": round(float(found_weights[0]), 4), "slope": round(float(found_weights[1]), 4)}


def root_accuracy(trees: Sequence[TrueTree], seed: int = 1) -> dict[str, float]:
    """Share of roots found: of whole trees, of random parts, and of single edges (a coin gets one half)."""
    rng = np.random.default_rng(seed)
    whole = [_found(tree) for tree in trees]
    some = [_found(part) for tree in trees for part in parts(tree, rng)[1:]]
    pairs = [_found(TrueTree(tree.measures, edge, (edge,), edge[0])) for tree in trees for edge in tree.edges]
    return {"trees": float(np.mean(whole)), "parts": float(np.mean(some)), "single edges": float(np.mean(pairs))}


def _found(tree: TrueTree) -> bool:
    edges = [(min(edge), max(edge)) for edge in tree.edges]
    return root_tree(tree.measures, sorted(tree.members), edges).root == tree.root


def main() -> int:
    """Learn, write where asked, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--learn", type=Path, nargs="*", default=[], help="zoos to learn from")
    parser.add_argument("--report", type=Path, nargs="*", default=[], help="zoos to report on")
    parser.add_argument("--data-dir", type=Path, help="keep the measures here; a scratch folder by default")
    parser.add_argument("--write", action="store_true", help="store the weights in lineage/learnt.json")
    arguments = parser.parse_args()
    if both := {path.resolve() for path in arguments.learn} & {path.resolve() for path in arguments.report}:
        parser.error(f"learnt from and reported on: {', '.join(map(str, both))}")
    with tempfile.TemporaryDirectory() as scratch:
        data_dir = arguments.data_dir or Path(scratch)
        if arguments.learn:
            trees = [tree for folder in arguments.learn for tree in true_trees(folder, data_dir)]
            weights = learn(trees)
            adjacency = learn_adjacency([one for tree in trees for one in margins(tree)])
            print(json.dumps({"direction": weights, "adjacency": adjacency}))
            if arguments.write:
                _write(weights, adjacency, [folder.name for folder in arguments.learn])
        for folder in arguments.report:
            trees = true_trees(folder, data_dir)
            shares = ", ".join(f"{name} {share:.3f}" for name, share in root_accuracy(trees).items())
            print(f"{folder.name}: {len(trees)} trees; roots found: {shares}")
    return 0


def _write(weights: dict[str, float], adjacency: dict[str, float], zoos: Sequence[str]) -> None:
    content: dict[str, Any] = {
        "direction": weights,
        "adjacency": adjacency,
        "provenance": {
            "command": "python -m benchmarks.learn --learn ... --write",
            "zoos": list(zoos),
            "parts": PARTS,
            "penalty": PENALTY,
        },
    }
    FILE.write_text(json.dumps(content, indent=2) + "\n")
    learnt.cache_clear()


if __name__ == "__main__":
    sys.exit(main())
