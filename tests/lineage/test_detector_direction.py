"""What the detector says of directions, as evidence for a tree's root."""

from __future__ import annotations

import builders
import numpy as np
import pytest

from lineage.detector import alone
from lineage.detector_direction import MOST, detector_odds, with_detector
from lineage.direction import ASKED, edge_scores, root_gains, rooted
from lineage.family import FamilyMeasures, Layer, LayerKind
from lineage.parameters import Parameters
from lineage.recover import heritage

LAYERS = (
    *(Layer(f"w{n}", (16, 12), LayerKind.TRUNK) for n in range(5)),
    *(Layer(f"b{n}", (16,), LayerKind.VECTOR) for n in range(2)),
)
MEMBERS, EDGES = (0, 1, 2, 3), [(0, 1), (0, 2), (1, 3)]


def chain(seed: int) -> FamilyMeasures:
    """0 is the parent of 1 and 2, and 1 of 3."""
    rng = np.random.default_rng(seed)
    models = [{layer.name: rng.normal(size=layer.shape) for layer in LAYERS}]
    for parent in (0, 0, 1):
        step = {name: 0.1 * rng.normal(size=values.shape) for name, values in models[parent].items()}
        models.append({name: 0.99 * values + step[name] for name, values in models[parent].items()})
    return builders.measured(models, LAYERS, first_id=40, slopes=True)


def test_odds_change_their_sign_with_the_direction_and_are_cut_off() -> None:
    measures = chain(1)
    there, back = detector_odds(measures, EDGES), detector_odds(measures, [(j, i) for i, j in EDGES])
    assert all(back[j, i] == -odds for (i, j), odds in there.items())
    assert all(abs(odds) <= MOST for odds in there.values())
    assert all(abs(odds) <= 0.1 for odds in detector_odds(measures, EDGES, most=0.1).values())
    assert detector_odds(measures, []) == {}


def test_relatives_have_no_part_in_what_is_said_of_two() -> None:
    whole = chain(2)
    assert detector_odds(alone(whole, 1, 3), [(0, 1)])[0, 1] == detector_odds(whole, [*EDGES, (1, 3)])[1, 3]


def test_models_without_a_layer_in_common_say_nothing() -> None:
    apart = chain(3)
    apart.squared_distance[:, [0, 1], [1, 0]] = np.nan
    assert detector_odds(apart, [(0, 1)]) == {(0, 1): 0.0}


def test_a_tree_whose_members_are_pruned_in_part_is_not_asked_about() -> None:
    measures = chain(6)
    assert all(detector_odds(measures, EDGES).values())
    measures.zeros[:5, 3] = measures.count[:5, 3] // 2
    assert set(detector_odds(measures, EDGES).values()) == {0.0}
    measures.zeros[:5] = measures.count[:5] // 2
    assert all(detector_odds(measures, EDGES).values())


def test_a_tree_that_is_pruned_to_little_is_not_asked_about() -> None:
    measures = chain(6)
    measures.zeros[:5] = measures.count[:5] * 9 // 10
    assert set(detector_odds(measures, EDGES).values()) == {0.0}


def test_the_root_follows_the_detector_by_its_weight() -> None:
    measures = chain(4)
    own = edge_scores(measures, MEMBERS, EDGES)
    scores = with_detector(measures, own)
    assert [scores[edge]["detector"] for edge in EDGES] == list(detector_odds(measures, EDGES).values())
    before, after = rooted(MEMBERS, own), rooted(MEMBERS, scores)
    told = root_gains(MEMBERS, {edge: ASKED["detector"] * scores[edge]["detector"] for edge in EDGES})
    for member in MEMBERS:
        moved = np.log(after.probabilities[member] / after.probabilities[0])
        stood = np.log(before.probabilities[member] / before.probabilities[0])
        assert moved == pytest.approx(stood + told[member], abs=1e-6)


def test_recover_asks_the_detector_only_where_it_is_told_to() -> None:
    measures = chain(5)
    (plain,) = heritage(measures, Parameters()).trees
    (asked,) = heritage(measures, Parameters(detector=True)).trees
    assert all("detector" not in edge.evidence for edge in plain.edges)
    assert all(abs(edge.evidence["detector"]) <= MOST for edge in asked.edges)
    joined = [{frozenset((edge.parent, edge.child)) for edge in tree.edges} for tree in (plain, asked)]
    assert joined[0] == joined[1]  # of siblings it is asked where they drift


def test_a_run_is_another_one_only_where_the_detector_is_asked() -> None:
    assert "detector" not in Parameters().relevant()
    assert Parameters(detector=True).relevant() == {**Parameters().relevant(), "detector": True}
    assert "detector" not in Parameters(method="mother", detector=True).relevant()
