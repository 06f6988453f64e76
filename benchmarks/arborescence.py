"""Our minimum directed spanning trees against networkx's, in one run.

    python -m benchmarks.arborescence [--sizes 100 1000 5000] [--networkx 100] [--repeat 3]

Dense graphs with uniform random costs; ours prices every root as well. networkx is asked up to a size that it can do.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from functools import partial

import networkx as nx
import numpy as np

from lineage.arborescence import minimum_arborescence


def seconds(work: Callable[[], object], repeat: int) -> list[float]:
    """The times that a piece of work takes."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return sorted(times)


def main() -> int:
    """Time both and print median and range."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--networkx", type=int, default=100, help="the largest size that networkx is asked")
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    rng = np.random.default_rng(0)
    for size in arguments.sizes:
        cost = rng.random((size, size))
        ours = seconds(partial(minimum_arborescence, cost), arguments.repeat)
        line = f"n = {size}: ours {_spread(ours)}"
        if size <= arguments.networkx:
            np.fill_diagonal(cost, 0)
            graph = nx.from_numpy_array(cost, create_using=nx.DiGraph)
            theirs = seconds(partial(nx.minimum_spanning_arborescence, graph), 1)
            line += f", networkx {_spread(theirs)}, ratio {theirs[0] / ours[len(ours) // 2]:.0f}"
        print(line)
    return 0


def _spread(times: list[float]) -> str:
    return f"{times[len(times) // 2]:.4f} s ({times[0]:.4f}-{times[-1]:.4f})"


if __name__ == "__main__":
    sys.exit(main())
