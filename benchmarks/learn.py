"""Learns how to weigh the evidence of edges and of their direction, and says how well that works elsewhere.

    python -m benchmarks.learn --learn DIR ... --absent DIR ... --stage DIR ... --report DIR ...
                               [--measures DIR] [--write]

Each DIR is a zoo (`python -m benchmarks.zoo split ...`) with its truth.json. The weights maximise the likelihood of the
true roots of the learning zoos' trees and of random connected parts of them, down to single edges, so that neither the
shape of whole trees nor their number of children is learnt by heart; each zoo counts alike, however large. Skeletons
are the true ones, casts and pruned copies in their sources' nodes: only direction is asked. How likely an edge of an
inferred skeleton is true, by its margin over the best pair that could replace it and by its angles with the others, is
a logistic regression; its calibration is said with each zoo left out as well. When the parent of a group of models is
absent is learnt from the zoos of --absent (benchmarks/learn_absent.py). What is not asked for stays as it is. What is
reported on must not be learnt from; the same folder in both is refused. --write stores the weights, with their
provenance, in lineage/learnt.json; --measures keeps measures for the next time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from benchmarks.learn_absent import absent_left_out, groups, learn_absent
from benchmarks.learn_stage import learn_stage, staged, stages_right
from benchmarks.recovery_zoos import Family, measured, open_zoo
from lineage.adjacency import ANGLE_FLOOR, MARGIN_FLOOR, Signs, core_signs
from lineage.calibration import calibration
from lineage.cluster import clusters, duplicates
from lineage.copies import copies, stand_ins
from lineage.direction import SCORES, edge_scores
from lineage.family import FamilyMeasures
from lineage.learnt import FILE, AdjacencyWeights, Learnt, learnt
from lineage.skeleton import skeleton
from lineage.walk import outward, sides

PARTS = 40  # random connected parts of each tree
SMALL = 3  # edges, at most, of half of the parts
PENALTY = 0.02  # on the squared weights
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


def part(tree: TrueTree, chosen: Sequence[tuple[int, int]]) -> TrueTree:
    """The part of a tree that some connected edges make; what goes with their place in it is computed anew."""
    children = {child for _, child in chosen}
    root = next(parent for parent, _ in chosen if parent not in children)
    members = (root, *(child for _, child in outward(root, chosen)))
    evidence = {}
    for edge, side in zip(chosen, sides(members, chosen), strict=True):
        share = side.sum() / (len(members) - side.sum())
        evidence[edge] = {**tree.evidence[edge], "side": float(np.log(share))}
    return TrueTree(tree.measures, root, evidence)


def parts(tree: TrueTree, rng: np.random.Generator, number: int = PARTS) -> list[TrueTree]:
    """The tree itself and random connected parts of it, of two members and more."""
    found, edges = [tree], tree.edges
    for index in range(number):
        size = int(rng.integers(1, (min(SMALL, len(edges)) if index % 2 else len(edges)) + 1))
        chosen = [edges[int(rng.integers(len(edges)))]]
        while len(chosen) < size:
            inside = {node for edge in chosen for node in edge}
            near = [edge for edge in edges if edge not in chosen and inside & set(edge)]
            chosen.append(near[int(rng.integers(len(near)))])
        found.append(part(tree, chosen))
    return found


def gains(tree: TrueTree) -> NDArray[np.float64]:
    """(members, scores): what each score adds to a member's being the root, the true root first and zero there."""
    table: dict[int, NDArray[np.float64]] = {tree.root: np.zeros(len(SCORES))}
    for parent, child in tree.edges:
        table[child] = table[parent] - np.array([tree.evidence[parent, child][name] for name in SCORES])
    return np.array(list(table.values()))


def learn(zoos: Sequence[Sequence[TrueTree]], seed: int = 0) -> dict[str, float]:
    """The weights under which the true roots of all parts are likeliest, none of them negative; zoos count alike.

    Stand-ins are rare and sure, so that likelihoods of roots hardly ask for them: they are counted.
    """
    rng = np.random.default_rng(seed)
    tables = [[gains(one) for tree in trees for one in parts(tree, rng)] for trees in zoos]

    def loss(weights: NDArray[np.float64]) -> float:
        # The true root is the first row, with a gain of zero: its log-likelihood is minus the log-sum of all.
        of_zoos = [np.mean([logsumexp(table @ weights) for table in zoo]) for zoo in tables]
        return float(np.mean(of_zoos)) + PENALTY * float(weights @ weights)

    said = [scores["stand_in"] for trees in zoos for tree in trees for scores in tree.evidence.values()]
    counted = float(np.log((sum(one > 0 for one in said) + 1) / (sum(one < 0 for one in said) + 1)))
    bounds = [(counted, counted) if name == "stand_in" else (0.0, None) for name in SCORES]
    found = minimize(loss, np.full(len(SCORES), 0.3), bounds=bounds)
    return {name: round(float(value), 4) for name, value in zip(SCORES, found.x, strict=True)}


