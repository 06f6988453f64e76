"""Parent-child and ancestor pairs, and their direction: learning-free detectors, the learned one, MoTHer's, ours.

    python -m benchmarks.phylogeny --grow mlp mlp-wide resnet --seeds 2 --zoos /tmp/zoos   the published set-up, small
    python -m benchmarks.phylogeny ZOO ... --keep /tmp/measures --write                    any zoos, into BENCHMARKS.md
    python -m benchmarks.real_ani --wheel FILE --zoo /tmp/zoos/ani                         real networks, as a zoo

The published set-up is fully connected and convolutional parents and children on small image tasks, with several
optimisers and learning rates, here two generations deep. A pair is parent and child, or any ancestor and descendant
(the closure of what a method gives). Precision, recall and F1 count a pair only with its direction; `found` is the
share of true pairs given in either direction, and `direction` that of rightly directed ones among those. F1 has its
standard deviation over zoos. No method is told the number of trees; MoTHer alone is told which models were pre-trained.
`recover, any root` is what the skeletons of `recover` are worth when each member is as likely the root: in flat trees,
much.
"""

from __future__ import annotations

import argparse
import math
import os
import pickle
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import networkx as nx
import numpy as np

from benchmarks.families import machine
from benchmarks.pages import between_markers, with_markers
from benchmarks.recovery import commit
from benchmarks.recovery_methods import OTHERS
from benchmarks.recovery_zoos import Zoo, grown, kept_at, open_zoo, truth_of
from benchmarks.zoo.splits import SPLITS
from crawler.folder import FolderSource
from db import measurements
from db.engine import transaction
from hublineage import job
from hublineage.database import database
from hublineage.progress import Reporter
from hublineage.settings import Settings
from lineage.family import FamilyMeasures
from lineage.parameters import Parameters
from lineage.phylogeny import Sketches
from lineage.phylogeny_stored import load_sketches
from lineage.recover import heritage
from lineage.stored import load_measures

PAGE = Path("BENCHMARKS.md")
NAME, HEADING = "phylogeny", "Learning-free phylogeny"  # of its part of the page
Pairs = frozenset[tuple[str, str]]
Sketched = tuple[FamilyMeasures, tuple[str, ...], Sketches | None]
HEADS = ("precision", "recall", "F1", "found", "direction")
VARIANTS = {
    f"{clustering}, {scheme}": Parameters(method="phylogeny", clustering=clustering, initialisation=scheme)
    for clustering, scheme in [
        *product(("kmeans",), ("architecture", "kaiming", "xavier", "truncated", "fitted", "centroid")),
        *product(("agglomerative", "dbscan", "spectral", "order"), ("architecture", "centroid")),
    ]
}


