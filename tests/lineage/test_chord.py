"""Distances between members at one norm, in which decay is no step."""

from __future__ import annotations

from dataclasses import replace

import builders
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_copies import child, measured, pruned, root
from test_drift import drifting

from lineage.chord import norm_ratios, squared_chords, usual_norms
from lineage.drift import cosine
from lineage.family import FamilyMeasures, Layer, LayerKind
from lineage.forest import forest
from lineage.pair_store import AllPairs
from lineage.pruned import common_elements
from lineage.skeleton import skeleton, spanning_tree

LAYERS = tuple(Layer(f"w{n}", (50, 100), LayerKind.TRUNK) for n in range(4))
Values = NDArray[np.float64]


def family(models: list[Values]) -> FamilyMeasures:
    """Of models that are (4, 5000) numbers."""
    layers = [{one.name: part.reshape(one.shape) for one, part in zip(LAYERS, model, strict=True)} for model in models]
    return builders.measured(layers, LAYERS)


def chords(measures: FamilyMeasures, layer: int) -> Values:
    members = range(len(measures.members))
    usual = usual_norms(measures, members, measures.count > 0)
    ratios = norm_ratios(measures, members, usual)[layer]
    return squared_chords(measures, layer, members, common_elements(measures, layer, members), ratios)


def decayed(rng: np.random.Generator, model: Values, step: float) -> Values:
    """A child that lost up to a fifth of its parent, in each layer as much as in the others but for a little."""
    decay = rng.uniform(0, 0.2) * rng.uniform(0.8, 1, (len(model), 1))
    return (1 - decay) * model + step * rng.normal(size=model.shape)


@given(seed=st.integers(0, 2**32 - 1), members=st.integers(2, 5))
@settings(deadline=None, max_examples=20)
def test_chords_are_the_distances_of_models_brought_to_the_median_norm(seed: int, members: int) -> None:
    rng = np.random.default_rng(seed)
    models = [rng.uniform(0.5, 2) * rng.normal(size=(4, 5000)) for _ in range(members)]
    norms = np.linalg.norm(np.array(models), axis=2)
    levelled = np.array(models) / norms[..., None] * np.median(norms, axis=0)[:, None]
    measures = family(models)
    for layer in range(4):
        expected = np.square(levelled[:, None, layer] - levelled[None, :, layer]).sum(axis=2)
        np.testing.assert_allclose(chords(measures, layer), expected, rtol=1e-9, atol=1e-9)


def test_of_members_that_differ_by_scale_alone_nothing_is_left_and_zeros_are_as_far_as_they_were() -> None:
    rng = np.random.default_rng(0)
    model = rng.normal(size=(4, 5000))
    measures = family([model, 0.9 * model, np.zeros((4, 5000))])
    common = common_elements(measures, 0, range(3))
    plain = replace(common, squared_distance=measures.squared_distance[0])
    found = squared_chords(measures, 0, range(3), plain, np.ones(3))
    assert found[0, 1] == pytest.approx(0, abs=1e-9)
    np.testing.assert_array_equal(found[2], measures.squared_distance[0][2])


@pytest.mark.parametrize("step", [1e-4, 1e-6, 1e-8])
def test_chords_of_near_members_lose_no_digits(step: float) -> None:
    rng = np.random.default_rng(1)
    model, change = rng.normal(size=(2, 4, 5000))
    change -= model * (change * model).sum(axis=1, keepdims=True) / np.square(model).sum(axis=1, keepdims=True)
    moved = (1 - step) * model + step * change
    exact = np.square((moved - model).astype(np.longdouble)).sum(axis=1).astype(np.float64)
    measures = family([model, moved])
    measures.squared_distance[:, 0, 1] = measures.squared_distance[:, 1, 0] = exact
    expected = step**2 * np.square(change).sum(axis=1)
    found = np.array([chords(measures, layer)[0, 1] for layer in range(4)])
    np.testing.assert_allclose(found, expected, rtol=5 * step + 1e-6)


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_of_pruned_members_norms_are_those_over_common_elements(share: float) -> None:
    rng = np.random.default_rng(0)
    parent = root(rng)
    models = [parent, pruned(child(rng, parent), share), pruned(child(rng, parent), share)]
    measures = measured(models)
    common = common_elements(measures, 0, range(3))
    found = squared_chords(measures, 0, range(3), common, np.ones(3))
    for a in range(3):
        for b in range(3):
            one, other = models[a]["q"], models[b]["q"]
            both = (one != 0) & (other != 0)
            norms = np.linalg.norm(one[both]), np.linalg.norm(other[both])
            assert common.squared_norm[a, b] == pytest.approx(norms[0] ** 2, rel=1e-3)
            expected = np.square(one - other)[both].sum() - (norms[0] - norms[1]) ** 2
            assert found[a, b] == pytest.approx(expected, rel=2e-3, abs=1e-3)


