"""Ranks of merged LoRA differences, found exactly and fast: `python -m benchmarks.ranks`.

Prints Markdown rows. First, for children of known rank in three formats and three shapes, what `lineage.rank` finds
from projections and from the whole difference, beside numpy's default tolerance. Then the time for a 4096 x 4096
difference against `torch.linalg.svdvals` of it, on the same threads: from kept projections (which is what any pair
after the first costs), with the projections of both matrices to be taken first, and from the whole difference.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from lineage import rank
from lineage.projection import Probes, Projection, projected_rank, row_noise

FORMATS = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
SHAPES = ((1024, 1024), (768, 3072), (3072, 768))
RANKS = (4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Stored:
    """A matrix as it is stored, and its projection."""

    values: torch.Tensor
    dtype: str
    projection: Projection

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.values.shape[0], self.values.shape[1]


def store(values: torch.Tensor, dtype: str) -> Stored:
    """Round to the format and project."""
    kept = values.to(FORMATS[dtype])
    return Stored(kept, dtype, project(kept, dtype))


def project(kept: torch.Tensor, dtype: str) -> Projection:
    """As measuring does it while the matrix passes."""
    columns = kept.shape[1]
    probes = Probes(columns)
    step = max(1, (1 << 18) // columns) * columns
    flat = kept.reshape(-1)
    pieces = [probes.project(flat[first : first + step], dtype, first) for first in range(0, len(flat), step)]
    values = torch.cat([piece.values for piece in pieces]).float().numpy()
    powers = np.concatenate([piece.powers for piece in pieces])
    bits = rank.significand(int(np.bitwise_or.reduce([piece.mantissas for piece in pieces])), dtype)
    noise = row_noise(powers, columns, bits)
    return Projection(lambda first, stop: values[first:stop], noise, columns, probes.count, bits)


def low_rank(generator: torch.Generator, shape: tuple[int, int], of: int, share: float, norm: float) -> torch.Tensor:
    """A product of that rank with `share` of the norm of a matrix."""
    delta = torch.randn((shape[0], of), generator=generator) @ torch.randn((of, shape[1]), generator=generator)
    return delta * (share * norm / float(delta.norm()))


def from_projections(one: Stored, other: Stored) -> int:
    """What is found from projections."""
    return projected_rank(one.projection, other.projection, one.shape)


def from_whole(one: Stored, other: Stored) -> int:
    """What is found from the matrices."""
    error = math.hypot(rank.rounding(one.values, one.dtype), rank.rounding(other.values, other.dtype))
    return rank.numerical_rank(one.values.double() - other.values.double(), error)


def by_numpy(one: Stored, other: Stored) -> int:
    """What numpy's default tolerance for float32 gives."""
    return int(np.linalg.matrix_rank(one.values.float().numpy() - other.values.float().numpy()))


def exactness(share: float, seeds: int) -> None:
    """For every format and shape: how many true ranks are found exactly, and whether full changes come out as full."""
    ways: dict[str, Callable[[Stored, Stored], int]] = {"projections": from_projections, "whole": from_whole}
    print("| format | shape | pairs | true ranks | exact from projections | exact from the whole | full as full"
          " | numpy's default says |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    for dtype in FORMATS:
        for shape in SHAPES:
            right, full, pairs, wrong = dict.fromkeys(ways, 0), dict.fromkeys(ways, 0), 0, ""
            for seed in range(seeds):
                generator = torch.Generator().manual_seed(seed)
                parent = store(torch.randn(shape, generator=generator) * 0.02, dtype)
                norm = float(parent.values.double().norm())
                made = {
                    of: store(parent.values.float() + low_rank(generator, shape, of, share, norm), dtype)
                    for of in RANKS
                }
                asked = [(parent, made[of], of) for of in RANKS]
                asked += [(made[a], made[b], a + b) for a, b in ((4, 8), (16, 32), (32, 64), (8, 64))]
                twin = store(parent.values.float() + low_rank(generator, shape, 64, share, norm), dtype)
                asked.append((made[64], twin, 128))
                change = torch.randn(shape, generator=generator) * (share * norm / math.sqrt(math.prod(shape)))
                trained = store(parent.values.float() + change, dtype)
                pairs += len(asked)
                for name, way in ways.items():
                    right[name] += sum(way(one, other) == of for one, other, of in asked)
                    full[name] += way(parent, trained) == min(shape)
                if not wrong:
                    wrong = ", ".join(f"{by_numpy(one, other)} for {of}" for one, other, of in asked[:5:2])
            both = f"{full['projections']} and {full['whole']} of {seeds}"
            print(f"| {dtype} | {shape[0]} x {shape[1]} | {pairs} | 4 to 64, sums 12 to 128 | {right['projections']}"
                  f" | {right['whole']} | {both} | {wrong} |", flush=True)  # fmt: skip


def speed(size: int, repeats: int) -> bool:
    """Time one difference each way; whether kept projections are 50 times as fast as all singular values."""
    generator = torch.Generator().manual_seed(0)
    shape = (size, size)
    parent = store(torch.randn(shape, generator=generator) * 0.02, "BF16")
    norm = float(parent.values.double().norm())
    child = store(parent.values.float() + low_rank(generator, shape, 16, 0.02, norm), "BF16")
    difference = child.values.float() - parent.values.float()
    start = time.perf_counter()
    values = torch.linalg.svdvals(difference)
    slow = time.perf_counter() - start
    print(f"\n{size} x {size}, bfloat16, true rank 16, {torch.get_num_threads()} threads, load"
          f" {os.getloadavg()[0]:.1f}; svdvals of the float32 difference: {slow:.1f} s, once\n")  # fmt: skip
    print("| way | rank | seconds: median (least - most) | times as fast as svdvals |\n|---|---|---|---|")
    tolerance = float(values[0]) * size * torch.finfo(torch.float32).eps
    print(f"| svdvals, numpy's default tolerance | {int((values > tolerance).sum())} | {slow:.2f} | 1 |")
    ways: dict[str, Callable[[], int]] = {
        "kept projections": lambda: from_projections(parent, child),
        "two projections taken first": lambda: projected_rank(
            project(parent.values, "BF16"), project(child.values, "BF16"), shape
        ),
        "the whole difference": lambda: from_whole(parent, child),
    }
    ratios = {}
    for name, way in ways.items():
        way()  # draws the probes
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            found = way()
            times.append(time.perf_counter() - start)
        ratios[name] = slow / statistics.median(times)
        print(f"| {name} | {found} | {statistics.median(times):.3f} ({min(times):.3f} - {max(times):.3f})"
              f" | {ratios[name]:.0f} |", flush=True)  # fmt: skip
    return ratios["kept projections"] >= 50


def main() -> int:
    """Run both; the exit code is 1 where a figure is below its aim."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--share", type=float, default=0.03, help="norm of a change over the matrix's")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", type=int, default=4096, help="side of the matrix that is timed")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, help="torch's threads; as many as it takes by default")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.seeds:
        print(f"changes of {options.share} of the norm, {options.seeds} seeds\n")
        exactness(options.share, options.seeds)
    return 0 if speed(options.size, options.repeats) else 1


if __name__ == "__main__":
    sys.exit(main())
