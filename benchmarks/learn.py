"""Learns how to weigh the evidence of edges and of their direction, and says how well that works elsewhere.

    python -m benchmarks.learn --learn DIR ... --edges DIR ... --absent DIR ... --stage DIR ... --report DIR ...
                               [--measures DIR] [--write]

Each DIR is a zoo (`python -m benchmarks.zoo split ...`) with its truth.json. The weights maximise the likelihood of the
true roots of the learning zoos' trees and of random connected parts of them, down to single edges, so that neither the
shape of whole trees nor their number of children is learnt by heart; each zoo counts alike, however large. Skeletons
are the true ones, casts and pruned copies in their sources' nodes: only direction is asked. How likely an edge of an
inferred skeleton is true is learnt from the zoos of --edges as they are, those that lack a root among them
(benchmarks/learn_adjacency.py); its calibration is said with each zoo and each architecture left out. So is, of their
inferred trees, how much less is known of a root where steps are uneven (benchmarks/learn_uneven.py). When the parent
of a group of models is absent is learnt from the zoos of --absent (benchmarks/learn_absent.py), the stage of training
from those of --stage (benchmarks/learn_stage.py). What is not asked for stays as it is. What is reported on must not be
learnt from; the same folder in both is refused. --write stores the weights, with their provenance, in
lineage/learnt.json; --measures keeps measures for the next time.
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

from benchmarks.learn_absent import Seen, absent_left_out, learn_absent, learn_rarity
from benchmarks.learn_adjacency import learn_adjacency, left_out
from benchmarks.learn_stage import learn_stage, stages_left_out, stages_right
from benchmarks.learn_uneven import Inferred, directions_left_out, inferred, learn_uneven
from benchmarks.learning_zoos import LearningZoo
from benchmarks.recovery_zoos import open_zoo
from benchmarks.true_trees import TrueTree
from lineage.adjacency import Signs
from lineage.calibration import calibration
from lineage.direction import SCORES
from lineage.learnt import FILE, Learnt, learnt, shipped
from lineage.walk import outward, sides

PARTS = 40  # random connected parts of each tree
SMALL = 3  # edges, at most, of half of the parts
PENALTY = 0.02  # on the squared weights
LEARNING = {
    "learn": "zoos",
    "edges": "edge_zoos",
    "absent": "absent_zoos",
    "stage": "stage_zoos",
}  # option: recorded as


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


def learnt_from(asked: Mapping[str, Sequence[LearningZoo]], before: Learnt) -> Learnt:
    """The weights that the zoos of each option give (see `LEARNING`); those of `before` where an option has none.

    Raises ValueError where zoos have nothing to learn from.
    """
    of = {option: asked.get(option, ()) for option in LEARNING}
    direction = learn([zoo.trees for zoo in of["learn"]]) if of["learn"] else before.direction
    absent = learn_absent(list(_with_groups(of["absent"]).values())) if of["absent"] else before.absent
    adjacency, uneven = before.adjacency, before.uneven
    if of["edges"]:
        right, copied = (sum(numbers) for numbers in zip(*(zoo.copies for zoo in of["edges"]), strict=True))
        rarity = learn_rarity([zoo.groups_as_they_are for zoo in of["edges"]], absent)
        adjacency = learn_adjacency([zoo.edges for zoo in of["edges"]], right, copied, rarity)
        uneven = learn_uneven(list(_inferred(of["edges"], direction).values()))
    stage = learn_stage([zoo.staged for zoo in of["stage"]]) if of["stage"] else before.stage
    zoos = dict.fromkeys(zoo.name for some in of.values() for zoo in some)
    return Learnt(direction, adjacency, absent, stage, uneven, tuple(zoos))


def _with_groups(zoos: Sequence[LearningZoo]) -> dict[str, Seen]:
    found = {zoo.name: zoo.groups for zoo in zoos if zoo.groups.groups or zoo.groups.clear}
    if not any(one.plain for seen in found.values() for one in seen.groups):
        raise ValueError("the zoos of --absent have no group of siblings to learn from")
    return found


def _inferred(zoos: Sequence[LearningZoo], weights: Mapping[str, float]) -> dict[str, list[Inferred]]:
    return {
        zoo.name: [inferred(*pair, scores, weights) for pair, scores in zip(zoo.skeletons, zoo.scores, strict=True)]
        for zoo in zoos
        if zoo.edges
    }


def main() -> int:
    """Learn, write where asked, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    learning_options(parser)
    parser.add_argument("--report", type=Path, nargs="*", default=[], help="zoos to report on")
    parser.add_argument("--write", action="store_true", help="store the weights in lineage/learnt.json")
    arguments = parser.parse_args()
    refuse_both(parser, arguments)
    with tempfile.TemporaryDirectory() as scratch:
        cache = arguments.measures or Path(scratch)
        try:
            asked = learning_zoos(arguments, cache)
            found = learnt_from(asked, learnt())
        except ValueError as error:
            parser.error(str(error))
        _say(asked, found)
        if arguments.write:
            _write(found, {LEARNING[name]: [zoo.name for zoo in zoos] for name, zoos in asked.items() if zoos})
        _report([LearningZoo(open_zoo(folder), cache) for folder in arguments.report], found)
    return 0


