"""What steers measuring and inference, from the settings and what was said on the command line."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from db.errors import UsageError
from hublineage.job import choose_device
from hublineage.settings_values import parse_memory, parse_size
from lineage.measure_options import Options
from lineage.mother import Metric
from lineage.parameters import METHODS, Parameters
from lineage.partition import Clustering

if TYPE_CHECKING:
    from hublineage.settings import Settings


def measuring(settings: Settings, *, retry_failed: bool = False) -> Options:
    """How to measure. Raises UsageError for sizes that are none, and a device that is not there."""
    try:
        memory, kept = parse_memory(settings.memory), parse_size(settings.cache_size)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return Options(
        memory,
        choose_device(settings.device),
        retry_failed,
        sketches=settings.cache / "sketches" if settings.cache is not None else None,
        sketches_size=kept // 4,
        exact_members=settings.exact_members,
        exact_neighbours=settings.exact_neighbours,
    )


def inferring(settings: Settings) -> Parameters:
    """How the queue infers. Raises UsageError for what does not go together."""
    said = settings.infer
    try:
        return parameters(
            said.method,
            said.metric,
            said.trees,
            said.decide,
            said.decide_direction,
            said.clustering,
            said.initialisation,
            detector=said.detector,
        )
    except UsageError as error:
        raise UsageError(f"[infer] of the settings, as options of `hublineage infer`: {error.detail}") from error


def parameters(
    method: str,
    metric: str,
    trees: int | None,
    decide: float | None,
    decide_direction: float | None,
    clustering: str | None = None,
    initialisation: str | None = None,
    *,
    detector: bool = False,
) -> Parameters:
    """Raises UsageError for an unknown method, and for an option that the method does not know."""
    if method not in METHODS:
        raise UsageError(f"--method {method}: expected recover, mother, phylogeny or detector")
    if method == "recover" and (trees is not None or metric != Metric.FINE_TUNE):
        raise UsageError("--trees and --metric steer the paper's method: add --method mother")
    if method == "detector" and (trees is not None or metric != Metric.FINE_TUNE):
        raise UsageError("--trees and --metric steer other methods: the detector finds the number of trees by itself")
    if method == "phylogeny" and metric != Metric.FINE_TUNE:
        raise UsageError("--metric steers the paper's method: add --method mother")
    if method != "phylogeny" and (clustering is not None or initialisation is not None):
        raise UsageError("--clustering and --initialisation steer the learning-free detectors: add --method phylogeny")
    if detector and method != "recover":
        raise UsageError("--detector lends recover the detector's evidence; --method detector asks it alone")
    if clustering == Clustering.DBSCAN and trees is not None:
        raise UsageError(
            "--trees: DBSCAN finds the number of groups by itself; leave it out or take another clustering"
        )
    if method == "mother" and (decide is not None or decide_direction is not None):
        raise UsageError("--decide and --decide-direction need probabilities, which the paper's method does not give")
    usual = Parameters(method=method, metric=metric, trees=trees)
    return replace(
        usual,
        clustering=usual.clustering if clustering is None else clustering,
        initialisation=usual.initialisation if initialisation is None else initialisation,
        detector=detector,
        decide=usual.decide if decide is None else decide,
        decide_direction=usual.decide_direction if decide_direction is None else decide_direction,
    )
