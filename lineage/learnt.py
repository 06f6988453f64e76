"""What was learnt from zoos: the weights of the evidence. `python -m benchmarks.learn` makes the file anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("learnt.json")


@dataclass(frozen=True)
class AdjacencyWeights:
    """Of the log-odds that a skeleton's edge is true, see `lineage.adjacency.Signs`."""

    offset: float
    angle: float  # of the log of the largest |cosine|
    acute: float  # of the log of the largest cosine above 0: an obtuse angle says more than an acute one
    elsewhere: float  # of the mean log of the other edges' largest |cosine|
    beside: float  # of the log of the shortest steps at its ends over its own length
    usual_angle: float  # those logs where an edge has no others beside it: the means over the zoos
    usual_acute: float
    usual_elsewhere: float
    copy: float  # share of copies that were made from whom they are given
    rarity: float  # added to the log-odds that a parent is absent: in zoos as they are fewer are than where these were
    # learnt, with every tree once as it is and once without its root
    clear: float  # share of true edges among those between siblings that norms alone tell


@dataclass(frozen=True)
class AbsentWeights:
    """Of the log-odds that the common parent of a group is absent, see `lineage.absent.Group`."""

    offset: float
    acute: float  # of the log of the mean cosine
    usual: float  # of the log of the cosines elsewhere in the tree
    margin: float  # of the log of the largest margin
    between: float  # of what norms say
    usual_cosine: float  # that log where a tree has no other angles: the mean over the zoos


@dataclass(frozen=True)
class StageWeights:
    """Of the log-odds that a child was made by continued pre-training, see `lineage.stage`."""

    offset: float
    signs: tuple[float, ...]  # of the four of `lineage.stage.stage_signs`


@dataclass(frozen=True)
class Learnt:
    """Weights, and the zoos that they were learnt from, on which nothing may be reported."""

    direction: dict[str, float]  # per score of lineage/direction.py
    adjacency: AdjacencyWeights
    absent: AbsentWeights
    stage: StageWeights
    uneven: float  # of how uneven a tree's steps are, see `lineage.uneven.sureness`
    zoos: tuple[str, ...]


_INSTEAD: ContextVar[Learnt | None] = ContextVar("weights", default=None)


def learnt() -> Learnt:
    """The weights in force: the shipped ones, unless `in_force` says otherwise."""
    return _INSTEAD.get() or shipped()


@contextmanager
def in_force(weights: Learnt) -> Iterator[None]:
    """Let other weights be in force, as to judge some that have not seen what they are judged on."""
    before = _INSTEAD.set(weights)
    try:
        yield
    finally:
        _INSTEAD.reset(before)


@cache
def shipped() -> Learnt:
    """The weights of `FILE`."""
    content = json.loads(FILE.read_text())
    adjacency = AdjacencyWeights(**content["adjacency"])
    absent = AbsentWeights(**content["absent"])
    stage = StageWeights(content["stage"]["offset"], tuple(content["stage"]["signs"]))
    named = ("zoos", "edge_zoos", "absent_zoos", "stage_zoos")
    zoos = dict.fromkeys(zoo for name in named for zoo in content["provenance"].get(name, ()))
    return Learnt(content["direction"], adjacency, absent, stage, content["uneven"], tuple(zoos))