def learning_options(parser: argparse.ArgumentParser) -> None:
    """The options that say what is learnt from."""
    parser.add_argument("--learn", type=Path, nargs="*", default=[], help="zoos to learn from")
    parser.add_argument("--edges", type=Path, nargs="*", default=[], help="zoos to learn from how likely an edge is")
    parser.add_argument("--absent", type=Path, nargs="*", default=[], help="zoos to learn from when a parent is absent")
    parser.add_argument("--stage", type=Path, nargs="*", default=[], help="zoos to learn the stage of training from")
    parser.add_argument("--measures", type=Path, help="keep the measures here; a scratch folder by default")


def refuse_both(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """End the command where a zoo is learnt from and reported on."""
    learning = {path.resolve() for name in LEARNING for path in getattr(arguments, name)}
    if both := learning & {path.resolve() for path in arguments.report}:
        parser.error(f"learnt from and reported on: {', '.join(map(str, sorted(both)))}")


def learning_zoos(arguments: argparse.Namespace, cache: Path) -> dict[str, list[LearningZoo]]:
    """The zoos of each option, one that several name opened once."""
    folders = {name: [folder.resolve() for folder in getattr(arguments, name)] for name in LEARNING}
    opened = {
        folder: LearningZoo(open_zoo(folder), cache)
        for folder in dict.fromkeys(folder for some in folders.values() for folder in some)
    }
    return {name: [opened[folder] for folder in some] for name, some in folders.items()}


def _say(asked: Mapping[str, Sequence[LearningZoo]], found: Learnt) -> None:
    """Print the weights that were learnt, and how well those of other zoos and architectures do."""
    kinds = {zoo.name: zoo.zoo.architecture for some in asked.values() for zoo in some}
    if asked["learn"]:
        print(json.dumps({"direction": found.direction}), flush=True)
    if some := asked["absent"]:
        print(json.dumps({"absent": asdict(found.absent)}), flush=True)
        print(f"absent parents, each zoo left out: {absent_left_out(_with_groups(some))}", flush=True)
    if some := asked["edges"]:
        print(json.dumps({"adjacency": asdict(found.adjacency)}), flush=True)
        edges = {zoo.name: zoo.edges for zoo in some if zoo.edges}
        print(f"adjacency, stated and true: {left_out(edges, kinds)}", flush=True)
        print(json.dumps({"uneven": found.uneven}), flush=True)
        left = directions_left_out(_inferred(some, found.direction))
        print(f"directions of inferred trees, stated and true: {left}", flush=True)
    if some := asked["stage"]:
        by_stage = {zoo.name: zoo.staged for zoo in some}
        print(json.dumps({"stage": asdict(found.stage)}), flush=True)
        print(f"stages, of the same edges: {stages_right(by_stage, found.stage)}", flush=True)
        print(f"stages, each zoo and its architecture left out: {stages_left_out(by_stage, kinds)}", flush=True)


def _report(zoos: Sequence[LearningZoo], found: Learnt) -> None:
    every: list[TrueTree] = []
    edges: list[tuple[Signs, bool]] = []
    for zoo in zoos:
        every += zoo.trees
        edges += zoo.edges
        print(f"{zoo.name}: {report(zoo.trees, found.direction)}", flush=True)
    if every:
        stated = [one.probability(found.adjacency) for one, _ in edges]
        error = calibration(stated, [true for _, true in edges]).error
        print(f"all: {report(every, found.direction)}; adjacency: calibration {error:.3f}")


def _write(found: Learnt, provenance: Mapping[str, list[str]]) -> None:
    known = json.loads(FILE.read_text())["provenance"] | provenance
    asked = [f"--{option} {' '.join(known[name])}" for option, name in LEARNING.items() if name in known]
    command = {"command": " ".join(["python -m benchmarks.learn", *asked, "--write"])}
    content: dict[str, Any] = {
        "direction": found.direction,
        "adjacency": asdict(found.adjacency),
        "absent": asdict(found.absent),
        "stage": asdict(found.stage),
        "uneven": found.uneven,
        "provenance": known | command | {"parts": PARTS, "penalty": PENALTY},
    }
    FILE.write_text(json.dumps(content, indent=2) + "\n")
    shipped.cache_clear()


if __name__ == "__main__":
    sys.exit(main())
