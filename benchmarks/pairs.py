"""All pairs of a family, layer by layer, against a loop over its pairs.

    python -m benchmarks.pairs [--members 105] [--blocks 1] [--sample 40] [--repeat 3]

The layers are those of ViT-B, of as many blocks as fit (one: 7.1 million parameters), in float32. The loop does what
one would write first: for each pair and each layer load both tensors, subtract, take the norm. It is timed on a sample
of pairs that is drawn anew for every round, with all of torch's threads, and scaled to all pairs. Ours reads every
model once and measures distances, moments, hashes and slopes, without ranks. Both read from the page cache.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from benchmarks import families
from benchmarks.streaming import Revision
from crawler.folder import FolderSource
from lineage.layer import measure_layer
from lineage.reading import MemberReader
from lineage.stream import layer_stream

MEMORY = 1 << 30
_AGREE = 1e-4  # what a float32 norm is worth beside ours


def main() -> int:
    """Run the benchmark; the exit code is 1 where the two do not agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=105)
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--sample", type=int, default=40, help="pairs that the loop is timed on")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where the family is written, and reused; default: a temporary one")
    arguments = parser.parse_args()
    own = arguments.folder is None
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="hublineage-pairs-"))
    try:
        family = families.write(folder, families.vision_transformer(arguments.blocks), arguments.members, "F32")
        return _compare(family, arguments.sample, arguments.repeat)
    finally:
        if own:
            shutil.rmtree(folder, ignore_errors=True)


def _compare(family: families.Family, sample: int, repeat: int) -> int:
    pairs = list(combinations(range(family.members), 2))
    size = family.size / families.GIB
    print(f"{family.members} members of {family.parameters:,} parameters, {size:.2f} GiB; {families.machine()}")
    loops, ours, ratios = [], [], []
    _ours(family)  # what was read once is in the page cache
    for number in range(repeat):
        chosen = random.Random(number).sample(pairs, min(sample, len(pairs)))  # noqa: S311  # no secret
        start = time.perf_counter()
        found = _loop(family, chosen)
        loops.append((time.perf_counter() - start) * len(pairs) / len(chosen))
        start = time.perf_counter()
        distances = _ours(family)
        ours.append(time.perf_counter() - start)
        ratios.append(loops[-1] / ours[-1])
        off = max(abs(np.sqrt(distances[pair]) / found[pair] - 1) for pair in chosen)
        if off > _AGREE:
            print(f"the two differ by {off:.1e}")
            return 1
    times = [families.spread(seconds, ".1f") for seconds in (loops, ours)]
    print(f"| {family.members} | {len(pairs):,} | {times[0]} s | {times[1]} s | {families.spread(ratios, '.1f')} |")
    return 0


def _loop(family: families.Family, pairs: list[tuple[int, int]]) -> dict[tuple[int, int], float]:
    """Distances over all layers of the pairs."""
    found = {}
    for one, another in pairs:
        squares = 0.0
        with safe_open(family.files[one], "pt") as a, safe_open(family.files[another], "pt") as b:
            for layer in family.layers:
                squares += float(torch.linalg.vector_norm(a.get_tensor(layer.name) - b.get_tensor(layer.name))) ** 2
        found[one, another] = squares**0.5
    return found


def _ours(family: families.Family) -> Any:
    """(members, members) squared distances, summed over the layers."""
    source = FolderSource(family.folder)
    revisions = [Revision(number, name, source.details(name).sha) for number, name in enumerate(family.names)]
    reader: MemberReader[Any] = MemberReader(source, ())
    total = np.zeros((family.members, family.members))
    with layer_stream(reader, request=source.request_bytes) as stream:
        for layer, place in zip(family.layers, family.places, strict=True):
            reader.begin(revisions)
            places = [place] * family.members
            total += measure_layer(stream, layer, places, family.members, MEMORY, with_ranks=False).squared_distance
    return total


if __name__ == "__main__":
    sys.exit(main())
