"""The learning-free detectors: groups, generations along the distance from initialisation, and pairs."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import builders
import numpy as np
import pytest
from numpy.typing import NDArray

from lineage.decoding import F64, Rows
from lineage.edges import relation
from lineage.family import FamilyMeasures, Layer, LayerKind
from lineage.initialisation import Scheme
from lineage.parameters import Parameters
from lineage.partition import Clustering
from lineage.phylogeny import Settings, parents, phylogeny
from lineage.recover import heritage
from lineage.sketch import CountSketch
from lineage.trees import Heritage

Model = dict[str, NDArray[np.float64]]

LAYERS = (*(Layer(f"w{n}", (24, 20), LayerKind.TRUNK) for n in range(4)), Layer("bias", (24,), LayerKind.VECTOR))
STEP = 0.05
EVERY = list(product(Clustering, (Scheme.ARCHITECTURE, Scheme.XAVIER, Scheme.FITTED)))


def drawn(rng: np.random.Generator, scale: float) -> Model:
    return {layer.name: scale * rng.normal(size=layer.shape) for layer in LAYERS}


def child(rng: np.random.Generator, parent: Model) -> Model:
    step = drawn(rng, STEP)
    return {name: parent[name] + step[name] for name in parent}


def three_generations() -> list[Model]:
    """1 is the root, 0 and 3 its children, 2 and 4 those of 3; 5 is a stranger."""
    rng = np.random.default_rng(3)
    root = drawn(rng, 0.2)
    one, other = child(rng, root), child(rng, root)
    return [one, root, child(rng, other), other, child(rng, other), drawn(rng, 0.2)]


EDGES = {(1, 0), (1, 3), (3, 2), (3, 4)}


def sketches(models: list[Model]) -> list[np.ndarray]:
    found = []
    for layer in LAYERS:
        sums = np.zeros((len(models), 200))
        values = np.stack([model.get(layer.name, np.zeros(layer.shape)).ravel() for model in models])
        rows = Rows(
            values.view(np.uint8).ravel(),
            np.arange(len(models)) * layer.size * 8,
            np.full(len(models), F64, dtype=np.int64),
            layer.size,
        )
        CountSketch.of(layer, 200).add(rows, 0, sums)
        found.append(sums)
    return found


def measured(models: list[Model]) -> FamilyMeasures:
    return builders.measured(models, LAYERS, first_id=10)


def detected(models: list[Model], settings: Settings | None = None) -> Heritage:
    return phylogeny(measured(models), settings or Settings(), relation, sketches(models))


def pairs(found: Heritage, *, copies: bool = False) -> set[tuple[int, int]]:
    return {
        (edge.parent - 10, edge.child - 10)
        for tree in found.trees
        for edge in tree.edges
        if (edge.relation == "duplicate") == copies
    }


@pytest.mark.parametrize(("clustering", "scheme"), EVERY)
def test_generations_and_their_pairs_are_told_by_the_distance_from_initialisation(
    clustering: Clustering, scheme: Scheme
) -> None:
    found = phylogeny(measured(three_generations()), Settings(clustering, scheme), relation)
    assert pairs(found) == EDGES
    assert [(tree.root, tree.members) for tree in found.trees] == [(11, (10, 11, 12, 13, 14)), (15, (15,))]
    for tree in found.trees:
        assert 0 <= tree.root_confidence <= 1
        for edge in tree.edges:
            assert edge.evidence["parent_score"] < edge.evidence["child_score"]
            assert edge.evidence["parent_generation"] < edge.evidence["child_generation"]
            assert 0 <= edge.confidence <= min(edge.evidence["direction"], edge.evidence["adjacency"])


def test_what_the_members_share_is_a_start_that_needs_no_draw() -> None:
    star = three_generations()[:4]  # a root, two children and one of theirs
    found = detected(star, Settings(initialisation=Scheme.CENTROID))
    assert {frozenset(pair) for pair in pairs(found)} == {frozenset(pair) for pair in ((1, 0), (1, 3), (3, 2))}


@pytest.mark.parametrize("first", [0, 1])
def test_of_two_members_which_lie_equally_far_from_their_centroid_a_draw_says_who_was_first(first: int) -> None:
    two = [three_generations()[1], three_generations()[3]]
    found = detected(two if first == 0 else two[::-1], Settings(initialisation=Scheme.CENTROID))
    assert pairs(found) == {(first, 1 - first)}
    assert found.trees == detected(two if first == 0 else two[::-1]).trees
    (note,) = phylogeny(measured(two), Settings(initialisation=Scheme.CENTROID), relation).notes
    assert "by norm alone" in note


def test_without_sketches_members_are_ordered_by_norm_and_a_note_says_so() -> None:
    models = three_generations()
    assert detected(models).notes == ()
    (note,) = phylogeny(measured(models), Settings(), relation).notes
    assert "by norm alone" in note
    assert phylogeny(measured(models), Settings(initialisation=Scheme.CENTROID), relation).notes == ()


def test_the_order_of_members_does_not_matter() -> None:
    models = three_generations()
    order = [5, 2, 0, 4, 1, 3]
    turned = phylogeny(measured([models[one] for one in order]), Settings(), relation)
    assert {(order[parent], order[child]) for parent, child in pairs(turned)} == EDGES


def test_one_model_none_and_strangers_have_no_pairs() -> None:
    rng = np.random.default_rng(0)
    assert phylogeny(measured([]), Settings(), relation) == Heritage((), ())
    (tree,) = detected([drawn(rng, 0.2)]).trees
    assert (tree.members, tree.edges, tree.root_confidence) == ((10,), (), 1.0)
    found = detected([drawn(rng, 0.2) for _ in range(4)])
    assert [tree.members for tree in found.trees] == [(10,), (11,), (12,), (13,)]


def test_identical_models_are_copies_whose_order_nobody_knows() -> None:
    models = three_generations()
    found = detected([models[0], models[0]])
    assert found.duplicates == ((10, 11),)
    (edge,) = found.trees[0].edges
    assert (edge.relation, edge.confidence, edge.decided) == ("duplicate", 0.5, False)
    among = phylogeny(measured([*models, models[3]]), Settings(), relation)
    assert pairs(among) == EDGES
    assert pairs(among, copies=True) == {(3, 6)}
    assert among.trees[0].members == (10, 11, 12, 13, 14, 16)


def test_the_same_trunk_under_another_bias_is_no_exact_copy_and_still_has_an_answer() -> None:
    model = three_generations()[1]
    found = detected([model, {**model, "bias": model["bias"] + 1}])
    assert pairs(found) == {(0, 1)}


@pytest.mark.parametrize("scheme", [Scheme.ARCHITECTURE, Scheme.FITTED, Scheme.CENTROID])
def test_layers_that_members_lack_are_left_out(scheme: Scheme) -> None:
    models = three_generations()
    short = [{name: values for name, values in model.items() if name != "w1"} for model in models[:2]]
    found = detected([*short, *models[2:]], Settings(initialisation=scheme))
    assert sorted(child for _, child in pairs(found)) == sorted({0, 1, 2, 3, 4} - {found.trees[0].root - 10})
    if scheme is not Scheme.CENTROID:
        assert pairs(phylogeny(measured([*short, *models[2:]]), Settings(initialisation=scheme), relation)) == EDGES
    rng = np.random.default_rng(1)
    apart = [{"w0": drawn(rng, 0.2)["w0"]}, {"w1": drawn(rng, 0.2)["w1"]}]  # nothing in common
    assert [tree.edges for tree in detected(apart).trees] == [(), ()]


def test_a_number_of_trees_can_be_asked_for() -> None:
    assert len(detected(three_generations(), Settings(trees=1)).trees) == 1
    assert len(detected(three_generations(), Settings(Clustering.SPECTRAL, trees=6)).trees) == 6


def test_a_generation_that_was_cut_in_two_makes_no_parents_of_siblings() -> None:
    distance = np.array(
        [[0.0, 1, 1, 1, 1], [1, 0, 1.4, 1.4, 1.4], [1, 1.4, 0, 1.4, 1.4], [1, 1.4, 1.4, 0, 1.4], [1] * 5]
    )
    distance[:, 4] = distance[4] = [1, 1.4, 1.4, 1.4, 0]
    above, generation = parents(distance, np.array([0.0, 1.0, 1.01, 9.0, 9.01]), Clustering.KMEANS)
    assert above.tolist() == [-1, 0, 0, 0, 0]
    assert generation.tolist() == [0, 1, 1, 2, 2]


def test_parameters_choose_it_and_other_methods_keep_theirs() -> None:
    asked = Parameters(method="phylogeny", clustering="agglomerative", initialisation="kaiming")
    models = three_generations()
    found = heritage(measured(models), asked, None, sketches(models))
    assert found == detected(models, Settings(Clustering.AGGLOMERATIVE, Scheme.KAIMING))
    told = {"method", "threshold", "decide", "decide_direction", "trees", "clustering", "initialisation"}
    assert set(asked.relevant()) == told
    assert not {"clustering", "initialisation"} & (
        Parameters().relevant().keys() | replace(asked, method="mother").relevant().keys()
    )