@dataclass(frozen=True)
class Counted:
    """Pairs of one method on one zoo, or their means: given, true, given rightly, found whichever way they point."""

    given: float
    true: float
    right: float
    undirected: float

    def __add__(self, other: Counted) -> Counted:
        return Counted(*(a + b for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    @property
    def shares(self) -> dict[str, float]:
        """By the heads of the table; 0 where there is nothing to count, NaN of the direction of no pair."""
        parts = {
            "precision": (self.right, self.given),
            "recall": (self.right, self.true),
            "F1": (2 * self.right, self.given + self.true),
            "found": (self.undirected, self.true),
        }
        found = {head: part / whole if whole else 0.0 for head, (part, whole) in parts.items()}
        return {**found, "direction": self.right / self.undirected if self.undirected else math.nan}


Scores = dict[str, tuple[Counted, Counted]]  # of every method: parent-child pairs, ancestor pairs


def counted(given: Pairs, true: Pairs) -> Counted:
    """Count the pairs of one zoo."""
    known = {frozenset(pair) for pair in given}
    return Counted(len(given), len(true), len(given & true), sum(frozenset(pair) in known for pair in true))


def closure(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """All (ancestor, descendant) of what (parent, child) pairs say."""
    below: defaultdict[str, set[str]] = defaultdict(set)
    for parent, child in pairs:
        below[parent].add(child)

    def descendants(name: str) -> Iterator[str]:
        seen: set[str] = set()
        stack = [name]
        while stack:
            new = below.get(stack.pop(), set()) - seen
            seen |= new
            stack += new
        yield from seen - {name}

    return frozenset((above, one) for above in list(below) for one in descendants(above))


def of_any_root(pairs: Pairs, true: Pairs, *, ancestors: bool) -> Counted:
    """The mean over the roots that the trees of `pairs` can have, each member of a tree being as likely."""
    graph, found = nx.Graph(sorted(pairs)), Counted(0.0, len(true), 0.0, 0.0)
    for tree in nx.connected_components(graph):
        turned = [frozenset(nx.bfs_edges(graph, root)) for root in sorted(tree)]
        counts = [counted(closure(one) if ancestors else one, true) for one in turned]
        mean = np.mean([list(vars(one).values()) for one in counts], axis=0).tolist()
        found += replace(Counted(*mean), true=0.0)
    return found


def sketched(zoo: Zoo, cache: Path) -> list[Sketched]:
    """Measures and sketches of a zoo's families by the main job; kept in `cache`, where they are looked for first."""
    path = kept_at(zoo, cache, ".phylogeny")
    if path.exists() and path.stat().st_mtime >= (zoo.folder / "truth.json").stat().st_mtime:
        kept: list[Sketched] = pickle.loads(path.read_bytes())  # noqa: S301  # written below, by whoever runs this
        if all(set(vars(one[0])) == set(FamilyMeasures.__dataclass_fields__) for one in kept):
            return kept
    found: list[Sketched] = []
    source, report, work = FolderSource(zoo.folder), Reporter(None), job.Job()
    with tempfile.TemporaryDirectory() as scratch, database(Settings(data_dir=Path(scratch))) as engine:
        number = job.crawl(engine, source, work, report).source_id
        job.measure(engine, source, number, work, report)
        for family, _ in job.families(engine, number):
            with transaction(engine) as session:
                names = {one.revision_id: one.name for one in measurements.members(session, family)}
                measures = load_measures(session, family)
                sketches = load_sketches(session, family, measures)
            found.append((measures, tuple(names[one] for one in measures.members), sketches))
    cache.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(pickle.dumps(found))
    fresh.replace(path)
    return found


def given(families: Sequence[Sketched], parameters: Parameters) -> Pairs:
    """The pairs that a method gives, but for exact copies."""
    pairs = set()
    for measures, names, sketches in families:
        name = dict(zip(measures.members, names, strict=True))
        for tree in heritage(measures, parameters, None, sketches).trees:
            pairs |= {(name[e.parent], name[e.child]) for e in tree.edges if e.relation != "duplicate"}
    return frozenset(pairs)


def scored(zoo: Zoo, families: Sequence[Sketched]) -> Scores:
    """Of every method: parent-child pairs and ancestor pairs. Pairs with models that cannot be read do not count."""
    truth = truth_of(zoo)
    true = frozenset((one, child) for child, above in truth.parents.items() for one in above if one in truth.parents)
    plain = [(measures, names) for measures, names, _ in families]
    answers = {name: given(families, parameters) for name, parameters in VARIANTS.items()}
    for name in ("mother", "MST, kurtosis root"):
        answers[name] = frozenset(edge.pair for edge in OTHERS[name](plain, truth).edges)
    answers["detector"] = given(families, Parameters(method="detector"))
    answers["recover"] = given(families, Parameters())
    answers["recover with the detector"] = given(families, Parameters(detector=True))
    found = {name: (counted(one, true), counted(closure(one), closure(true))) for name, one in answers.items()}
    skeletons = answers["recover"]
    found["recover, any root"] = (
        of_any_root(skeletons, true, ancestors=False),
        of_any_root(skeletons, closure(true), ancestors=True),
    )
    return found


def table(results: Sequence[tuple[Zoo, Scores]]) -> list[str]:
    """A Markdown table: all zoos of an architecture together, those that anything was chosen on apart."""
    groups: defaultdict[str, list[Scores]] = defaultdict(list)
    for zoo, found in results:
        groups[zoo.architecture + (" (tuned on)" if zoo.tuned_on else "")].append(found)
    heads = (*HEADS, *(f"ancestors: {head}" for head in HEADS))
    lines = [f"| networks | method | {' | '.join(heads)} |", "|---|---|" + "---|" * len(heads)]
    for group, zoos in groups.items():
        for method in zoos[0]:
            near, far = ([found[method][which] for found in zoos] for which in (0, 1))
            lines.append(f"| {group} | {method} | {' | '.join([*_cells(near), *_cells(far)])} |")
    return lines


def _cells(zoos: Sequence[Counted]) -> list[str]:
    """The pairs of several zoos together, and how F1 differs between them."""
    shares = sum(zoos[1:], zoos[0]).shares
    said = {head: "-" if math.isnan(share) else f"{share:.2f}" for head, share in shares.items()}
    if len(zoos) > 1:
        said["F1"] += f" ± {np.std([one.shares['F1'] for one in zoos], ddof=1):.2f}"
    return [said[head] for head in HEADS]


def sizes(results: Sequence[tuple[Zoo, Scores]]) -> list[str]:
    """Of each zoo its pairs of both kinds, and the F1 of a few methods, so that one bad zoo is not lost in a mean."""
    methods = ("kmeans, architecture", "order, centroid", "mother", "detector", "recover", "recover with the detector")
    lines = [f"| zoo | pairs | ancestor pairs | {' | '.join(methods)} |", "|---|---|---|" + "---|" * len(methods)]
    for zoo, found in results:
        near, far = found[methods[0]]
        numbers = " | ".join(f"{found[method][0].shares['F1']:.2f}" for method in methods)
        lines.append(f"| {zoo.name} ({zoo.architecture}) | {near.true:.0f} | {far.true:.0f} | {numbers} |")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 2 where the request makes no sense."""
    top = argparse.ArgumentParser(
        prog="python -m benchmarks.phylogeny",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("folders", type=Path, nargs="*", metavar="ZOO", help="folders of finished zoos")
    top.add_argument("--grow", nargs="+", default=[], metavar="SPLIT", choices=SPLITS, help="splits by name")
    top.add_argument("--seeds", type=int, nargs="+", default=[2], help="a zoo of each split and seed (2)")
    top.add_argument("--zoos", type=Path, default=Path("build/zoos"), help="where they belong (build/zoos)")
    for name in ("trees", "branch", "depth"):
        top.add_argument(f"--{name}", type=int, help=f"{name} of each zoo instead of the split's own")
    top.add_argument("--keep", type=Path, help="keep measures in this folder (default: they are made anew)")
    top.add_argument("--write", action="store_true", help=f"write the table into {PAGE}")
    asked = top.parse_args(arguments)
    try:
        zoos = [open_zoo(folder) for folder in asked.folders]
        shape = (asked.trees, asked.branch, asked.depth)
        zoos += [grown(name, seed, asked.zoos, None, 1, shape) for name in asked.grow for seed in asked.seeds]
    except (ValueError, OSError) as error:
        print(f"phylogeny: {error}", file=sys.stderr)
        return 2
    if not zoos:
        print("phylogeny: no zoos: name folders, or splits to --grow", file=sys.stderr)
        return 2
    results = []
    with tempfile.TemporaryDirectory() as scratch:
        for place, zoo in enumerate(zoos, 1):
            results.append((zoo, scored(zoo, sketched(zoo, asked.keep or Path(scratch)))))
            print(f"[{place}/{len(zoos)}] {zoo.name}", file=sys.stderr, flush=True)
    lines = [*table(results), "", "F1 of parent-child pairs, zoo by zoo:", "", *sizes(results)]
    print("\n".join(lines))
    if asked.write:
        names = ", ".join(zoo.name for zoo in zoos)
        text = "\n".join(
            [
                f"`python -m benchmarks.phylogeny ZOO ... --write` on {names}, commit {commit()}, {machine()}.",
                "",
                *lines,
            ]
        )
        PAGE.write_text(between_markers(with_markers(PAGE.read_text(), NAME, HEADING), NAME, text))
    return 0


if __name__ == "__main__":
    sys.exit(main())
