"""How much of the truth is recovered from weights, on zoos of known lineage.

    python -m benchmarks.recovery DIR ...

Each DIR is a zoo with its truth.json, and must not be one that anything was learnt from (lineage/learnt.json names
those). For each: true edges found with and without direction, roots beside the chance of a random root, clusters
(adjusted Rand index, their number not given), false parents, and the decided edges; for our method, for the paper's
with both of its distances, and for our skeletons with the true roots, which is the ceiling of any choice of direction.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measured import measure_folder, read_truth
from lineage.evaluate import Score, score
from lineage.family import FamilyMeasures
from lineage.learnt import learnt
from lineage.mother import Metric
from lineage.recover import Parameters, heritage
from lineage.trees import Heritage, InferredEdge
from lineage.walk import outward

METHODS = {
    "recover": Parameters(),
    "mother": Parameters(method="mother"),
    "mother, low-rank": Parameters(method="mother", metric=Metric.LOW_RANK.value),
}
Family = tuple[FamilyMeasures, tuple[str, ...]]


def scores(families: list[Family], models: dict[str, dict[str, Any]]) -> dict[str, Score]:
    """The score of every method on the measured families of one zoo."""
    placed = {name for _, names in families for name in names}
    truth = {name: [one for one in models[name]["parents"] if one in placed] for name in placed}
    found = {}
    for method, parameters in METHODS.items():
        answers = [(heritage(measures, parameters), measures, names) for measures, names in families]
        found[method] = _scored(answers, truth)
        if method == "recover":
            rooted = [(_with_true_roots(one, m, names, truth), m, names) for one, m, names in answers]
            found["recover, true roots"] = _scored(rooted, truth)
    return found


def _scored(answers: list[tuple[Heritage, FamilyMeasures, tuple[str, ...]]], truth: dict[str, list[str]]) -> Score:
    trees, edges, undecided, copies = [], [], [], []
    for found, measures, names in answers:
        name = dict(zip(measures.members, names, strict=True))
        trees += [(name[tree.root], [name[one] for one in tree.members]) for tree in found.trees]
        every = [edge for tree in found.trees for edge in tree.edges]
        edges += [(name[edge.parent], name[edge.child]) for edge in every]
        undecided += [(name[edge.parent], name[edge.child]) for edge in every if not edge.decided]
        copies += [[name[one] for one in group] for group in found.duplicates]
    return score(truth, trees, edges, undecided=undecided, copies=copies)


def _with_true_roots(
    found: Heritage, measures: FamilyMeasures, names: tuple[str, ...], truth: dict[str, list[str]]
) -> Heritage:
    """The same skeletons, rooted at a true root where the tree holds one."""
    name = dict(zip(measures.members, names, strict=True))
    trees = []
    for tree in found.trees:
        root = next((one for one in tree.members if not truth[name[one]]), tree.root)
        turned = outward(root, [(edge.parent, edge.child) for edge in tree.edges])
        edges = tuple(InferredEdge(parent, child, "", 1.0, decided=True) for parent, child in turned)
        trees.append(replace(tree, root=root, edges=edges))
    return Heritage(tuple(trees), found.duplicates)


def row(zoo: str, method: str, one: Score) -> list[str]:
    """One line of the table."""
    return [
        zoo,
        method,
        f"{one.directed:.3f} of {one.true_edges}",
        f"{one.random_root_directed:.3f}",
        f"{one.undirected:.3f}",
        f"{one.roots:.2f} ({one.random_roots:.2f})",
        f"{one.adjusted_rand:.3f}",
        f"{one.false_parents} of {one.strangers}",
        f"{one.decided:.2f}",
        f"{one.decided_right:.3f}",
    ]


COLUMNS = (
    "zoo",
    "method",
    "directed edges",
    "random roots",
    "undirected",
    "roots (random)",
    "adjusted Rand",
    "false parents",
    "decided",
    "decided right",
)


def main() -> int:
    """Measure, infer and score every zoo; print one table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("zoos", type=Path, nargs="+", metavar="DIR")
    parser.add_argument("--data-dir", type=Path, help="keep the measures here; a scratch folder by default")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    arguments = parser.parse_args()
    if used := {folder.resolve().name for folder in arguments.zoos} & set(learnt().zoos):
        parser.error(f"lineage/learnt.json was learnt from {', '.join(sorted(used))}")
    lines = []
    with tempfile.TemporaryDirectory() as scratch:
        for folder in arguments.zoos:
            families = measure_folder(folder, arguments.data_dir or Path(scratch))
            found = scores(families, read_truth(folder))
            lines += [row(folder.resolve().name, method, one) for method, one in found.items()]
    if arguments.markdown:
        print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
        print("\n".join(f"| {' | '.join(line)} |" for line in lines))
        return 0
    table = Table(*COLUMNS, box=None, pad_edge=False)
    for line in lines:
        table.add_row(*line)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
