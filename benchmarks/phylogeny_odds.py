"""Learns how likely what each learning-free detector gives is true, from zoos of known lineage.

    python -m benchmarks.phylogeny_odds ZOO ... [--keep DIR] [--write]

For every clustering, with initialisations that are drawn (as the architecture begins, and Xavier's) and with the
centroid: the log-odds of an edge's direction by how steadily layers say that the child is farther from initialisation,
a logistic regression without an offset on the pairs that are adjacent; and of adjacency, the share of pairs that are.
Every zoo counts alike. Each is said with its calibration, every zoo judged by what the others taught. --write stores
them, with their provenance, in lineage/phylogeny_odds.json. Zoos that are reported on must not be among them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from benchmarks.phylogeny import Sketched, sketched
from benchmarks.recovery import commit
from benchmarks.recovery_zoos import TUNED_SEED, Zoo, open_zoo, truth_of
from lineage.calibration import calibration
from lineage.initialisation import Scheme
from lineage.parameters import Parameters
from lineage.partition import Clustering
from lineage.phylogeny_odds import CENTROID, DRAWN, FILE, Odds
from lineage.recover import heritage

KINDS = {DRAWN: (Scheme.ARCHITECTURE, Scheme.XAVIER), CENTROID: (Scheme.CENTROID,)}
PENALTY = 1e-3  # on the squared weight: steadiness ends at 4
LARGEST = 5.0


@dataclass(frozen=True)
class Given:
    """An edge that was given: how steadily layers speak for its direction, and what is true of it."""

    steady: float
    adjacent: bool
    right: bool


def given(zoo: Zoo, families: Sequence[Sketched], clustering: Clustering, scheme: Scheme) -> list[Given]:
    """The edges that a detector gives on a zoo, but for exact copies."""
    parents = truth_of(zoo).parents
    asked = Parameters(method="phylogeny", clustering=clustering.value, initialisation=scheme.value)
    found = []
    for measures, names, sketches in families:
        name = dict(zip(measures.members, names, strict=True))
        edges = [edge for tree in heritage(measures, asked, None, sketches).trees for edge in tree.edges]
        for edge in edges:
            if edge.relation != "duplicate":
                above, below = name[edge.parent], name[edge.child]
                right = above in parents[below]
                found.append(Given(edge.evidence["farther"], right or below in parents[above], right))
    return found


def learnt(zoos: Sequence[Sequence[Given]]) -> Odds:
    """Odds from the edges of several zoos, each counting alike; of adjacency by Laplace's rule in each."""
    told = [[one for one in zoo if one.adjacent] for zoo in zoos]
    told = [zoo for zoo in told if zoo]

    def loss(weight: float) -> float:
        of_zoos = [
            np.mean([np.logaddexp(0, -weight * (one.steady if one.right else -one.steady)) for one in zoo])
            for zoo in told
        ]
        return float(np.mean(of_zoos)) + PENALTY * weight**2

    weight = float(minimize_scalar(loss, bounds=(0.0, LARGEST), method="bounded").x) if told else 0.0
    share = np.mean([(sum(one.adjacent for one in zoo) + 1) / (len(zoo) + 2) for zoo in zoos])
    return Odds(round(weight, 3), round(float(logit(share)), 3))


def left_out(zoos: Mapping[str, Sequence[Given]]) -> float:
    """The calibration error of stated confidences, each zoo judged by what was learnt from all others."""
    stated, true = [], []
    for name, edges in zoos.items():
        others = learnt([other for key, other in zoos.items() if key != name])
        stated += [float(expit(others.direction * one.steady) * expit(others.adjacency)) for one in edges]
        true += [one.right for one in edges]
    return calibration(stated, true).error


def main(arguments: list[str] | None = None) -> int:
    """Learn, print, and write where asked; the exit code is 2 where the zoos are none to learn from."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.phylogeny_odds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("folders", type=Path, nargs="+", metavar="ZOO", help=f"zoos of seed {TUNED_SEED}")
    top.add_argument("--keep", type=Path, help="keep measures in this folder (default: they are made anew)")
    top.add_argument("--write", action="store_true", help=f"store the odds in lineage/{FILE.name}")
    asked = top.parse_args(arguments)
    try:
        zoos = [open_zoo(folder) for folder in asked.folders]
    except (ValueError, OSError) as error:
        print(f"phylogeny_odds: {error}", file=sys.stderr)
        return 2
    if foreign := [zoo.name for zoo in zoos if not zoo.tuned_on]:
        print(f"phylogeny_odds: {', '.join(foreign)} may be reported on: learn from zoos of seed 1", file=sys.stderr)
        return 2
    if len(zoos) < 2:
        print("phylogeny_odds: at least two zoos, so that each can be judged by the other", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        measured = {zoo.name: (zoo, sketched(zoo, asked.keep or Path(scratch))) for zoo in zoos}
    found: dict[str, dict[str, dict[str, float]]] = {}
    for clustering in Clustering:
        for kind, schemes in KINDS.items():
            edges = {
                name: [one for scheme in schemes for one in given(zoo, families, clustering, scheme)]
                for name, (zoo, families) in measured.items()
            }
            edges = {name: some for name, some in edges.items() if some}
            odds = learnt(list(edges.values()))
            found.setdefault(clustering.value, {})[kind] = asdict(odds)
            number = sum(map(len, edges.values()))
            print(
                f"{clustering.value}, {kind}: {odds}, {number} edges, left out: error {left_out(edges):.3f}", flush=True
            )
    if asked.write:
        told = {"command": "python -m benchmarks.phylogeny_odds ZOO ... --write", "commit": commit()}
        content = {"odds": found, "provenance": {**told, "zoos": sorted(measured), "penalty": PENALTY}}
        FILE.write_text(json.dumps(content, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
