"""Distances over what two pruned members both kept."""

from __future__ import annotations

import numpy as np
import pytest
from test_copies import LAYERS, child, measured, pruned, root

from lineage.cluster import clusters
from lineage.pruned import common_elements, forgiven_mass, lost_mass
from lineage.skeleton import skeleton


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_distance_and_number_of_common_elements_are_those_counted_directly(share: float) -> None:
    rng = np.random.default_rng(0)
    parent = root(rng)
    models = [parent, pruned(child(rng, parent), share), pruned(child(rng, parent), share)]
    common = common_elements(measured(models), 0, range(3))
    for a in range(3):
        for b in range(3):
            one, other = models[a]["q"], models[b]["q"]
            both = (one != 0) & (other != 0)
            assert common.squared_distance[a, b] == pytest.approx(((one - other)[both] ** 2).sum(), rel=1e-3, abs=1e-3)
            assert common.elements[a, b] == pytest.approx(both.sum(), rel=0.05)


def test_steps_of_pruned_siblings_are_not_taken_for_shorter_as_long_ones_left_what_was_kept() -> None:
    rng = np.random.default_rng(0)
    parent = root(rng)
    models = [parent, pruned(child(rng, parent, 0.002), 0.5), pruned(child(rng, parent, 0.1), 0.5)]
    family = measured(models)
    common = [common_elements(family, layer, range(3)) for layer in range(len(LAYERS))]
    kept = np.sum([one.elements for one in common], axis=0)
    mean_square = np.sum([one.missed * one.squared_distance for one in common], axis=0) / kept
    plain = np.sum([one.squared_distance for one in common], axis=0) / kept
    assert plain[1, 2] < 0.97 * plain[0, 2]
    assert mean_square[1, 2] == pytest.approx(mean_square[0, 2], rel=0.015)
    assert mean_square[0, 2] == plain[0, 2]


def test_dense_members_have_all_elements_in_common_and_lose_nothing() -> None:
    rng = np.random.default_rng(0)
    family = measured([root(rng), root(rng)])
    assert lost_mass(family, 0, range(2)) is None
    assert forgiven_mass(family, 0, range(2)) is None
    common = common_elements(family, 0, range(2))
    np.testing.assert_array_equal(common.squared_distance, family.squared_distance[0])
    assert (common.elements == LAYERS[0].size).all()


def test_a_model_pruned_to_a_hundredth_stays_in_its_tree_and_strangers_pruned_alike_do_not_join_it() -> None:
    rng = np.random.default_rng(0)
    parent, stranger = root(rng), root(rng)
    models = [parent, pruned(child(rng, parent), 0.99), pruned(stranger, 0.99), pruned(root(rng), 0.99)]
    assert clusters(measured(models)) == ((0, 1), (2,), (3,))


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("seed", range(3))
def test_trees_some_of_whose_members_were_pruned_are_recovered_exactly(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    models, edges = [root(rng)], set()
    for number in range(1, 9):
        parent = int(rng.integers(number))
        models.append(child(rng, models[parent], rng.uniform(0.05, 0.1)))
        edges.add((parent, number))
    stored = [pruned(model, share) if rng.random() < 0.5 else model for model in models]
    assert set(skeleton(measured(stored), range(9)).edges) == edges
