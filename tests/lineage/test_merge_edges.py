"""Merges in trees: several parents, one tree, and who was trained from them."""

from __future__ import annotations

from dataclasses import replace

import builders
import numpy as np
import pytest
from numpy.typing import NDArray

from lineage.family import Layer, LayerKind
from lineage.merge_edges import merges_apart
from lineage.merge_layers import block_weights
from lineage.parameters import Parameters
from lineage.recover import heritage
from lineage.trees import Heritage

Model = dict[str, NDArray[np.float64]]

LAYERS = tuple(Layer(f"h.{number}.weight", (24, 20), LayerKind.TRUNK) for number in range(4))
BASE, A, B, C, OTHER, FAR, MERGE = range(7)


def drawn(rng: np.random.Generator, parent: Model | None = None, step: float = 0.05) -> Model:
    """A root whose rows and columns have scales of their own, or a child."""
    if parent is not None:
        return {name: values + step * rng.normal(size=values.shape) for name, values in parent.items()}
    scales = np.exp(1.5 * rng.normal(size=(24, 1)) + rng.normal(size=(1, 20)))
    return {layer.name: scales * rng.normal(size=(24, 20)) for layer in LAYERS}


def family(seed: int = 0) -> list[Model]:
    """A base with three children, and an unrelated pair."""
    rng = np.random.default_rng(seed)
    base, other = drawn(rng), drawn(rng)
    return [base, *(drawn(rng, base) for _ in range(3)), other, drawn(rng, other)]


def mixed(models: list[Model], weights: dict[int, float]) -> Model:
    return {
        layer.name: np.sum([weight * models[one][layer.name] for one, weight in weights.items()], axis=0)
        for layer in LAYERS
    }


def recovered(models: list[Model], parameters: Parameters | None = None) -> Heritage:
    return heritage(builders.measured(models, LAYERS, slopes=True), parameters or Parameters())


def edges(found: Heritage, relation: str | None = None) -> set[tuple[int, int]]:
    every = [edge for tree in found.trees for edge in tree.edges]
    return {(edge.parent, edge.child) for edge in every if relation in (None, edge.relation)}


PLAIN = {(BASE, A), (BASE, B), (BASE, C), (OTHER, FAR)}


@pytest.mark.parametrize("weights", [{A: 0.3, B: 0.7}, {A: 0.6, FAR: 0.4}, {A: 0.2, B: 0.3, FAR: 0.5}])
def test_a_merge_has_an_edge_from_each_parent_and_the_tree_of_the_heaviest(weights: dict[int, float]) -> None:
    models = family()
    found = recovered([*models, mixed(models, weights)])
    assert edges(found) == PLAIN | {(parent, MERGE) for parent in weights}
    told = {edge.parent: edge for tree in found.trees for edge in tree.edges if edge.relation == "merge"}
    assert {parent: edge.evidence["weight"] for parent, edge in told.items()} == pytest.approx(weights, abs=1e-3)
    assert all(edge.decided for edge in told.values())
    heaviest = max(weights, key=lambda parent: weights[parent])
    (tree,) = [tree for tree in found.trees if MERGE in tree.members]
    assert heaviest in tree.members
    assert sorted(len(tree.members) for tree in found.trees) == ([2, 5] if heaviest != FAR else [3, 4])


def test_those_trained_from_a_merge_and_its_copies_hang_below_it() -> None:
    models, rng = family(), np.random.default_rng(1)
    merge = mixed(models, {A: 0.5, FAR: 0.5})
    child = drawn(rng, merge, 0.02)
    found = recovered([*models, merge, child, drawn(rng, child, 0.02), merge])
    assert edges(found) == PLAIN | {(A, MERGE), (FAR, MERGE), (MERGE, 7), (7, 8), (MERGE, 9)}
    assert found.duplicates == ((MERGE, 9),)
    assert edges(found, "duplicate") == {(MERGE, 9)}
    assert len(found.trees) == 2


def test_a_merge_of_a_merge_comes_after_it_whatever_their_order() -> None:
    models = family()
    first = mixed(models, {A: 0.4, B: 0.6})
    second = mixed([*models, first], {6: 0.4, FAR: 0.6})
    for order in ([first, second], [second, first]):
        found = recovered([*models, *order])
        one, two = (6, 7) if order[0] is first else (7, 6)
        assert edges(found, "merge") == {(A, one), (B, one), (one, two), (FAR, two)}


def test_siblings_of_the_parents_that_share_their_drift_are_not_below_the_merge() -> None:
    rng = np.random.default_rng(2)
    base = drawn(rng)
    drift = {name: 0.06 * rng.normal(size=values.shape) for name, values in base.items()}
    drifted = {name: values + drift[name] for name, values in base.items()}
    models = [base, *(drawn(rng, drifted, 0.03) for _ in range(4))]
    models.append(mixed(models, {1: 0.5, 2: 0.5}))
    measures = builders.measured(models, LAYERS, slopes=True)
    assert merges_apart(measures, range(6)).clades == {5: (5,)}


def test_layers_taken_whole_are_told_by_stretches_of_blocks() -> None:
    models = family()
    merge = {**models[A], **{layer.name: models[FAR][layer.name] for layer in LAYERS[1:]}}
    found = recovered([*models, merge])
    evidence = {edge.parent: edge.evidence for tree in found.trees for edge in tree.edges if edge.relation == "merge"}
    assert evidence[A]["weight"] == pytest.approx(0.25)
    assert {name: weight for name, weight in evidence[FAR].items() if name.startswith("weight")} == {
        "weight": pytest.approx(0.75),
        "weight in h.0": 0.0,
        "weight in h.1 to h.3": 1.0,
    }


def test_blocks_count_alike_and_what_is_outside_of_them_not_at_all() -> None:
    names = ["embed.weight", "h.10.a", "h.2.a", "h.2.b"]
    names = [f"{name}.weight" for name in names]
    weights = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    found = block_weights(names, weights, np.array([5.0, 1.0, 3.0, 1.0]))
    assert list(found) == ["h.2", "h.10"]
    assert found["h.2"].tolist() == [0.75, 0.25]


def test_merges_are_not_sought_where_they_are_switched_off_or_there_are_too_many_members() -> None:
    models = family()
    models.append(mixed(models, {A: 0.5, B: 0.5}))
    few = recovered(models, Parameters(merges=6))
    assert few.notes == ("merges were not sought: 7 different members, more than 6",)
    none = recovered(models, Parameters(merges=0))
    assert none.notes == ()
    for found in (few, none):
        assert edges(found, "merge") == set()


def test_estimated_distances_make_no_merges() -> None:
    models = family()
    models.append(mixed(models, {A: 0.5, B: 0.5}))
    measures = builders.measured(models, LAYERS)
    estimated = np.zeros((7, 7), dtype=bool)
    estimated[A, B] = estimated[B, A] = True
    assert len(merges_apart(measures, range(7)).found) == 1
    assert merges_apart(replace(measures, estimated=estimated), range(7)).found == ()
