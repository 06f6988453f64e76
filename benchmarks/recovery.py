"""How much of the truth is recovered from weights, on zoos of known lineage.

    python -m benchmarks.recovery ZOO ...                          zoos that are there, each a folder with truth.json
    python -m benchmarks.recovery --grow ft resnet --seeds 2 3     train these splits with these seeds first
    python -m benchmarks.recovery ZOO ... --write                  put the tables and plots into BENCHMARKS.md

For each split and seed: true edges found with and without direction beside what random roots would find, roots, trees
(adjusted Rand index, their number not given), parents given to strangers and to children whose parent is not there,
decided edges, merges with their weights, groups of copies, and how well stated probabilities hold. For our method, for
the paper's with both of its distances, for spanning trees rooted by kurtosis, and for our skeletons with the true
roots, which is the ceiling of any choice of direction.

Zoos that anything was tuned on (seed 1, and what lineage/learnt.json names) are reported apart; --untuned refuses them.
Measures are kept in a folder, so that a run that was stopped goes on where it was; so do zoos that are being grown.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.families import machine
from benchmarks.pages import between_markers
from benchmarks.recovery_plots import draw
from benchmarks.recovery_report import NAME, document
from benchmarks.recovery_scores import Result, results, scores
from benchmarks.recovery_zoos import Zoo, grown, measured, open_zoo
from benchmarks.zoo.splits import SPLITS
from lineage.learnt import learnt

__all__ = ["main", "scores"]
PAGE = Path("BENCHMARKS.md")
PLOTS = Path("benchmarks/plots")
_EXAMPLES = """
examples:
  python -m benchmarks.zoo split ft --seed 2 --out /tmp/zoos/ft-2 && python -m benchmarks.recovery /tmp/zoos/ft-2
  python -m benchmarks.recovery --grow ft mixed resnet --seeds 2 3 4 --zoos /tmp/zoos --store /tmp/zoos/.store --jobs 2
  python -m benchmarks.recovery /tmp/zoos/*-[2-9] --keep /tmp/measures --untuned --write
  python -m benchmarks.zoo split --help                            says what the splits are
A split of five trees trains in minutes; --trees 3 --branch 3 makes smaller ones. Small zoos say little about the second
digit: give several seeds, whose spread is then shown.
"""


def parser() -> argparse.ArgumentParser:
    """What the command takes."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.recovery",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("folders", type=Path, nargs="*", metavar="ZOO", help="folders of finished zoos")
    growing = top.add_argument_group("zoos to grow where they are missing")
    growing.add_argument("--grow", nargs="+", default=[], metavar="SPLIT", choices=SPLITS, help="splits by name")
    growing.add_argument("--seeds", type=int, nargs="+", default=[2], help="a zoo of each split and seed (2)")
    growing.add_argument("--zoos", type=Path, default=Path("build/zoos"), help="where they belong (build/zoos)")
    growing.add_argument("--store", type=Path, help="keep trained networks here, for zoos that share them")
    growing.add_argument("--jobs", type=int, default=1, help="networks trained at a time (1)")
    for name in ("trees", "branch", "depth"):
        growing.add_argument(f"--{name}", type=int, help=f"{name} of each zoo instead of the split's own")
    top.add_argument("--keep", type=Path, help="keep measures in this folder (default: they are made anew)")
    top.add_argument("--untuned", action="store_true", help="refuse zoos that anything was tuned on")
    top.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    top.add_argument("--write", action="store_true", help=f"write tables into {PAGE} and plots into {PLOTS}")
    top.add_argument("--page", type=Path, default=PAGE, help=argparse.SUPPRESS)
    top.add_argument("--plots", type=Path, default=PLOTS, help=argparse.SUPPRESS)
    return top


def chosen(asked: argparse.Namespace) -> list[Zoo]:
    """The zoos asked for, grown where they are missing. Raises ValueError for what is none."""
    zoos = [open_zoo(folder) for folder in asked.folders]
    sizes = (asked.trees, asked.branch, asked.depth)
    for name in asked.grow:
        zoos += [grown(name, seed, asked.zoos, asked.store, asked.jobs, sizes) for seed in asked.seeds]
    if not zoos:
        raise ValueError("no zoos: name folders, or splits to --grow")
    if asked.untuned and (used := sorted(zoo.name for zoo in zoos if zoo.tuned_on)):
        raise ValueError(f"--untuned refuses {', '.join(used)}")
    order = list(SPLITS)
    return sorted(zoos, key=lambda zoo: (order.index(zoo.split) if zoo.split in order else len(order), zoo.seed))


def run(zoos: Sequence[Zoo], keep: Path) -> list[Result]:
    """Measure, infer and score every zoo, saying on stderr how far it is."""
    found = []
    for place, zoo in enumerate(zoos, 1):
        start = time.monotonic()
        mine = results(zoo, measured(zoo, keep))
        found += mine
        ours = mine[0].score
        print(
            f"[{place}/{len(zoos)}] {zoo.name}: {ours.directed:.3f} of {ours.true_edges} directed edges, "
            f"{time.monotonic() - start:.1f} s",
            file=sys.stderr,
            flush=True,
        )
    return found


def facts(found: Sequence[Result]) -> list[str]:
    """What the figures rest on: command, machine, commit, and which zoos."""
    lists = {}
    for tuned_on in (False, True):
        zoos = dict.fromkeys(f"{one.split}-{one.seed}" for one in found if one.tuned_on == tuned_on)
        lists[tuned_on] = ", ".join(zoos) or "none"
    return [
        f"`python -m benchmarks.recovery ZOO ... --write`, commit {commit()}, {machine()}. Weights only.",
        f"Reported on: {lists[False]}. Tuned on, and shown apart: {lists[True]}.",
        f"The weights in `lineage/learnt.json` come from {', '.join(learnt().zoos)}.",
    ]


def commit() -> str:
    """The commit that the figures belong to, and whether files differed from it."""
    try:
        asked = ["git", "describe", "--always", "--dirty= and changes", "--exclude=*"]
        done = subprocess.run(asked, capture_output=True, text=True, check=True, cwd=Path(__file__).parent)  # noqa: S603  # git
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def show(found: Sequence[Result]) -> None:
    """Print a line per zoo and method."""
    table = Table("zoo", "method", "directed", "random roots", "undirected", "roots", "Rand", "decided right", box=None)
    for one in found:
        score = one.score
        table.add_row(
            f"{one.split}-{one.seed}{' (tuned on)' if one.tuned_on else ''}",
            one.method,
            f"{score.directed:.3f} of {score.true_edges}",
            f"{score.random_root_directed:.3f}",
            f"{score.undirected:.3f}",
            f"{score.roots:.2f} ({score.random_roots:.2f})",
            f"{score.adjusted_rand:.3f}",
            f"{score.decided_right:.3f} ({score.decided:.2f})",
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 2 where the request makes no sense."""
    asked = parser().parse_args(arguments)
    try:
        zoos = chosen(asked)
        if asked.write:
            between_markers(asked.page.read_text(), NAME, "")
    except (ValueError, OSError) as error:
        print(f"recovery: {error}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as scratch:
        found = run(zoos, asked.keep or Path(scratch))
    show(found)
    if asked.json:
        asked.json.write_text(json.dumps([one.plain() for one in found], indent=1) + "\n")
    if asked.write:
        plots = [path.as_posix() for path in draw(found, asked.plots)]
        asked.page.write_text(between_markers(asked.page.read_text(), NAME, document(found, facts(found), plots)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
