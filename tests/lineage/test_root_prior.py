"""What speaks against a root before any edge does."""

from __future__ import annotations

import builders
import numpy as np

from lineage.family import Layer, LayerKind
from lineage.root_prior import PRUNED, YOUNGER, root_prior

LAYERS = (Layer("q", (16, 16), LayerKind.TRUNK), Layer("head", (4, 16), LayerKind.HEAD))


def test_pruned_members_and_younger_neighbours_are_less_likely_roots() -> None:
    rng = np.random.default_rng(0)
    models = [{layer.name: rng.normal(size=layer.shape) for layer in LAYERS} for _ in range(4)]
    models[1]["q"][np.abs(models[1]["q"]) < 0.6] = 0
    models[2]["head"][:] = 0  # heads are not asked
    measures = builders.measured(models, LAYERS)
    assert root_prior(measures, [0, 1, 2], [], {}) == {0: 0.0, 1: -PRUNED, 2: 0.0}
    dated = root_prior(measures, [0, 1, 3], [(0, 1), (3, 0)], {0: 50.0, 1: 10.0, 3: 50.0})
    assert dated == {0: -YOUNGER, 1: -PRUNED, 3: 0.0}
