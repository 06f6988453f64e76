"""How the cost of measuring grows with the number of models and of parameters.

    python -m benchmarks.growth [--repeat 3]

Measured from memory, so that no disk is in the figures, without ranks: processor seconds of all threads. Growth laws
are fitted by non-negative least squares: over models t = a + b N + c N^2 (a layer's own cost; what every model costs:
reading, moments, hash; what every pair costs: Gram matrix and slopes), over parameters t = a + b P.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import torch
from scipy.optimize import nnls

from benchmarks import families
from lineage.family import Layer, LayerKind
from lineage.layer import measure_layer
from lineage.stored_tensor import StoredTensor
from lineage.stream import layer_stream

MEMORY = 1 << 30
SIDE = 1_024
MODELS = (4, 8, 16, 32, 64, 128, 256)
SIDES = (256, 512, 1_024, 2_048, 4_096)
FEW = 8


def main() -> int:
    """Print both tables and both laws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--models", type=int, nargs="+", default=MODELS)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES)
    arguments = parser.parse_args()
    print(f"float32, {families.machine()}")
    print(f"| models, a layer of {SIDE} x {SIDE} | processor seconds | ns per number | ns per number and model |")
    print("|---|---|---|---|")
    times = [_line(models, models * SIDE**2, arguments.repeat, models, SIDE) for models in arguments.models]
    _law("N", np.array(arguments.models, dtype=float), np.array(times), 2)
    print(f"| parameters, {FEW} models | processor seconds | ns per number | ns per number and model |")
    print("|---|---|---|---|")
    times = [_line(side**2, FEW * side**2, arguments.repeat, FEW, side) for side in arguments.sides]
    _law("P", np.array(arguments.sides, dtype=float) ** 2, np.array(times), 1)
    return 0


def _line(shown: int, numbers: int, repeat: int, models: int, side: int) -> float:
    seconds = sorted(layer_seconds(models, side) for _ in range(repeat))
    least = seconds[0]
    print(f"| {shown:,} | {families.spread(seconds, '.3f')} | {least / numbers * 1e9:.2f} |"
          f" {least / numbers / models * 1e9:.3f} |", flush=True)  # fmt: skip
    return least


def layer_seconds(models: int, side: int) -> float:
    """Processor seconds for one layer of so many models, from memory."""
    random = torch.Generator().manual_seed(models)
    root = torch.randn(side, side, generator=random)
    noise = torch.randn(side * side + models * 1_000, generator=random)
    children = [root + 1e-3 * noise[n * 1_000 :][: side * side].view(side, side) for n in range(models)]
    files = [memoryview(child.numpy().data).cast("B") for child in children]

    def read(member: int, tensor: StoredTensor, start: int, buffer: memoryview) -> bool:  # noqa: ARG001  # a Reader
        buffer[:] = files[member][start : start + len(buffer)]
        return True

    places = [StoredTensor("f", "w", "F32", 0, side * side * 4)] * models
    with layer_stream(read) as stream:
        start = time.process_time()
        measure_layer(stream, Layer("w", (side, side), LayerKind.TRUNK), places, models, MEMORY, with_ranks=False)
        return time.process_time() - start


def _law(name: str, sizes: np.ndarray, times: np.ndarray, degree: int) -> None:
    """Print the law that fits best relative to the times."""
    powers = sizes[:, None] ** np.arange(degree + 1)
    found, _ = nnls(powers / times[:, None], np.ones(len(times)))
    worst = np.abs(powers @ found / times - 1).max()
    terms = " + ".join(f"{value:.2e} {name}^{power}" for power, value in enumerate(found))
    steepness = np.polyfit(np.log(sizes[len(sizes) // 2 :]), np.log(times[len(sizes) // 2 :]), 1)[0]
    print(f"t = {terms} seconds (within {worst:.0%}); the upper half grows as {name}^{steepness:.2f}\n")


if __name__ == "__main__":
    sys.exit(main())
