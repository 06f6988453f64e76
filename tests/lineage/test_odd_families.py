"""Families that are hardly any: every method has an answer for one model, equal ones, strangers and missing layers."""

from __future__ import annotations

import builders
import numpy as np
import pytest

from lineage.family import Layer, LayerKind
from lineage.initialisation import Scheme
from lineage.parameters import Parameters
from lineage.partition import Clustering
from lineage.recover import heritage
from lineage.trees import Heritage

Model = dict[str, np.ndarray]

LAYERS = (
    *(Layer(f"w{n}", (16, 12), LayerKind.TRUNK) for n in range(4)),
    *(Layer(f"b{n}", (16,), LayerKind.VECTOR) for n in range(2)),
)
ASKED = {
    "recover": Parameters(),
    "recover with the detector": Parameters(detector=True),
    "recover, as if the family were large": Parameters(whole=1, piece=3),
    "mother": Parameters(method="mother"),
    "detector": Parameters(method="detector"),
    **{
        f"phylogeny, {clustering}, {scheme}": Parameters(
            method="phylogeny", clustering=clustering, initialisation=scheme
        )
        for clustering in Clustering
        for scheme in (Scheme.ARCHITECTURE, Scheme.CENTROID)
    },
}
METHODS = pytest.mark.parametrize("asked", ASKED.values(), ids=list(ASKED))


def drawn(seed: int) -> Model:
    rng = np.random.default_rng(seed)
    return {layer.name: rng.normal(size=layer.shape) for layer in LAYERS}


def child(seed: int, parent: Model) -> Model:
    rng = np.random.default_rng(seed)
    return {name: 0.99 * values + 0.1 * rng.normal(size=values.shape) for name, values in parent.items()}


def inferred(models: list[Model], asked: Parameters) -> Heritage:
    """Of every tree its own members and edges; probabilities within bounds."""
    found = heritage(builders.measured(models, LAYERS, slopes=True), asked)
    assert sorted(one for tree in found.trees for one in tree.members) == list(range(len(models)))
    for tree in found.trees:
        assert tree.root in tree.members
        assert 0 <= tree.root_confidence <= 1
        assert len(tree.edges) == len(tree.members) - 1
        assert all({edge.parent, edge.child} <= set(tree.members) for edge in tree.edges)
        assert all(0 <= edge.confidence <= 1 for edge in tree.edges)
    return found


@METHODS
def test_one_model_is_a_tree_of_one(asked: Parameters) -> None:
    (tree,) = inferred([drawn(1)], asked).trees
    assert (tree.members, tree.edges) == ((0,), ())


@METHODS
def test_two_equal_models_are_copies(asked: Parameters) -> None:
    found = inferred([drawn(1), drawn(1)], asked)
    assert found.duplicates == ((0, 1),)


@METHODS
def test_models_of_different_origin_are_trees_of_their_own(asked: Parameters) -> None:
    found = inferred([drawn(1), drawn(2), drawn(3)], asked)
    assert [tree.members for tree in found.trees] == [(0,), (1,), (2,)]


@METHODS
def test_layers_that_some_lack_are_left_out_of_what_is_compared(asked: Parameters) -> None:
    parent = drawn(1)
    short = {name: values for name, values in child(2, parent).items() if name not in ("w3", "b1")}
    (tree,) = inferred([parent, short, child(3, parent)], asked).trees
    assert tree.members == (0, 1, 2)


@METHODS
def test_models_without_a_layer_in_common_are_apart(asked: Parameters) -> None:
    model = drawn(1)
    one, other = ({name: model[name] for name in names} for names in (("w0", "b0"), ("w1", "b1")))
    assert [tree.members for tree in inferred([one, other], asked).trees] == [(0,), (1,)]


@METHODS
def test_a_model_of_zeros_is_nobodys_relative(asked: Parameters) -> None:
    # Sums of squares of eighths are exact in single precision, so that what is left is nothing, and not rounding.
    parent, stranger = ({name: np.round(8 * values) / 8 for name, values in drawn(seed).items()} for seed in (1, 2))
    nothing = {name: np.zeros_like(values) for name, values in parent.items()}
    found = inferred([parent, child(3, parent), nothing, stranger, child(4, stranger)], asked)
    if asked.method != "mother":  # the paper's has no idea of what was pruned
        assert [tree.members for tree in found.trees] == [(0, 1), (2,), (3, 4)]


@METHODS
def test_models_of_which_hardly_an_element_is_left_stop_nobody(asked: Parameters) -> None:
    parent = drawn(1)
    kept = {name: np.abs(values) >= np.sort(np.abs(values), axis=None)[-3] for name, values in parent.items()}
    few, other = ({name: one[name] * kept[name] for name in kept} for one in (parent, child(3, parent)))
    inferred([parent, child(2, parent), few, other], asked)


@METHODS
def test_trunks_of_zeros_with_other_biases_stop_nobody(asked: Parameters) -> None:
    models = [{name: values * (len(values.shape) < 2) for name, values in drawn(seed).items()} for seed in (1, 2)]
    inferred([*models, drawn(3), child(4, drawn(3))], asked)
