"""The detector: exchanged models exchange the classes exactly, and every odd input has a clear answer."""

from __future__ import annotations

from dataclasses import replace

import builders
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.detector import DUPLICATES, RELATIONS, alone, compared, exchanged, relations, spread_layers
from lineage.detector_features import FeatureTable
from lineage.detector_network import TOKENS
from lineage.family import FamilyMeasures, Layer, LayerKind

LAYERS = (
    *(Layer(f"w{n}", (12, 10), LayerKind.TRUNK) for n in range(4)),
    *(Layer(f"b{n}", (12,), LayerKind.VECTOR) for n in range(2)),
    Layer("head", (3, 12), LayerKind.HEAD),
    Layer("steps", (1,), LayerKind.BUFFER),
)


def model(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {layer.name: rng.normal(size=layer.shape) for layer in LAYERS}


def child(parent: dict[str, np.ndarray], rng: np.random.Generator, step: float = 0.1) -> dict[str, np.ndarray]:
    return {name: values + step * rng.normal(size=values.shape) for name, values in parent.items()}


def family(seed: int) -> FamilyMeasures:
    """A root, two children, a grandchild, a copy of a child, a stranger, and a relative that lacks layers."""
    rng = np.random.default_rng(seed)
    root = model(rng)
    left, right = child(root, rng), child(root, rng)
    ragged = {name: values for name, values in child(root, rng).items() if name not in {"w3", "b1", "head"}}
    return builders.measured(
        [left, root, right, child(left, rng), dict(left), model(rng), ragged], LAYERS, first_id=20, slopes=True
    )


LEFT, ROOT, RIGHT, GRANDCHILD, COPY, STRANGER, RAGGED = range(7)
PAIRS = [(i, j) for i in range(7) for j in range(7) if i != j]


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_to_exchange_two_models_exchanges_the_classes_to_the_last_bit(seed: int) -> None:
    measures = family(seed)
    there = relations(measures, PAIRS)
    back = relations(measures, [(j, i) for i, j in PAIRS])
    np.testing.assert_array_equal(there, exchanged(back))
    np.testing.assert_allclose(there.sum(axis=1), 1)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_even_features_stay_and_odd_ones_change_their_sign_to_the_last_bit(seed: int) -> None:
    table = FeatureTable(family(seed))
    there, back = table.features(PAIRS), table.features([(j, i) for i, j in PAIRS])
    for name in ("even", "there", "pair_even", "context_even"):
        np.testing.assert_array_equal(getattr(there, name), getattr(back, name))
    for name in ("odd", "pair_odd", "context_odd"):
        np.testing.assert_array_equal(getattr(there, name), -getattr(back, name))


def test_the_order_of_the_members_changes_nothing_but_rounding() -> None:
    measures = family(1)
    order = np.array([3, 0, 6, 2, 5, 1, 4])
    each = ("count", "squared_norm", "variance", "kurtosis", "zeros", "outliers", "form")
    pairs = ("squared_distance", "slope", "rank", "equal")
    moved = replace(
        measures,
        digest=tuple(tuple(row[one] for one in order) for row in measures.digest),
        **{name: getattr(measures, name)[:, order] for name in each},
        **{name: getattr(measures, name)[:, order][:, :, order] for name in pairs},
    )
    place = {int(old): new for new, old in enumerate(order)}
    np.testing.assert_allclose(
        relations(moved, [(place[i], place[j]) for i, j in PAIRS]), relations(measures, PAIRS), atol=1e-9
    )


def test_models_that_are_equal_are_duplicates_for_sure() -> None:
    found = relations(family(2), [(LEFT, COPY), (COPY, LEFT), (LEFT, ROOT)])
    assert found[:2, RELATIONS.index(DUPLICATES)].tolist() == [1.0, 1.0]
    assert found[2, RELATIONS.index(DUPLICATES)] == 0.0


def test_strangers_are_unrelated_and_a_child_is_not() -> None:
    unrelated = relations(family(3), [(ROOT, STRANGER), (STRANGER, GRANDCHILD), (ROOT, LEFT), (LEFT, RIGHT)])[:, 0]
    assert (unrelated[:2] > 0.5).all()
    assert (unrelated[2:] < 0.5).all()


def test_layers_that_one_of_two_lacks_are_left_out_and_counted() -> None:
    measures = family(4)
    assert compared(measures, ROOT, RAGGED) == (4, 7)
    assert compared(measures, ROOT, LEFT) == (7, 7)
    found = relations(measures, [(ROOT, RAGGED)])
    assert np.isfinite(found).all()
    assert found[0, 0] < 0.5


def test_models_without_a_common_layer_are_unrelated_without_asking() -> None:
    rng = np.random.default_rng(5)
    whole = model(rng)
    first = {name: whole[name] for name in ("w0", "w1", "steps")}
    second = {name: whole[name] for name in ("w2", "b0", "steps")}
    measures = builders.measured([first, second], LAYERS)
    assert relations(measures, [(0, 1)])[0].tolist() == [1.0] + [0.0] * (len(RELATIONS) - 1)
    assert compared(measures, 0, 1)[0] == 0


def test_numbers_that_were_not_measured_leave_an_answer() -> None:
    measures = family(6)
    silent = replace(
        measures,
        slope=np.full_like(measures.slope, np.nan),
        rank=np.full_like(measures.rank, -1),
        equal=np.full_like(measures.equal, np.nan),
        kurtosis=np.full_like(measures.kurtosis, np.nan),
    )
    found = relations(silent, PAIRS)
    np.testing.assert_allclose(found.sum(axis=1), 1)


def test_constant_and_empty_tensors_leave_an_answer() -> None:
    zeros = {layer.name: np.zeros(layer.shape) for layer in LAYERS}
    measures = builders.measured([zeros, model(np.random.default_rng(7))], LAYERS)
    np.testing.assert_allclose(relations(measures, [(0, 1)]).sum(), 1)


def test_two_models_alone_are_judged_as_if_there_were_no_others() -> None:
    measures = family(8)
    rng = np.random.default_rng(8)
    root = model(rng)
    two = builders.measured([child(root, rng), root], LAYERS, first_id=20, slopes=True)
    np.testing.assert_allclose(relations(alone(measures, LEFT, ROOT), [(0, 1)]), relations(two, [(0, 1)]), atol=1e-9)


@pytest.mark.parametrize(("pair", "what"), [((1, 1), "named twice"), ((0, 7), "no two"), ((-1, 2), "no two")])
def test_what_is_no_pair_is_refused(pair: tuple[int, int], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        relations(family(9), [pair])


def test_no_pairs_have_no_relations() -> None:
    assert relations(family(10), []).shape == (0, len(RELATIONS))


def test_deep_networks_are_looked_at_from_end_to_end() -> None:
    layers = tuple(Layer(f"w{n}", (2, 2), LayerKind.TRUNK) for n in range(300))
    rng = np.random.default_rng(11)
    measures = builders.measured([{one.name: rng.normal(size=one.shape) for one in layers} for _ in range(2)], layers)
    chosen = spread_layers(measures)
    assert len(chosen) == TOKENS
    assert (chosen[0], chosen[-1]) == (0, 299)
    np.testing.assert_allclose(relations(measures, [(0, 1)]).sum(), 1)
