"""How a family is measured, and the version of what is measured."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lineage.rank import PROBES
from lineage.sketch import BUCKETS

METRIC_VERSION = 5


@dataclass(frozen=True)
class Options:
    """How to measure. Where memory is short for a layer, its ranks are left out and its slopes are taken from less.

    Where `sketches` names a folder, projections of large matrices are kept there for the ranks of later differences.
    New members of a family that has more than `exact_members` with them are measured exactly against their
    `exact_neighbours` nearest only.
    """

    memory: int = 1 << 30  # bytes, above the interpreter and torch
    device: str = "cpu"
    retry_failed: bool = False
    sketches: Path | None = None
    sketches_size: int = 50 << 30  # bytes
    probes: int = PROBES  # of a projection: ranks up to four fifths of it are told from full rank
    buckets: int = BUCKETS  # of the CountSketches of all layers of a family; a family keeps what it began with
    exact_members: int = 256
    exact_neighbours: int = 16
