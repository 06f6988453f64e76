"""From stored pair measures to trees: how long, and in how much memory.

    python -m benchmarks.scale [--dense 10000] [--layers 12] [--sparse 100000] [--candidates 16] [--seed 0]

Families of five synthetic trees: every child is its parent plus a step of its own in a few hundred dimensions, so that
squared distances add up along the trees but for chance. Dense: every layer's pairs lie condensed on the disk (float32);
they are summed, clustered, made trees, given margins and rooted, then each layer is read again at the trees' edges.
Sparse: of every member the distances from a few candidates are known. Evidence for directions is drawn, so that roots
test nothing here but the arithmetic. Making the family is not timed, nor is it counted in the memory: each half runs in
a process of its own.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.families import GIB, machine
from lineage.cluster import THRESHOLD
from lineage.preorder import Preorder, preorder
from lineage.replacement import dense_replacements, sparse_replacements
from lineage.span import dense_tree, parts, sparse_tree
from lineage.sums import at_pairs, relative, square, summed

Ints = NDArray[np.intp]
_TREES = 5
_STEP = 0.05  # length of a child's step; a root's is 1
_DIMENSIONS = 128  # of each layer
_BLOCK = 1024


@dataclass
class Clock:
    """Seconds by stage."""

    seconds: dict[str, float] = field(default_factory=dict)
    last: float = field(default_factory=time.perf_counter)

    def stop(self, stage: str) -> None:
        """A stage is over, the next begins."""
        now = time.perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.last
        self.last = now


def parents(members: int, seed: int) -> Ints:
    """(n,) parents, -1 for the roots, which come first: hubs have many children, and few of these have any."""
    rng = np.random.default_rng(seed)
    number = np.arange(members)
    older = (rng.random(members) ** 3 * (number // _TREES)).astype(np.intp)
    found: Ints = older * _TREES + number % _TREES
    found[:_TREES] = -1
    return found


def steps(parent: Ints, seed: int, dimensions: int = _DIMENSIONS) -> NDArray[np.float32]:
    """(n, dimensions) every member less its root."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((len(parent), dimensions), dtype=np.float32) * np.float32(_STEP / dimensions**0.5)
    points[:_TREES] = 0
    for child in range(_TREES, len(parent)):
        points[child] += points[parent[child]]
    return points


def write_layers(folder: Path, members: int, layers: int, seed: int) -> None:
    """One file of condensed squared distances per layer; members of different trees are at a distance of 2."""
    parent = parents(members, seed)
    tree = np.arange(members) % _TREES
    for layer in range(layers):
        points = steps(parent, seed + layer + 1)
        squares = (points * points).sum(axis=1)
        with (folder / f"{layer}.f4").open("wb") as stream:
            for start in range(0, members, _BLOCK):
                block = slice(start, min(members, start + _BLOCK))
                found = squares[block, None] + squares - 2 * points[block] @ points.T
                found[tree[block, None] != tree] = 2.0
                for row, values in enumerate(np.maximum(found, 0.0), start):
                    stream.write(values[row + 1 :].tobytes())


def edge_odds(parent: Ints, tree: Preorder, rng: np.random.Generator) -> NDArray[np.float64]:
    """(n,) by place: drawn log-odds that the one above is the parent, nearly all of them right."""
    right = parent[tree.order] == tree.order[tree.parent]
    odds: NDArray[np.float64] = np.where(right, 1.0, -1.0) + 0.25 * rng.standard_normal(len(right))
    odds[0] = 0.0
    return odds


def rooted(parent: Ints, edges: Ints, label: NDArray[np.int32], clock: Clock) -> list[Preorder]:
    """Every part's tree, seen from the root that the evidence of all its edges is for."""
    rng = np.random.default_rng(0)
    found = []
    part = label[edges[:, 0]]
    order = np.argsort(part, kind="stable")
    bounds = np.searchsorted(part[order], np.arange(label.max() + 2))
    firsts = np.unique(label, return_index=True)[1]
    for number, first in enumerate(firsts.tolist()):
        own = edges[order[bounds[number] : bounds[number + 1]]]
        if not len(own):
            continue
        tree = preorder(len(label), own, first)
        logits = -tree.above(edge_odds(parent, tree, rng))  # a root farther down turns the edges above it
        found.append(preorder(len(label), own, int(tree.order[logits.argmax()])))
    clock.stop("rooting")
    return found


def right(parent: Ints, trees: Sequence[Preorder]) -> str:
    """How many of the true edges were found."""
    found = sum(int((parent[tree.order[1:]] == tree.order[tree.parent[1:]]).sum()) for tree in trees)
    roots = sum(int(tree.order[0]) < _TREES for tree in trees)
    return f"{found / int((parent >= 0).sum()):.4f} of the true edges, {roots} of {len(trees)} roots right"


