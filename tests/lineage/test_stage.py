"""Stages of training: what is learnt leans the way that theory has it, and edges say which one they are."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from numpy.typing import NDArray

from lineage.family import Layer, LayerKind
from lineage.learnt import StageWeights, learnt
from lineage.parameters import Parameters
from lineage.recover import heritage
from lineage.stage import EVIDENCE, generalisation, stage_probabilities, stage_signs

Model = dict[str, NDArray[np.float64]]
LAYERS = (
    *(Layer(f"w{n}", (30, 20 + 10 * n), LayerKind.TRUNK) for n in range(5)),
    *(Layer(f"b{n}", (30,), LayerKind.VECTOR) for n in range(5)),
    Layer("head", (4, 30), LayerKind.HEAD),
)


def parent(rng: np.random.Generator) -> Model:
    return {one.name: 0.1 * (1 + n) * rng.normal(size=one.shape) for n, one in enumerate(LAYERS)}


def continued(rng: np.random.Generator, model: Model) -> Model:
    """Decay, biases that spread, heavier tails, the same head."""
    made = {name: 0.9 * one + 0.01 * rng.standard_t(4, size=one.shape) for name, one in model.items()}
    return made | {name: 1.3 * one for name, one in model.items() if name.startswith("b")}


def tuned(rng: np.random.Generator, model: Model) -> Model:
    """A step at right angles and a new head; biases stay."""
    made = {name: one + 0.02 * rng.normal(size=one.shape) for name, one in model.items() if name.startswith("w")}
    return model | made | {"head": rng.normal(size=(4, 30))}


def test_continued_training_is_told_from_a_fine_tune() -> None:
    rng = np.random.default_rng(0)
    root = parent(rng)
    measures = builders.measured([root, continued(rng, root), tuned(rng, root)], LAYERS)
    signs = stage_signs(measures, [(0, 1), (0, 2)])
    assert signs[:, 3].tolist() == [1.0, -1.0]
    assert signs[0, 2] > 2
    first, second = generalisation(measures, [(0, 1), (0, 2)])
    assert first > 0.8
    assert second < 0.1


def test_a_head_that_a_vocabulary_has_says_nothing_when_it_is_kept() -> None:
    rng = np.random.default_rng(2)
    layers = (*LAYERS[:-1], Layer("lm_head.weight", (50, 30), LayerKind.HEAD))
    root = {one.name: rng.normal(size=one.shape) for one in layers}
    child = {name: one + 0.02 * rng.normal(size=one.shape) for name, one in root.items()}
    assert stage_signs(builders.measured([root, child], layers), [(0, 1)])[0, 3] == 0


def test_every_sign_leans_one_way_and_no_edges_have_no_stages() -> None:
    weights = learnt().stage
    assert np.sign(weights.signs).tolist() == [1.0, -1.0, 1.0, 1.0]
    assert stage_probabilities(np.zeros((1, 4)), StageWeights(0.0, (1.0, 1.0, 1.0, 1.0))) == pytest.approx(0.5)
    assert stage_signs(builders.measured([parent(np.random.default_rng(0))], LAYERS), []).shape == (0, 4)


def test_edges_of_a_tree_carry_their_stage() -> None:
    rng = np.random.default_rng(1)
    root = parent(rng)
    measures = builders.measured([root, *(tuned(rng, root) for _ in range(3))], LAYERS)
    (tree,) = heritage(measures, Parameters()).trees
    assert len(tree.edges) == 3
    assert all(0 <= edge.evidence[EVIDENCE] <= 1 for edge in tree.edges)
