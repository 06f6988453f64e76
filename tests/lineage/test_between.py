"""What norms say of an edge: whose step it was, or that both ends took one."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from numpy.typing import NDArray

from lineage.between import CLEAR, CLEAREST, betweenness, norm_growth, told_between
from lineage.family import FamilyMeasures, Layer, LayerKind

Model = dict[str, NDArray[np.float64]]
SHAPES = ((40, 50), (100, 30), (64, 64), (20, 20), (80, 60))
LAYERS = tuple(Layer(f"w{n}", shape, LayerKind.TRUNK) for n, shape in enumerate(SHAPES))
PAIR = np.array([(0, 1)])


def start(rng: np.random.Generator) -> Model:
    return {layer.name: rng.uniform(0.5, 2) * rng.normal(size=layer.shape) for layer in LAYERS}


def step(rng: np.random.Generator, model: Model, size: float, decay: float = 0.0) -> Model:
    return {name: (1 - decay) * one + size * rng.normal(size=one.shape) for name, one in model.items()}


def measures(*models: Model) -> FamilyMeasures:
    return builders.measured(models, LAYERS)


@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(4))
def test_a_childs_norms_grow_by_its_squared_distance_whatever_decay_took(seed: int, decay: float) -> None:
    rng = np.random.default_rng(seed)
    parent = start(rng)
    family = measures(parent, step(rng, parent, 0.5, decay))
    growth, error = norm_growth(family, PAIR)
    assert abs(growth[0] - 1) < 3.5 * error[0] + decay
    back, same = norm_growth(family, PAIR[:, ::-1])
    assert back == pytest.approx(-growth)
    assert same == pytest.approx(error)
    assert betweenness(family, PAIR)[0] < 2


@pytest.mark.parametrize("seed", range(4))
def test_between_siblings_growth_is_that_of_the_difference_of_their_steps(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = start(rng)
    family = measures(step(rng, parent, 0.5), step(rng, parent, 0.5), step(rng, parent, 1.0))
    growth, error = norm_growth(family, np.array([(0, 1), (0, 2)]))
    assert np.all(np.abs(growth - [0.0, 0.6]) < 3.5 * error)
    found = betweenness(family, np.array([(0, 1), (0, 2)]))
    assert CLEAR < found[0] <= CLEAREST
    assert found[1] < CLEAR


def test_nothing_is_said_of_sparse_models_of_few_layers_and_of_equal_ones() -> None:
    rng = np.random.default_rng(0)
    parent = start(rng)
    pruned = {name: np.where(np.abs(one) < 0.3, 0.0, one) for name, one in parent.items()}
    assert np.isnan(betweenness(measures(pruned, step(rng, parent, 0.5)), PAIR)).all()
    assert np.isnan(betweenness(measures(parent, parent), PAIR)).all()
    family = builders.measured([parent, step(rng, parent, 0.5)], LAYERS[:3])
    assert np.isnan(betweenness(family, PAIR)).all()
    assert betweenness(family, np.zeros((0, 2), dtype=np.intp)).shape == (0,)


def on_a_sphere(rng: np.random.Generator, model: Model, length: float) -> Model:
    """A step along the sphere of each layer, as of weights whose scale normalisation takes away."""
    moved: Model = {}
    for place, (name, one) in enumerate(model.items()):
        size = length * (0.5 + place / 4) * np.linalg.norm(one) / np.sqrt(one.size)
        away = one + size * rng.normal(size=one.shape)
        moved[name] = away * (np.linalg.norm(one) / np.linalg.norm(away))
    return moved


def test_a_short_step_that_leans_is_no_step_between_siblings_and_a_long_one_is() -> None:
    rng = np.random.default_rng(0)
    parent = start(rng)
    family = measures(parent, on_a_sphere(rng, parent, 0.1), on_a_sphere(rng, parent, 0.6))
    pairs = np.array([(0, 1), (0, 2)])
    growth, error = norm_growth(family, pairs)
    assert np.all(np.abs(growth) < 2 * error + 0.05)
    short, long = betweenness(family, pairs)
    assert short < 0.75 * CLEAR
    assert long > CLEAR


def test_of_networks_with_batch_normalisation_only_what_is_clear_is_told() -> None:
    rng = np.random.default_rng(1)
    parent = start(rng)
    models = [step(rng, parent, 0.5), step(rng, parent, 0.5)]
    models.append(step(rng, models[0], 0.2))
    edges = [(0, 1), (0, 2)]
    found = told_between(measures(*models), edges)
    assert found[1] < CLEAR <= found[0]
    statistics = Layer("running_var", (8,), LayerKind.BUFFER)
    normalised = [{**one, "running_var": np.ones(8)} for one in models]
    told = told_between(builders.measured(normalised, (*LAYERS, statistics)), edges)
    assert told[0] == found[0]
    assert np.isnan(told[1])
