"""Train the detector of `lineage/detector.py` on zoos of known lineage, and report on others.

    python -m benchmarks.train_detector --learn ZOO ... --report ZOO ... --measures DIR [--write]
    python -m benchmarks.train_detector --learn ZOO ... --report ZOO ... --without llama gpt2
    python -m benchmarks.train_detector --learn ZOO ... --report ZOO ... --without-optimiser sgd

Five runs. In each, trees are split 7:1:2 into training, validation and test by the name of their root, over all zoos
at once: zoos share roots, so that a split by zoo would leak. Temperatures come from the validation part. The shipped
file holds the five networks, whose logits are averaged; what is reported on (--report) none of them has seen.
--without leaves architectures out of the training, so that the report says what holds for unseen ones.
Beside the direction of the averaged networks stand the mean of the runs, each by itself, and their standard deviation.
--without-optimiser leaves out all pairs of which either model, or an ancestor of it, was trained with that optimiser,
and reports on those alone; such models are still seen as relatives of others. --write stores the weights, with their
provenance, in lineage/detector.safetensors, --out elsewhere; --json every figure. Pairs of unlike relations are
drawn by a fixed mix (MIX), which is what stated probabilities are calibrated to.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from benchmarks.recovery import commit
from benchmarks.recovery_zoos import kept_at, open_zoo
from benchmarks.train_detector_data import ChosenPairs, LabelledPairs, labelled
from benchmarks.train_detector_network import MIX, TOKENS, examples, logits_of, scales, temperatures, train, weights_of
from benchmarks.train_detector_report import Scored, line, scored
from lineage.detector_network import CLASSES, FILE, Network, Weights, feature_names, network, read_network

RUNS, FOLDS = 5, 10
STEPS = 700


def folds(zoos: Iterable[LabelledPairs | ChosenPairs]) -> dict[str, int]:
    """Of every root the fold of ten that it belongs to; the roots of most pairs are spread evenly."""
    counted = Counter(root for zoo in zoos for pair in zoo.roots for root in pair)
    ordered = sorted(counted, key=lambda root: (-counted[root], root))
    # Two folds are a test part: the large roots go to the first of each two before any goes to the second.
    places = [*range(0, FOLDS, 2), *range(1, FOLDS, 2)]
    return {root: places[number % FOLDS] for number, root in enumerate(ordered)}


def parts(zoo: LabelledPairs, fold: dict[str, int], run: int) -> dict[str, NDArray[np.intp]]:
    """Rows of the three parts of a run. A pair across two parts, which is of unrelated models, is in none."""
    test, validation = {2 * run, 2 * run + 1}, {(2 * run + 2) % FOLDS}

    def part(root: str) -> str:
        return "test" if fold[root] in test else "validation" if fold[root] in validation else "training"

    of = [(part(a), part(b)) for a, b in zoo.roots]
    return {
        name: np.array([row for row, pair in enumerate(of) if pair == (name, name)], dtype=np.intp)
        for name in ("training", "validation", "test")
    }


def separated(zoos: Sequence[LabelledPairs]) -> list[LabelledPairs]:
    """The same pairs; each architecture has roots of its own where all together have fewer than there are folds.

    Zoos of one seed number their roots alike. Counted by number alone, a root of one architecture is on the same side
    as its namesakes, which costs nothing where there are many, and leaves parts empty where there are three.
    """
    if len({root for zoo in zoos for pair in zoo.roots for root in pair}) >= FOLDS:
        return list(zoos)
    return [
        replace(zoo, roots=tuple((f"{zoo.architecture} {a}", f"{zoo.architecture} {b}") for a, b in zoo.roots))
        for zoo in zoos
    ]


def one_run(zoos: Sequence[LabelledPairs], run: int, steps: int) -> tuple[Weights, dict[str, float]]:
    """Train one network; its weights, and how it does on its own test part. Raises ValueError for an empty part."""
    fold = folds(zoos)
    rows = [parts(zoo, fold, run) for zoo in zoos]
    for name in rows[0]:
        if not any(len(one[name]) for one in rows):
            raise ValueError(f"run {run + 1} has no {name} pairs: {len(fold)} roots are too few to split")
    scale = {name: values.astype(np.float32).astype(np.float64) for name, values in scales(zoos).items()}
    data = {name: examples(zoos, [one[name] for one in rows], scale) for name in rows[0]}
    net = train(data["training"], scale, steps, seed=run)
    temperature = temperatures(logits_of(net, data["validation"], scale, alone=False), data["validation"])
    logits, label = logits_of(net, data["test"], scale, alone=False), data["test"].label.numpy()
    direct = np.isin(label, (1, 2))
    figures = {
        "accuracy": float(np.mean(logits.argmax(axis=1) == label)),
        "direction": float(np.mean((logits[direct, 1] > logits[direct, 2]) == (label[direct] == 1))),
        "test pairs": float(len(label)),
        **{f"temperature {name}": float(one) for name, one in zip(("even", "odd"), temperature, strict=True)},
    }
    return weights_of(net, scale, temperature), figures


def write(runs: Sequence[Weights], provenance: dict[str, Any], path: Path) -> None:
    """Store the networks as float32, "run.name" each."""
    tensors = {
        f"{number}.{name}": np.ascontiguousarray(values, dtype=np.float32)
        for number, run in enumerate(runs)
        for name, values in run.items()
    }
    save_file(tensors, path, metadata={"provenance": json.dumps(provenance)})


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.train_detector",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--learn", type=Path, nargs="*", default=[], metavar="ZOO", help="zoos to train on")
    top.add_argument("--report", type=Path, nargs="*", default=[], metavar="ZOO", help="zoos to report on")
    top.add_argument("--without", nargs="+", default=[], metavar="FAMILY", help="architectures left out of training")
    top.add_argument("--without-optimiser", metavar="NAME", help="leave pairs trained with it out, and report on them")
    top.add_argument("--measures", type=Path, nargs="*", default=[], metavar="DIR", help="keep measures there")
    top.add_argument("--steps", type=int, default=STEPS, help=f"steps of each run ({STEPS})")
    top.add_argument("--runs", type=int, default=RUNS, choices=range(1, RUNS + 1), help=f"runs ({RUNS})")
    top.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    top.add_argument("--out", type=Path, metavar="FILE", help="store the weights there")
    top.add_argument("--weights", type=Path, metavar="FILE", help="report on these instead of training any")
    top.add_argument("--write", action="store_true", help=f"store the weights in lineage/{FILE.name}")
    return top


def learnt_on(zoos: Sequence[LabelledPairs], asked: argparse.Namespace) -> tuple[Network, list[dict[str, float]]]:
    """The runs, each said on stderr when it is done."""
    runs, figures = [], []
    zoos = separated(zoos)
    for run in range(asked.runs):
        start = time.monotonic()
        weights, found = one_run(zoos, run, asked.steps)
        runs.append(weights)
        figures.append(found)
        said = ", ".join(f"{name} {value:.3f}" for name, value in found.items())
        print(f"run {run + 1}/{asked.runs}: {said}, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
    provenance = {
        "command": "python -m benchmarks.train_detector --learn ... --write",
        "commit": commit(),
        "zoos": sorted({zoo.zoo for zoo in zoos}),
        "pairs": sum(len(zoo.label) for zoo in zoos),
        "without": [*asked.without, *([asked.without_optimiser] if asked.without_optimiser else [])],
        "steps": asked.steps,
        "tokens": TOKENS,
        "mix": {CLASSES[kind]: share for kind, share in MIX.items()},
        "runs": figures,
        "features": feature_names(),
    }
    return Network(tuple(runs), provenance), figures


def trained_with(zoos: Sequence[LabelledPairs], optimiser: str, *, by_it: bool) -> list[LabelledPairs]:
    """The pairs that an optimiser had a part in, or those that it had none in; zoos without any are left out."""
    chosen = [
        zoo.take(np.flatnonzero([(optimiser in used) == by_it for used in zoo.optimisers]).astype(np.intp))
        for zoo in zoos
    ]
    return [zoo for zoo in chosen if len(zoo.label)]


def gathered(folders: Sequence[Path], caches: Sequence[Path], *, whole: bool = False) -> list[LabelledPairs]:
    """The pairs of zoos; measures are taken from the first folder that has them."""
    found = []
    for folder in folders:
        zoo = open_zoo(folder)
        kept = [cache for cache in caches if kept_at(zoo, cache).exists()]
        found += labelled(zoo, (kept or list(caches))[0], whole=whole)
    return [one for one in found if len(one.label)]


def obtained(asked: argparse.Namespace, caches: Sequence[Path]) -> tuple[Network, list[dict[str, float]]]:
    """The network that is reported on: trained now, and stored where asked, or read."""
    zoos = gathered([one for one in asked.learn if open_zoo(one).architecture not in asked.without], caches)
    if asked.without_optimiser:
        zoos = trained_with(zoos, asked.without_optimiser, by_it=False)
    if not zoos:
        return (network() if asked.weights is None else read_network(asked.weights)), []
    found, figures = learnt_on(zoos, asked)
    for path in ([FILE] if asked.write else []) + ([asked.out] if asked.out else []):
        write(found.runs, found.provenance, path)
        network.cache_clear()
    return found, figures


def reported(found: Network, asked: argparse.Namespace, caches: Sequence[Path]) -> list[Scored]:
    """Every family of the zoos to report on, with its relatives and without, a line each as soon as it is there."""
    every: list[Scored] = []
    for folder in asked.report:
        zoos = gathered([folder], caches)
        if asked.without_optimiser:
            zoos = trained_with(zoos, asked.without_optimiser, by_it=True)
        for pairs in zoos:
            every += [scored(found, pairs, alone=alone) for alone in (False, True)]
            print("\n".join(line(one) for one in every[-2:]), flush=True)
    return every


def main(arguments: list[str] | None = None) -> int:
    """Train, write where asked, and report."""
    top = parser()
    asked = top.parse_args(arguments)
    if both := {path.resolve() for path in asked.learn} & {path.resolve() for path in asked.report}:
        top.error(f"learnt from and reported on: {', '.join(map(str, both))}")
    if asked.learn and asked.weights:
        top.error("--weights are what is reported on where nothing is trained: leave --learn out")
    if not asked.learn and not asked.report:
        top.error("nothing to do: name zoos to --learn from, or to --report on")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        caches = asked.measures or [Path(scratch)]
        try:
            found, figures = obtained(asked, caches)
            every = reported(found, asked, caches)
        except (ValueError, OSError) as error:
            print(f"train_detector: {error}", file=sys.stderr)
            return 2
    if asked.json:
        content = {"runs": figures, "report": [vars(one) for one in every]}
        asked.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
