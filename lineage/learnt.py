"""What was learnt from zoos: the weights of the evidence. `python -m benchmarks.learn` makes the file anew."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("learnt.json")


@dataclass(frozen=True)
class Learnt:
    """Weights, and the zoos that they were learnt from, on which nothing may be reported."""

    direction: dict[str, float]  # per score of lineage/direction.py
    adjacency_offset: float  # log-odds that a skeleton's edge is true, at no margin ...
    adjacency_slope: float  # ... and what each unit of its log margin adds
    zoos: tuple[str, ...]


@cache
def learnt() -> Learnt:
    """The weights in force."""
    content = json.loads(FILE.read_text())
    adjacency = content["adjacency"]
    return Learnt(content["direction"], adjacency["offset"], adjacency["slope"], tuple(content["provenance"]["zoos"]))