def dense(folder: Path, members: int, seed: int) -> tuple[Clock, str]:
    """All pairs of every layer, from their files."""
    parent, clock = parents(members, seed), Clock()
    files = sorted(folder.glob("*.f4"))
    total = square(summed(np.fromfile(file, dtype=np.float32) for file in files), members)
    clock.stop("summing layers")
    edges = dense_tree(relative(total, np.full(members, float(len(files)))))
    low = edges[:, 0], edges[:, 1]
    label = parts(members, edges[total[low] < THRESHOLD**2 * 2 * len(files)])
    clock.stop("clusters")
    total[label[:, None] != label] = np.inf
    edges = dense_tree(total)
    clock.stop("skeletons")
    trees = rooted(parent, edges, label, clock)
    margins = [dense_replacements(total, tree) for tree in trees]
    clock.stop("margins")
    values = at_pairs((np.fromfile(file, dtype=np.float32) for file in files), members, edges)
    clock.stop("layers at edges")
    assert values.shape == (len(files), len(edges))
    assert all(np.isfinite(margin[1:]).any() for margin in margins)
    return clock, right(parent, trees)


def candidates(parent: Ints, each: int, seed: int) -> tuple[Ints, NDArray[np.float32]]:
    """(n * each, 2) pairs and their squared distances: of every member its parent, and members near that."""
    rng = np.random.default_rng(seed)
    members = len(parent)
    points = steps(parent, seed + 1, _DIMENSIONS)
    by_parent = np.argsort(parent, kind="stable")
    start, stop = (np.searchsorted(parent[by_parent], parent, side=side) for side in ("left", "right"))
    siblings = by_parent[start[:, None] + (rng.random((members, each - 1)) * (stop - start)[:, None]).astype(np.intp)]
    near = np.column_stack([np.where(parent < 0, np.arange(members), parent), siblings])
    pairs = np.column_stack([np.repeat(np.arange(members), each), near.ravel()])
    pairs = pairs[(pairs[:, 0] != pairs[:, 1]) & (parent[pairs[:, 0]] >= 0)]
    cost = np.empty(len(pairs), dtype=np.float32)
    for first in range(0, len(pairs), 1 << 17):
        block = pairs[first : first + (1 << 17)]
        cost[first : first + len(block)] = ((points[block[:, 0]] - points[block[:, 1]]) ** 2).sum(axis=1)
    return pairs.astype(np.intp), cost


def sparse(folder: Path, members: int, seed: int) -> tuple[Clock, str]:
    """A few candidates of every member, from a file."""
    parent, clock = parents(members, seed), Clock()
    stored = np.load(folder / "pairs.npy"), np.load(folder / "cost.npy")
    pairs, cost = stored
    clock.stop("reading")
    near = np.flatnonzero(cost < THRESHOLD**2 * 2)
    label = parts(members, pairs[near])
    clock.stop("clusters")
    edges = pairs[near[sparse_tree(members, pairs[near], cost[near])]]
    clock.stop("skeletons")
    trees = rooted(parent, edges, label, clock)
    for tree in trees:
        sparse_replacements(pairs[near], cost[near], tree)
    clock.stop("margins")
    return clock, right(parent, trees)


def main() -> int:
    """Make the families, and time each in a process of its own."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dense", type=int, default=10_000, metavar="MEMBERS")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--sparse", type=int, default=100_000, metavar="MEMBERS")
    parser.add_argument("--candidates", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timed", nargs=2, metavar=("HALF", "DIR"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.timed:
        half, folder = asked.timed
        work = dense if half == "dense" else sparse
        clock, found = work(Path(folder), getattr(asked, half), asked.seed)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        stages = ", ".join(f"{stage} {taken:.1f}" for stage, taken in clock.seconds.items())
        print(f"{half}, {getattr(asked, half)} members: {sum(clock.seconds.values()):.1f} s ({stages})")
        print(f"  {peak / GIB:.2f} GiB at the most; {found}")
        return 0
    print(machine())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for half in ("dense", "sparse"):
            if half == "dense":
                write_layers(folder, asked.dense, asked.layers, asked.seed)
            else:
                pairs, cost = candidates(parents(asked.sparse, asked.seed), asked.candidates, asked.seed)
                np.save(folder / "pairs.npy", pairs)
                np.save(folder / "cost.npy", cost)
            again = [f"--{name}={getattr(asked, name)}" for name in ("dense", "layers", "sparse", "seed")]
            command = [sys.executable, "-m", "benchmarks.scale", *again, "--timed", half, scratch]
            subprocess.run(command, check=True)  # noqa: S603  # ourselves
    return 0


if __name__ == "__main__":
    sys.exit(main())
