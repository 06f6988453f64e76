"""How well stated probabilities hold on kinds of networks that nothing was learnt from.

    python -m benchmarks.unseen --learn ZOO ... --edges ZOO ... --absent ZOO ... --stage ZOO ... --report ZOO ...
                                [--measures DIR] [--write]

The first four are those of `python -m benchmarks.learn`; lineage/learnt.json names the zoos of the shipped weights.
For each kind of network (decoders of every kind are one) that is reported on, all weights are learnt anew from the
zoos of other kinds, and `recover` with these weights is scored on the zoos to report, beside the shipped weights. What
an option has no zoo left for is learnt from nothing: then the kind is not judged. Nothing may be both learnt from and
reported on. --write puts the table and a reliability diagram into BENCHMARKS.md.

The learned detector, which `recover` asks about siblings that drift alike, is the shipped one, and has seen networks of
every kind here; of these zoos it changes decoders alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.families import machine
from benchmarks.learn import learning_options, learning_zoos, learnt_from, refuse_both
from benchmarks.learning_zoos import LearningZoo
from benchmarks.pages import between_markers
from benchmarks.recovery import PAGE, PLOTS, commit
from benchmarks.recovery_plots import draw_reliability
from benchmarks.recovery_scores import STATED, Result, calibrated, ours, scatter
from benchmarks.recovery_zoos import open_zoo
from lineage.learnt import in_force, shipped

NAME = "unseen"
KINDS = {"gpt2": "decoder", "llama": "decoder"}  # of architectures; of all others their own name
Judged = Mapping[str, tuple[list[Result], list[Result]]]  # by kind: by weights that have not seen it, by the shipped


def kind(zoo: LearningZoo) -> str:
    """The kind of a zoo's networks."""
    return KINDS.get(zoo.zoo.architecture, zoo.zoo.architecture)


def judged(asked: Mapping[str, Sequence[LearningZoo]], report: Sequence[LearningZoo]) -> Judged:
    """Score the zoos of each kind by weights learnt from the other kinds, and by the shipped ones."""
    found = {}
    for one in dict.fromkeys(map(kind, report)):
        others = {option: [zoo for zoo in zoos if kind(zoo) != one] for option, zoos in asked.items()}
        if missing := [option for option, zoos in others.items() if not zoos]:
            print(f"{one}: not judged, as --{missing[0]} has no zoo of another kind", file=sys.stderr)
            continue
        weights = learnt_from(others, shipped())
        mine = [zoo for zoo in report if kind(zoo) == one]
        with in_force(weights):
            unseen = [ours(zoo.zoo, zoo.families) for zoo in mine]
        found[one] = unseen, [ours(zoo.zoo, zoo.families) for zoo in mine]
        print(f"{one}: {calibrated(unseen, 'confidence').error:.3f} of {len(mine)} zoos", file=sys.stderr, flush=True)
    return found


def table(found: Judged) -> list[str]:
    """A line for each kind, and one for all of them."""
    heads = [f"{what}, {how}" for what in STATED for how in ("unseen", "shipped", "if perfect")]
    lines = [f"| kind | zoos | directed edges, unseen | shipped | {' | '.join(heads)} |"]
    lines.append("|---|---|---|---|" + "---|" * len(heads))
    every = tuple([one for pair in found.values() for one in pair[side]] for side in (0, 1))
    for name, (unseen, seen) in [*found.items(), ("all", every)]:
        cells = [name, str(len(unseen)), *(f"{_directed(some):.3f}" for some in (unseen, seen))]
        for what in STATED:
            error = calibrated(unseen, what)
            cells.append(f"{error.error:.3f} ({int(error.count.sum())})")
            cells += [f"{calibrated(seen, what).error:.3f}", f"{scatter(unseen, what):.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _directed(found: Sequence[Result]) -> float:
    edges = sum(one.score.true_edges for one in found)
    return sum(one.score.directed * one.score.true_edges for one in found) / max(edges, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Learn without each kind and judge it; the exit code is 2 where the request makes no sense."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.unseen", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    learning_options(parser)
    parser.add_argument("--report", type=Path, nargs="+", required=True, help="zoos to report on")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE} and the plot into {PLOTS}")
    parser.add_argument("--page", type=Path, default=PAGE, help=argparse.SUPPRESS)
    parser.add_argument("--plots", type=Path, default=PLOTS, help=argparse.SUPPRESS)
    told = parser.parse_args(arguments)
    refuse_both(parser, told)
    with tempfile.TemporaryDirectory() as scratch:
        cache = told.measures or Path(scratch)
        try:
            asked = learning_zoos(told, cache)
            found = judged(asked, [LearningZoo(open_zoo(folder), cache) for folder in told.report])
        except ValueError as error:
            parser.error(str(error))
    lines = table(found)
    print("\n".join(lines))
    if told.write:
        _write(lines, found, told.page, told.plots)
    return 0


def _write(lines: Sequence[str], found: Judged, page: Path, plots: Path) -> None:
    unseen, seen = ([one for pair in found.values() for one in pair[side]] for side in (0, 1))
    plot = draw_reliability({"unseen": unseen, "shipped": seen}, plots / "unseen.svg")
    zoos = ", ".join(f"{one.split}-{one.seed}" for one in unseen)
    facts = f"`python -m benchmarks.unseen ... --write`, commit {commit()}, {machine()}. Reported on: {zoos}."
    text = "\n".join([facts, "", *lines, "", f"![Reliability on unseen kinds of networks]({plot.as_posix()})"])
    page.write_text(between_markers(page.read_text(), NAME, text))


if __name__ == "__main__":
    sys.exit(main())
