"""Direction: scores change sign with the direction of an edge, and one root is chosen by all edges together."""

from __future__ import annotations

import itertools
from dataclasses import replace

import builders
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.direction import ALONE, SCORES, STEADIEST, root_tree, scores, steadiness
from lineage.family import FamilyMeasures, Layer, LayerKind
from lineage.learnt import learnt
from lineage.walk import outward, sides

LAYERS = (*(Layer(f"w{n}", (9, 8), LayerKind.TRUNK) for n in range(3)), Layer("bias", (9,), LayerKind.VECTOR))


def random_measures(seed: int, members: int) -> FamilyMeasures:
    rng = np.random.default_rng(seed)
    models = [{layer.name: rng.normal(size=layer.shape) for layer in LAYERS} for _ in range(members)]
    for model in models:
        model["w0"][rng.random((9, 8)) < 0.2] = 0
    return builders.measured(models, LAYERS, slopes=True)


def random_edges(seed: int, members: int) -> list[tuple[int, int]]:
    rng = np.random.default_rng(seed)
    return [(int(rng.integers(i)), i) if rng.random() < 0.5 else (i, int(rng.integers(i))) for i in range(1, members)]


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), side=st.integers(1, 8))
def test_scores_change_their_sign_with_the_direction(seed: int, side: int) -> None:
    measures = random_measures(seed, 2)
    there, back = scores(measures, (0, 1), side, 9), scores(measures, (1, 0), 9 - side, 9)
    assert tuple(there) == SCORES
    for name in SCORES:
        assert there[name] == pytest.approx(-back[name], abs=1e-5)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), members=st.integers(1, 6))
def test_the_root_is_where_the_evidence_of_all_edges_is_largest(seed: int, members: int) -> None:
    measures, edges = random_measures(seed, members), random_edges(seed, members)
    found = root_tree(measures, range(members), edges)
    total = []
    for root in range(members):
        away = outward(root, edges)
        side = {edge: int(row.sum()) for edge, row in zip(edges, sides(range(members), edges), strict=True)}
        odds = 0.0
        for parent, child in away:
            on_side = side.get((parent, child)) or members - side[child, parent]
            seen = scores(measures, (parent, child), on_side, members)
            told = found.evidence.get((parent, child)) or found.evidence[child, parent]
            seen["slope"] = (
                told["slope"] if (parent, child) in found.evidence else -told["slope"]
            )  # as leaves.py has it
            odds += sum(learnt().direction[name] * value for name, value in seen.items())
        total.append(odds)
    # An edge that points the right way and one that is turned differ by its log-odds once, not twice.
    likely = np.exp((np.array(total) - max(total)) / 2)
    likely /= likely.sum()
    np.testing.assert_allclose([found.probabilities[i] for i in range(members)], likely, rtol=1e-4, atol=1e-12)
    assert found.root == max(found.probabilities, key=lambda member: found.probabilities[member])
    assert sum(found.probabilities.values()) == pytest.approx(1)


def test_a_prior_can_move_the_root() -> None:
    measures, edges = random_measures(1, 4), random_edges(1, 4)
    for member in range(4):
        assert root_tree(measures, range(4), edges, {member: 1e3}).root == member


def test_members_of_a_part_of_the_family_are_named_by_their_positions() -> None:
    measures = random_measures(2, 6)
    found = root_tree(measures, [1, 4, 5], [(4, 1), (5, 4)])
    assert set(found.probabilities) == {1, 4, 5}
    assert set(found.evidence) == {(4, 1), (5, 4)}


def test_what_is_no_number_says_nothing() -> None:
    measures = random_measures(3, 2)
    silent = replace(
        measures,
        slope=np.full_like(measures.slope, np.nan),
        kurtosis=np.full_like(measures.kurtosis, np.nan),
        variance=np.zeros_like(measures.variance),
        squared_norm=np.full_like(measures.squared_norm, np.nan),
        zeros=np.zeros_like(measures.zeros),
    )
    assert set(scores(silent, (0, 1), 1, 2).values()) == {0.0}
    assert root_tree(silent, [0, 1], [(0, 1)]).probabilities == {0: 0.5, 1: 0.5}


def test_layers_that_did_not_move_say_nothing() -> None:
    measures = random_measures(4, 2)
    still = measures.squared_distance.copy()
    still[1:] = 0
    seen = scores(replace(measures, squared_distance=still), (0, 1), 1, 2)
    assert seen["slope"] == ALONE * np.sign(measures.slope[0, 0, 1])
    assert seen["vectors"] == 0.0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-5, 5).filter(lambda value: abs(value) > 1e-3), min_size=1, max_size=30))
def test_steadiness_is_odd_and_bounded(values: list[float]) -> None:
    seen = steadiness(np.array(values))
    assert abs(seen) <= STEADIEST
    assert steadiness(-np.array(values)) == pytest.approx(-seen)


def test_few_layers_that_agree_say_less_than_many() -> None:
    layers = np.tile([0.9, 1.1], 20)
    assert 0 < steadiness(layers[:1]) < steadiness(layers[:2]) < steadiness(layers[:4]) < steadiness(layers)


def test_moments_and_slopes_of_a_pruned_and_a_dense_member_are_not_compared() -> None:
    measures = random_measures(5, 2)
    pruned = measures.zeros.copy()
    pruned[:, 1] = measures.count[:, 1] * 9 // 10
    seen = scores(replace(measures, zeros=pruned), (0, 1), 1, 2)
    assert seen["slope"] == seen["kurtosis"] == seen["norm"] == 0
    assert seen["zeros"] > 0.5
    assert seen["vectors"] != 0


def test_who_was_made_from_a_copy_of_a_member_is_its_descendant() -> None:
    measures = random_measures(6, 3)
    found = root_tree(measures, [0, 1], [(0, 1)], stand_in={(1, 0): 2})
    without = root_tree(measures, [0, 1], [(0, 1)])
    assert found.evidence[0, 1]["stand_in"] == 1.0
    assert found.probabilities[0] > without.probabilities[0]
    both = root_tree(measures, [0, 1], [(0, 1)], stand_in={(1, 0): 2, (0, 1): 2})
    assert both.probabilities == without.probabilities


def test_distance_from_where_training_starts_tells_a_scale_from_a_bias() -> None:
    layers = (Layer("w", (9, 8), LayerKind.TRUNK), Layer("scale", (9,), LayerKind.VECTOR))
    rng = np.random.default_rng(7)
    near = {"w": rng.normal(size=(9, 8)), "scale": np.full(9, 0.98)}
    far = {"w": rng.normal(size=(9, 8)), "scale": np.full(9, 0.8)}
    measures = builders.measured([near, far], layers)
    assert scores(measures, (0, 1), 1, 2)["start"] > 0
    biases = builders.measured([{**near, "scale": np.full(9, 0.1)}, {**far, "scale": np.full(9, 0.3)}], layers)
    assert scores(biases, (0, 1), 1, 2)["start"] > 0


def test_every_score_has_a_learnt_weight() -> None:
    assert set(learnt().direction) == set(SCORES)
    assert all(np.isfinite(weight) for weight in itertools.chain(learnt().direction.values()))
