"""How likely what `lineage.phylogeny` gives is true: learnt from zoos by `python -m benchmarks.phylogeny_odds`.

The publication states no probability. Clusterings differ in how many of the pairs that they give are adjacent, and a
drawn initialisation tells directions worse than the centroid does, so that each has odds of its own.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lineage.initialisation import Scheme
from lineage.partition import Clustering

FILE = Path(__file__).with_name("phylogeny_odds.json")
DRAWN, CENTROID = "drawn", "centroid"


@dataclass(frozen=True)
class Odds:
    """Log-odds of direction by steadiness over layers, and log-odds of adjacency."""

    direction: float
    adjacency: float


def odds(clustering: Clustering, scheme: Scheme) -> Odds:
    """The odds of a clustering, joined with this initialisation."""
    return _table()[clustering.value, CENTROID if scheme is Scheme.CENTROID else DRAWN]


@cache
def _table() -> dict[tuple[str, str], Odds]:
    told = json.loads(FILE.read_text())["odds"]
    return {(clustering, kind): Odds(**one) for clustering, kinds in told.items() for kind, one in kinds.items()}