Seen = Sequence[tuple[Signs, bool]]  # what is seen of skeletons' edges, and whether they are true


def signs(tree: TrueTree) -> Seen:
    """The signs of every edge of the tree's inferred skeleton, and whether the edge is true."""
    found = skeleton(tree.measures, sorted(tree.members))
    true = {frozenset(edge) for edge in tree.edges}
    both_ways = core_signs(found)
    return [(both_ways[edge], frozenset(edge) in true) for edge in found.core]


def learn_adjacency(zoos: Sequence[Seen], copies_right: int = 0, copies_seen: int = 0) -> AdjacencyWeights:
    """The logistic regression that an edge is true over the logs of its margin and its largest angle.

    Angles speak against an edge, acute ones less, and a margin for it, or they say nothing; every zoo counts alike. Of
    copies their share, by Laplace's rule of succession.
    """
    edges = [one for zoo in zoos for one, _ in zoo]
    true = np.array([one for zoo in zoos for _, one in zoo], dtype=float)
    share = np.array([1 / (len(zoos) * len(zoo)) for zoo in zoos for _ in zoo])
    margin = np.log([one.margin + MARGIN_FLOOR for one in edges])
    angles = np.log([(one.angle + ANGLE_FLOOR, one.acute + ANGLE_FLOOR) for one in edges])
    known = ~np.isnan(angles[:, 0])
    usual = np.average(angles[known], axis=0, weights=share[known]) if known.any() else np.zeros(2)
    seen = np.column_stack([np.ones(len(edges)), margin, np.where(known[:, None], angles, usual)])

    def loss(weights: NDArray[np.float64]) -> float:
        logits = seen @ weights
        return float(share @ (np.logaddexp(0, logits) - true * logits)) + 1e-3 * float(weights @ weights)

    found = minimize(
        loss, np.array([1.0, 1.0, -1.0, 0.0]), bounds=[(None, None), (0.0, None), (None, 0.0), (0.0, None)]
    ).x
    rounded = (round(float(value), 4) for value in (*found, *usual, (copies_right + 1) / (copies_seen + 2)))
    return AdjacencyWeights(*rounded)


def copies_found(models: Mapping[str, Mapping[str, Any]], families: Sequence[Family]) -> tuple[int, int]:
    """How many copies are given to whom they were made from (or to an exact duplicate of it), and how many all are."""
    right = seen = 0
    for measures, names in families:
        groups = duplicates(measures)
        again = {one for group in groups for one in group[1:]}
        alike = {one: group for group in groups for one in group}
        for cluster in clusters(measures, members=[one for one in range(len(names)) if one not in again]):
            for copy, source in copies(measures, cluster).source.items():
                parents = {up for one in alike.get(copy, (copy,)) for up in models[names[one]]["parents"]}
                right += any(names[one] in parents for one in alike.get(source, (source,)))
                seen += 1
    return right, seen


def left_out(zoos: Mapping[str, Seen]) -> str:
    """Calibration of adjacency where each zoo is judged by what was learnt from all others."""
    stated: dict[str, list[float]] = {}
    for name, edges in zoos.items():
        weights = learn_adjacency([other for key, other in zoos.items() if key != name])
        stated[name] = [one.probability(weights) for one, _ in edges]
    true = {name: [one for _, one in edges] for name, edges in zoos.items()}
    by_zoo = {name: calibration(stated[name], true[name]).error for name in zoos}
    every = calibration(
        [one for some in stated.values() for one in some], [one for some in true.values() for one in some]
    )
    lines = [f"{name} {error:.3f}" for name, error in by_zoo.items()]
    return f"{every.error:.3f} of all edges, {np.mean(list(by_zoo.values())):.3f} by zoo: {', '.join(lines)}"


@dataclass(frozen=True)
class Told:
    """What weights make of known trees: of each edge, how likely its more likely direction is, and if that is true."""

    probability: tuple[float, ...]
    right: tuple[bool, ...]
    roots: float  # share of roots found


def told(trees: Sequence[TrueTree], weights: Mapping[str, float]) -> Told:
    """Root and direct trees of known skeletons."""
    probability, right, roots = [], [], []
    vector = np.array([weights[name] for name in SCORES])
    for tree in trees:
        logits = gains(tree) @ vector
        likely = np.exp(logits - logsumexp(logits))
        roots.append(likely.argmax() == 0)
        for side in sides(tree.members, tree.edges):
            above = float(np.clip(likely[side].sum(), 0.0, 1.0))
            probability.append(max(above, 1 - above))
            right.append(above > 0.5)
    return Told(tuple(probability), tuple(right), float(np.mean(roots)))


def report(trees: Sequence[TrueTree], weights: Mapping[str, float], seed: int = 1) -> str:
    """Of whole trees, random parts and single edges: roots found, directions right, their calibration error."""
    rng = np.random.default_rng(seed)
    kinds = {
        "trees": list(trees),
        "parts": [one for tree in trees for one in parts(tree, rng)[1:]],
        "pairs": [part(tree, [edge]) for tree in trees for edge in tree.edges],
    }
    lines = []
    for name, some in kinds.items():
        found = told(some, weights)
        error = calibration(found.probability, found.right).error
        lines.append(f"{name}: roots {found.roots:.3f}, edges {np.mean(found.right):.3f}, calibration {error:.3f}")
    return "; ".join(lines)