def test_ratios_of_norms_are_asked_of_dense_members_alone() -> None:
    rng = np.random.default_rng(0)
    parent = root(rng)
    measures = measured([parent, {name: 2 * values for name, values in parent.items()}, pruned(parent, 0.9)])
    usual = usual_norms(measures, range(3), measures.count > 0)
    ratios = norm_ratios(measures, range(3), usual)
    assert usual[0] == pytest.approx(1.5 * np.linalg.norm(parent["q"]))
    assert ratios[0].tolist() == pytest.approx([1 / 1.5, 2 / 1.5, 1])
    nobody = usual_norms(measures, range(3), np.zeros_like(measures.count, dtype=bool))
    assert np.isnan(nobody).all()
    assert (norm_ratios(measures, range(3), nobody) == 1).all()


def test_of_an_estimate_no_less_than_its_error_is_left() -> None:
    rng = np.random.default_rng(0)
    model = rng.normal(size=(4, 5000))
    measures = family([model, 0.9 * model, 0.8 * model])
    estimated = np.zeros((3, 3), dtype=bool)
    estimated[0, 1] = estimated[1, 0] = True
    guessed = replace(measures, estimated=estimated, estimate_error=np.full(4, 0.3))
    common = common_elements(guessed, 0, range(3))
    found = squared_chords(guessed, 0, range(3), common, np.ones(3))
    assert found[0, 1] == pytest.approx(0.3 * measures.squared_distance[0, 0, 1])
    assert found[0, 2] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_trees_whose_members_decayed_by_more_than_they_moved_are_recovered_exactly(seed: int) -> None:
    rng = np.random.default_rng(seed)
    models, edges = [rng.normal(size=(4, 5000))], set()
    for number in range(1, 14):
        parent = int(rng.integers(number))
        models.append(decayed(rng, models[parent], rng.uniform(0.03, 0.06)))
        edges.add((parent, number))
    measures = family(models)
    assert set(skeleton(measures, range(14)).edges) == edges
    in_blocks = forest(AllPairs(measures), range(14))
    assert {(min(a, b), max(a, b)) for a, b in in_blocks.edges.tolist()} == edges
    assert set(spanning_tree(measures.squared_distance.sum(axis=0))) != edges


def test_siblings_that_decayed_alike_are_seen_at_right_angles() -> None:
    rng = np.random.default_rng(0)
    top = rng.normal(size=(4, 5000))
    models = [top, *((1 - decay) * top + 0.1 * rng.normal(size=top.shape) for decay in (0.1, 0.12, 0.1))]
    found = skeleton(family(models), range(4))
    at, one, other = (np.array([value]) for value in (0, 1, 2))
    assert cosine(found.squared, at, one, other).item() > 0.4
    assert abs(cosine(found.core_squared, at, one, other).item()) < 0.05
    assert found.squared[1, 2] == pytest.approx(np.square(models[1] - models[2]).sum())


def test_a_drift_that_is_no_decay_is_still_seen() -> None:
    rng = np.random.default_rng(0)
    top = rng.normal(size=20_000)
    flat = [top, *drifting(rng, top, [0.1, 0.1, 0.1], 0.5)]
    found = skeleton(family([model.reshape(4, 5000) for model in flat]), range(4))
    at, one, other = (np.array([value]) for value in (0, 1, 2))
    assert cosine(found.core_squared, at, one, other).item() == pytest.approx(0.5, abs=0.05)
