"""What it costs to infer a family in pieces, on zoos that are small enough to be inferred whole as well.

    python -m benchmarks.pieces ZOO ... --keep DIR [--piece 24]

Of each zoo: true edges found whole and in pieces of so many members, edges that both state, how much their confidence
differs, and how many are decided. Real pieces have 256 members, so these are harder; take a size that cuts the trees.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from benchmarks.recovery_methods import Answer, recover
from benchmarks.recovery_scores import scored
from benchmarks.recovery_zoos import measured, open_zoo, truth_of
from lineage.parameters import Parameters


def line(name: str, whole: Answer, cut: Answer, right: tuple[float, float]) -> str:
    """One zoo's figures."""
    one, other = ({edge.pair: edge for edge in answer.edges} for answer in (whole, cut))
    both = one.keys() & other.keys()
    apart = [abs(one[pair].confidence - other[pair].confidence) for pair in both]
    decided = " and ".join(str(sum(edge.decided for edge in edges.values())) for edges in (one, other))
    return (
        f"{name}: directed edges {right[0]:.3f} whole, {right[1]:.3f} in pieces; {len(both)} of {len(one)} edges "
        f"alike, confidence {np.mean(apart or [0.0]):.3f} apart on average; decided {decided}"
    )


def main() -> int:
    """Infer every zoo twice."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pieces", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="+", metavar="ZOO")
    parser.add_argument("--keep", type=Path, required=True, metavar="DIR", help="measures are kept or taken from here")
    parser.add_argument("--piece", type=int, default=24, help="members of a piece (24)")
    asked = parser.parse_args()
    for folder in asked.folders:
        zoo = open_zoo(folder)
        truth, families = truth_of(zoo), measured(zoo, asked.keep)
        whole = recover(families, Parameters(merges=0))
        cut = recover(families, Parameters(merges=0, whole=2, piece=asked.piece))
        right = scored(whole, truth).directed, scored(cut, truth).directed
        print(line(zoo.name, whole, cut, right), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
