"""What steers an inference, from what was said on the command line."""

from __future__ import annotations

from dataclasses import replace

from db.errors import UsageError
from lineage.mother import Metric
from lineage.recover import Parameters


def parameters(
    method: str, metric: Metric, trees: int | None, decide: float | None, decide_direction: float | None
) -> Parameters:
    """Raises UsageError for an unknown method, and for an option that the method does not know."""
    if method not in {"recover", "mother"}:
        raise UsageError(f"--method {method}: expected recover or mother")
    if method == "recover" and (trees is not None or metric is not Metric.FINE_TUNE):
        raise UsageError("--trees and --metric steer the paper's method: add --method mother")
    if method == "mother" and (decide is not None or decide_direction is not None):
        raise UsageError("--decide and --decide-direction need probabilities, which the paper's method does not give")
    usual = Parameters(method=method, metric=metric.value, trees=trees)
    return replace(
        usual,
        decide=usual.decide if decide is None else decide,
        decide_direction=usual.decide_direction if decide_direction is None else decide_direction,
    )
