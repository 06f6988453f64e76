"""All that steers an inference, by which runs are told apart."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from lineage import mother
from lineage.cluster import THRESHOLD
from lineage.initialisation import Scheme
from lineage.mother import Metric
from lineage.partition import Clustering


@dataclass(frozen=True)
class Parameters:
    """All that steers an inference; stored with the run."""

    method: str = "recover"  # or "mother", "phylogeny" or "detector"
    threshold: float = THRESHOLD  # relative distance below which models are related
    decide: float = 0.5  # confidence from which on an edge counts as decided
    decide_direction: float = 0.7  # and the probability of its direction, whose better half is never below 0.5
    merges: int = 1000  # the most members of a family among which merges are sought; 0: none are
    whole: int = 1000  # the most members of a family that is inferred at once; a larger one is in pieces
    piece: int = 256  # members of such a piece
    metric: str = Metric.FINE_TUNE.value  # of the paper's method
    c: float = mother.PENALTY  # of the paper's method
    trees: int | None = None  # of the paper's method and of phylogeny; None: as many as the threshold gives
    clustering: str = Clustering.KMEANS.value  # of phylogeny
    initialisation: str = Scheme.ARCHITECTURE.value  # of phylogeny
    detector: bool = False  # whether recover asks the learned detector for directions

    def relevant(self) -> dict[str, object]:
        """The parameters that the method uses, fit for JSON; `detector` only where it is on, as it came later."""
        told = {name: value for name, value in asdict(self).items() if self.method in _USED_BY.get(name, METHODS)}
        return {name: value for name, value in told.items() if name != "detector" or value}


METHODS = ("recover", "mother", "phylogeny", "detector")
_USED_BY = {  # what is not here, all of them use
    "decide": ("recover", "phylogeny", "detector"),
    "decide_direction": ("recover", "phylogeny", "detector"),
    "merges": ("recover",),
    "whole": ("recover",),
    "piece": ("recover",),
    "metric": ("mother",),
    "c": ("mother",),
    "trees": ("mother", "phylogeny"),
    "clustering": ("phylogeny",),
    "initialisation": ("phylogeny",),
    "detector": ("recover",),
}
