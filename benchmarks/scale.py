"""From stored pair measures to trees, by inference itself: how long, in how much memory, and how right.

    python -m benchmarks.scale dense  [--members 10000] [--layers 12]       all pairs, as a batch stores them, on disk
    python -m benchmarks.scale sparse [--members 100000] [--candidates 16]  of each member a few candidates, on disk
    python -m benchmarks.scale stored [--members 2000] [--layers 12]        through a database of its own

Synthetic families of five trees: every child is its parent plus a step of its own, in 128 dimensions of every layer, so
that squared distances add up along the trees but for chance; hubs have thousands of children. Slope constancy, which
is evidence for directions, is drawn: each layer of an edge, and of any other pair, points from the older to the younger
member by 1 with a standard deviation of 1. Ranks are unknown, variances and kurtosis are the same for all: so the roots
test the arithmetic of a large family, not the evidence. How right pieces are on networks that were really trained is
for `python -m benchmarks.pieces`. Making a family is not timed, nor is it in the memory: inference is a process of its
own. The memory is the most that it had resident, interpreter included; of `stored`, without the database's own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.families import GIB, machine
from benchmarks.scale_family import few_pairs, parents, pieces_of_disk, write_dense, write_few
from benchmarks.scale_stored import fill, inferred
from lineage.parameters import Parameters
from lineage.recover import heritage
from lineage.trees import Heritage


@dataclass(frozen=True)
class Found:
    """What inference answered, and at what price."""

    seconds: float
    edges: Sequence[tuple[int, int]]  # (parent, child)
    roots: Sequence[int]
    confidences: Sequence[float]
    decided: int

    @staticmethod
    def of(heritage: Heritage, seconds: float) -> Found:
        """Of members that are named by their positions."""
        edges = [edge for tree in heritage.trees for edge in tree.edges]
        return Found(
            seconds,
            [(edge.parent, edge.child) for edge in edges],
            [tree.root for tree in heritage.trees],
            [edge.confidence for edge in edges],
            sum(edge.decided for edge in edges),
        )

    def lines(self, members: int, seed: int, what: str) -> str:
        """What is printed."""
        parent = parents(members, seed)
        true = {(int(up), child) for child, up in enumerate(parent) if up >= 0}
        either = {frozenset(edge) for edge in true}
        undirected = sum(frozenset(edge) in either for edge in self.edges)
        roots = sum(bool(parent[root] < 0) for root in self.roots)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        right = sum(edge in true for edge in self.edges)
        return (
            f"{what}, {members} members: {self.seconds:.1f} s, {peak / GIB:.2f} GiB at the most\n"
            f"  of {len(true)} true edges {right / len(true):.4f} found, {undirected / len(true):.4f} in either "
            f"direction; {roots} of {len(self.roots)} roots right (5 trees)\n"
            f"  {self.decided} edges decided; mean confidence {np.mean(self.confidences):.4f}, "
            f"of {len(self.edges)} stated edges {right / max(len(self.edges), 1):.4f} are right"
        )


def timed(half: str, folder: Path, members: int, seed: int) -> str:
    """Infer from what lies in a folder."""
    begin = time.perf_counter()
    if half == "stored":
        family = int((folder / "family.txt").read_text())
        edges, roots, confidences, decided = inferred(folder / "data", family, Parameters())
        return Found(time.perf_counter() - begin, edges, roots, confidences, decided).lines(members, seed, half)
    store = pieces_of_disk(folder) if half == "dense" else few_pairs(folder)
    found = heritage(store, Parameters())
    seconds = time.perf_counter() - begin
    print(json.dumps(found.notes))
    return Found.of(found, seconds).lines(members, seed, half)


def main() -> int:
    """Make a family, and infer it in a process of its own."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("half", choices=("dense", "sparse", "stored"), metavar="dense | sparse | stored")
    parser.add_argument("--members", type=int, help="10000 dense, 100000 sparse, 2000 stored")
    parser.add_argument("--layers", type=int, default=12, help="layers of the family (12)")
    parser.add_argument("--candidates", type=int, default=16, help="of each member, sparse (16)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--scratch", type=Path, help="folder for the made-up family, some GB (the system's temporary one)"
    )
    parser.add_argument("--timed", type=Path, metavar="DIR", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    usual = {"dense": 10_000, "sparse": 100_000, "stored": 2_000}
    members = asked.members or usual[asked.half]
    if asked.timed:
        print(timed(asked.half, asked.timed, members, asked.seed))
        return 0
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory(dir=asked.scratch) as scratch:
        folder = Path(scratch)
        if asked.half == "dense":
            write_dense(folder, members, asked.layers, asked.seed)
        elif asked.half == "sparse":
            write_few(folder, members, asked.layers, asked.candidates, asked.seed)
        else:
            fill(folder, members, asked.layers, asked.seed)
        again = [asked.half, f"--members={members}", f"--seed={asked.seed}", "--timed", scratch]
        subprocess.run([sys.executable, "-m", "benchmarks.scale", *again], check=True)  # noqa: S603  # ourselves
    return 0


if __name__ == "__main__":
    sys.exit(main())
