"""How much of what the detector says of an edge's direction `recover` should take over, from zoos of known lineage.

    python -m benchmarks.detector_weight --learn ZOO ... [--measures DIR]

Fits the weight of the detector's log-odds beside the other scores (lineage/direction.py, ASKED), whose own weights stay
as lineage/learnt.json has them, for several limits of the log-odds (lineage/detector_direction.py, MOST). As in
benchmarks.learn: the likelihood of the true roots of the zoos' trees and of random connected parts of them, every zoo
counting alike. The zoos must be those that the detector was trained on: each tree is judged by the one of its runs
whose test part holds the tree's root, so that no network is asked about roots that it has seen. Nothing is written.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from benchmarks.learn import gains, parts
from benchmarks.recovery_zoos import Zoo, measured, open_zoo, truth_of
from benchmarks.train_detector import folds, gathered
from benchmarks.train_detector_data import relations, root_name
from benchmarks.true_trees import TrueTree, true_trees
from lineage.detector_direction import detector_odds
from lineage.detector_network import Network, network
from lineage.direction import SCORES
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
        fold = folds(gathered(asked.learn, [cache]))
        rng = np.random.default_rng(0)
        zoos = {}
        for zoo in opened:
            if found := told_of_zoo(zoo, cache, fold, rng):
                zoos[zoo.name] = found
            print(f"[{len(zoos)}/{len(opened)}] {zoo.name}", file=sys.stderr, flush=True)
    for limit in LIMITS:
        weight, loss = fitted(list(zoos.values()), limit)
        before = np.mean([np.mean([one.loss(0, limit) for one in zoo]) for zoo in zoos.values()])
        turned = {
            name: f"{sum(one.right(weight, limit) for one in zoo) - sum(one.right(0, limit) for one in zoo):+d}"
            for name, zoo in zoos.items()
            if [one.right(weight, limit) for one in zoo] != [one.right(0, limit) for one in zoo]
        }
        said = ", ".join(f"{name} {change}" for name, change in turned.items())
        print(f"limit {limit}: weight {weight:.2f}, loss {before:.4f} -> {loss:.4f}; true roots of parts: {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
