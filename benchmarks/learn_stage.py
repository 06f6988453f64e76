"""Learns which stage made a child (lineage/stage.py) from the true edges of zoos; both stages count alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks.recovery_zoos import Family
from lineage.learnt import StageWeights
from lineage.stage import stage_probabilities, stage_signs

PENALTY = 1e-3  # on the squared weights
LIKELIER = 0.5
TRAINED = ("finetune", "lora", "continued")

Staged = tuple[NDArray[np.float64], NDArray[np.bool_]]  # signs (e, 4), and which edges are generalisation


def staged(models: Mapping[str, Mapping[str, Any]], families: Sequence[Family]) -> Staged:
    """The signs and stages of a zoo's edges to models that were trained from one other."""
    signs, stages = [np.zeros((0, 4))], []
    for measures, names in families:
        place = {name: index for index, name in enumerate(names)}
        edges = [
            (place[parent], place[name])
            for name in names
            if models[name]["relation"] in TRAINED
            for parent in models[name]["parents"]
            if parent in place
        ]
        signs.append(stage_signs(measures, edges))
        stages += [models[names[child]]["stage"] == "generalisation" for _, child in edges]
    return np.concatenate(signs), np.array(stages, dtype=bool)


def learn_stage(zoos: Sequence[Staged]) -> StageWeights:
    """The logistic regression; kurtosis may only rise, norms only shrink, vectors only spread and heads only stay."""
    signs = np.concatenate([signs for signs, _ in zoos])
    general = np.concatenate([stages for _, stages in zoos])
    share = np.where(general, 0.5 / max(general.sum(), 1), 0.5 / max((~general).sum(), 1))
    table = np.column_stack([np.ones(len(signs)), signs])

    def loss(weights: NDArray[np.float64]) -> float:
        logits = table @ weights
        return float(share @ (np.logaddexp(0, logits) - general * logits)) + PENALTY * float(weights[1:] @ weights[1:])

    bounds = [(None, None), (0.0, None), (None, 0.0), (0.0, None), (0.0, None)]
    offset, *weights = (round(float(value), 4) for value in minimize(loss, np.zeros(5), bounds=bounds).x)
    return StageWeights(offset, tuple(weights))


def stages_left_out(zoos: Mapping[str, Staged], kinds: Mapping[str, str]) -> str:
    """Share of each zoo's edges whose likelier stage is the true one, by what was learnt without it.

    Nor from zoos of its architecture (`kinds`), as long as both stages are left to learn from.
    """
    right = {}
    for name, (signs, stages) in zoos.items():
        if not len(stages):
            continue
        others = {key: zoo for key, zoo in zoos.items() if key != name}
        apart = [zoo for key, zoo in others.items() if kinds[key] != kinds[name]]
        taught = apart if len({bool(one) for _, told in apart for one in told}) > 1 else list(others.values())
        right[name] = float(np.mean((stage_probabilities(signs, learn_stage(taught)) >= LIKELIER) == stages))
    return ", ".join(f"{name} {share:.3f}" for name, share in right.items())


def stages_right(zoos: Mapping[str, Staged], weights: StageWeights) -> str:
    """Share of each zoo's edges whose likelier stage is the true one."""
    right = {
        name: float(np.mean((stage_probabilities(signs, weights) >= LIKELIER) == stages))
        for name, (signs, stages) in zoos.items()
        if len(stages)
    }
    return ", ".join(f"{name} {share:.3f}" for name, share in right.items())