def main() -> int:
    """Learn, write where asked, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--learn", type=Path, nargs="*", default=[], help="zoos to learn from")
    parser.add_argument("--absent", type=Path, nargs="*", default=[], help="zoos to learn from when a parent is absent")
    parser.add_argument("--stage", type=Path, nargs="*", default=[], help="zoos to learn the stage of training from")
    parser.add_argument("--report", type=Path, nargs="*", default=[], help="zoos to report on")
    parser.add_argument("--measures", type=Path, help="keep the measures here; a scratch folder by default")
    parser.add_argument("--write", action="store_true", help="store the weights in lineage/learnt.json")
    arguments = parser.parse_args()
    learning = {path.resolve() for path in [*arguments.learn, *arguments.absent, *arguments.stage]}
    if both := learning & {path.resolve() for path in arguments.report}:
        parser.error(f"learnt from and reported on: {', '.join(map(str, both))}")
    with tempfile.TemporaryDirectory() as scratch:
        cache = arguments.measures or Path(scratch)
        weights, adjacency, absent, stage = learnt().direction, learnt().adjacency, learnt().absent, learnt().stage
        provenance: dict[str, list[str]] = {}
        if arguments.learn:
            opened = [open_zoo(folder) for folder in arguments.learn]
            families = [measured(zoo, cache) for zoo in opened]
            zoos = [true_trees(zoo.models, some) for zoo, some in zip(opened, families, strict=True)]
            weights = learn(zoos)
            counts = [copies_found(zoo.models, some) for zoo, some in zip(opened, families, strict=True)]
            seen = [[one for tree in trees for one in signs(tree)] for trees in zoos]
            adjacency = learn_adjacency(seen, sum(right for right, _ in counts), sum(every for _, every in counts))
            print(json.dumps({"direction": weights, "adjacency": asdict(adjacency)}), flush=True)
            names = [str(folder) for folder in arguments.learn]
            print(f"adjacency, each zoo left out: {left_out(dict(zip(names, seen, strict=True)))}", flush=True)
            provenance["zoos"] = [folder.name for folder in arguments.learn]
        if arguments.absent:
            opened = [open_zoo(folder) for folder in arguments.absent]
            some = {zoo.folder.name: groups(zoo.models, measured(zoo, cache)) for zoo in opened}
            told_by = {name: seen for name, seen in some.items() if seen}
            absent = learn_absent(list(told_by.values()))
            print(json.dumps({"absent": asdict(absent)}), flush=True)
            print(f"absent parents, each zoo left out: {absent_left_out(told_by)}", flush=True)
            provenance["absent_zoos"] = [folder.name for folder in arguments.absent]
        if arguments.stage:
            opened = [open_zoo(folder) for folder in arguments.stage]
            by_stage = {zoo.folder.name: staged(zoo.models, measured(zoo, cache)) for zoo in opened}
            stage = learn_stage(list(by_stage.values()))
            print(json.dumps({"stage": asdict(stage)}), flush=True)
            print(f"stages, of the same edges: {stages_right(by_stage, stage)}", flush=True)
            provenance["stage_zoos"] = [folder.name for folder in arguments.stage]
        if arguments.write:
            _write(Learnt(weights, adjacency, absent, stage, ()), provenance)
        _report(arguments.report, cache, weights, adjacency)
    return 0


def _report(folders: Sequence[Path], cache: Path, weights: Mapping[str, float], adjacency: AdjacencyWeights) -> None:
    every: list[TrueTree] = []
    edges: list[tuple[Signs, bool]] = []
    for folder in folders:
        zoo = open_zoo(folder)
        trees = true_trees(zoo.models, measured(zoo, cache))
        every += trees
        edges += [one for tree in trees for one in signs(tree)]
        print(f"{folder.name}: {report(trees, weights)}", flush=True)
    if every:
        error = calibration([one.probability(adjacency) for one, _ in edges], [true for _, true in edges]).error
        print(f"all: {report(every, weights)}; adjacency: calibration {error:.3f}")


def _write(found: Learnt, provenance: Mapping[str, list[str]]) -> None:
    command = {"command": "python -m benchmarks.learn --learn ... --absent ... --write"}
    before = json.loads(FILE.read_text())["provenance"]
    content: dict[str, Any] = {
        "direction": found.direction,
        "adjacency": asdict(found.adjacency),
        "absent": asdict(found.absent),
        "stage": asdict(found.stage),
        "provenance": before | command | provenance | {"parts": PARTS, "penalty": PENALTY},
    }
    FILE.write_text(json.dumps(content, indent=2) + "\n")
    learnt.cache_clear()


if __name__ == "__main__":
    sys.exit(main())
