"""How much of what the detector says of an edge's direction `recover` should take over, from zoos of known lineage.

    python -m benchmarks.detector_weight --learn ZOO ... [--measures DIR]

Fits the weight of the detector's log-odds beside the other scores (lineage/direction.py, ASKED), whose own weights stay
as lineage/learnt.json has them, for several limits of the log-odds (lineage/detector_direction.py, MOST). As in
benchmarks.learn: the likelihood of the true roots of the zoos' trees and of random connected parts of them, every zoo
counting alike. The zoos must be those that the detector was trained on: each tree is judged by the one of its runs
whose test part holds the tree's root, so that no network is asked about roots that it has seen. At last comes what the
weight and the limit in force do, zoo by zoo. Nothing is written.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from benchmarks.learn import gains, parts
from benchmarks.recovery_zoos import Zoo, measured, open_zoo, truth_of
from benchmarks.train_detector import folds
from benchmarks.train_detector_data import chosen_pairs, relations, root_name
from benchmarks.true_trees import TrueTree, true_trees
from lineage.detector_direction import MOST, detector_odds
from lineage.detector_network import Network, network
from lineage.direction import ASKED, SCORES
from lineage.learnt import learnt

LIMITS = (2.0, 3.0, 4.0, 6.0, 8.0)  # log-odds
LARGEST = 3.0  # weight


@dataclass(frozen=True)
class Told:
    """A tree or a part of one: (m,) log-odds of each member to be the root, against the true root, which is first."""

    own: NDArray[np.float64]
    edges: NDArray[np.float64]  # (m, e) what each edge's log-odds, of the detector, add to them
    odds: NDArray[np.float64]  # (e,)

    def loss(self, weight: float, limit: float) -> float:
        """Minus the log-likelihood of the true root."""
        return float(logsumexp(self.own + weight * (self.edges @ np.clip(self.odds, -limit, limit))))

    def right(self, weight: float, limit: float) -> bool:
        """Whether the true root is the likeliest."""
        return bool(np.argmax(self.own + weight * (self.edges @ np.clip(self.odds, -limit, limit))) == 0)


def told(tree: TrueTree, odds: dict[tuple[int, int], float]) -> Told:
    """What both say of a tree."""
    weights = np.array([learnt().direction[name] for name in SCORES])
    edges = tree.edges
    above = {tree.root: np.zeros(len(edges))}
    for place, (parent, child) in enumerate(edges):
        above[child] = above[parent].copy()
        above[child][place] -= 1
    return Told(gains(tree) @ weights, np.stack(list(above.values())), np.array([odds[edge] for edge in edges]))


def told_of_zoo(zoo: Zoo, cache: Path, fold: dict[str, int], rng: np.random.Generator) -> list[Told]:
    """Every tree of a zoo with its random parts, judged by the run that has not seen its root."""
    truth = truth_of(zoo)
    above = relations({name: truth.parents.get(name, tuple(one["parents"])) for name, one in zoo.models.items()})
    families = measured(zoo, cache)
    names = {id(measures): names for measures, names in families}
    found = []
    for tree in true_trees(zoo.models, families):
        name = names[id(tree.measures)][tree.root]
        own = fold.get(root_name(above[name], zoo.models[name]["family"]))
        runs = network().runs if own is None else (network().runs[own // 2],)
        odds = detector_odds(tree.measures, tree.edges, Network(runs, {}), most=max(LIMITS))
        found += [told(one, odds) for one in parts(tree, rng)]
    return found


def fitted(zoos: Sequence[Sequence[Told]], limit: float) -> tuple[float, float]:
    """The likeliest weight, and the loss with it."""

    def loss(weight: float) -> float:
        return float(np.mean([np.mean([one.loss(weight, limit) for one in zoo]) for zoo in zoos]))

    found = minimize_scalar(loss, bounds=(0.0, LARGEST), method="bounded", options={"xatol": 1e-3})
    return float(found.x), float(found.fun)


def turned(zoo: Sequence[Told], weight: float, limit: float) -> tuple[int, int]:
    """How many true roots are won and lost with this weight, against none."""
    pairs = [(one.right(0, limit), one.right(weight, limit)) for one in zoo]
    return pairs.count((False, True)), pairs.count((True, False))


def effects(zoos: Mapping[str, Sequence[Told]], weight: float, limit: float) -> list[str]:
    """A line for all zoos and one for each: the mean loss without and with the detector, roots won and lost."""

    def losses(zoo: Sequence[Told]) -> tuple[float, float]:
        return float(np.mean([one.loss(0, limit) for one in zoo])), float(
            np.mean([one.loss(weight, limit) for one in zoo])
        )

    each = {name: losses(zoo) for name, zoo in zoos.items()}
    before, after = np.mean(list(each.values()), axis=0).tolist()
    lines = [f"in force, limit {limit}, weight {weight}: loss {before:.4f} -> {after:.4f}"]
    for name, zoo in zoos.items():
        won, lost = turned(zoo, weight, limit)
        lines.append(f"  {name}: loss {each[name][0]:.3f} -> {each[name][1]:.3f}, roots +{won} -{lost} of {len(zoo)}")
    return lines


def own_zoos(folders: Sequence[Path]) -> list[Zoo]:
    """The zoos that the detector was trained on. Raises ValueError for others."""
    opened, trained = [open_zoo(folder) for folder in folders], network().provenance["zoos"]
    if sorted(zoo.name for zoo in opened) != trained:
        raise ValueError(f"the detector was trained on other zoos, all of which it takes: {', '.join(trained)}")
    return opened


def main(arguments: list[str] | None = None) -> int:
    """Fit and print; the exit code is 2 where the zoos are not those of the detector."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.detector_weight",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--learn", type=Path, nargs="+", required=True, metavar="ZOO", help="the detector's own zoos")
    top.add_argument("--measures", type=Path, metavar="DIR", help="keep measures there")
    asked = top.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        cache = asked.measures or Path(scratch)
        try:
            opened = own_zoos(asked.learn)
        except (ValueError, OSError) as error:
            print(f"detector_weight: {error}", file=sys.stderr)
            return 2
        fold = folds(one for zoo in opened for one in chosen_pairs(zoo, cache))
        rng = np.random.default_rng(0)
        zoos = {}
        for zoo in opened:
            if found := told_of_zoo(zoo, cache, fold, rng):
                zoos[zoo.name] = found
            print(f"[{len(zoos)}/{len(opened)}] {zoo.name}", file=sys.stderr, flush=True)
    for limit in LIMITS:
        weight, loss = fitted(list(zoos.values()), limit)
        before = np.mean([np.mean([one.loss(0, limit) for one in zoo]) for zoo in zoos.values()])
        changes = {name: turned(zoo, weight, limit) for name, zoo in zoos.items()}
        said = ", ".join(f"{name} {won - lost:+d}" for name, (won, lost) in changes.items() if won or lost)
        print(f"limit {limit}: weight {weight:.2f}, loss {before:.4f} -> {loss:.4f}; true roots of parts: {said}")
    print("\n".join(effects(zoos, ASKED["detector"], MOST)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
