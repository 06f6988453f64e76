"""Families that are inferred in pieces: as they would be whole, where that can be."""

from __future__ import annotations

from dataclasses import replace

import builders
import numpy as np
import pytest

from lineage.cluster import clusters, duplicates
from lineage.family import FamilyMeasures, Layer, LayerKind
from lineage.forest import forest
from lineage.pair_store import AllPairs, FewPairs, members_of, without_pairs
from lineage.parameters import Parameters
from lineage.recover import heritage
from lineage.span import parts
from lineage.trees import Heritage

LAYERS = tuple(Layer(f"w{n}", (16, 12), LayerKind.TRUNK) for n in range(5))
Model = dict[str, np.ndarray]


def root(rng: np.random.Generator) -> Model:
    scales = [np.exp(1.5 * rng.normal(size=(16, 1)) + rng.normal(size=(1, 12))) for _ in LAYERS]
    return {layer.name: scale * rng.normal(size=(16, 12)) for layer, scale in zip(LAYERS, scales, strict=True)}


def child(rng: np.random.Generator, parent: Model) -> Model:
    step = rng.uniform(0.04, 0.08)
    return {name: values + step * rng.normal(size=values.shape) for name, values in parent.items()}


def family(seed: int, trees: list[int]) -> tuple[FamilyMeasures, set[tuple[int, int]]]:
    """Trees of so many members, and (parent, child) of all edges."""
    rng = np.random.default_rng(seed)
    models: list[Model] = []
    edges = set()
    for members in trees:
        start = len(models)
        models.append(root(rng))
        for index in range(1, members):
            parent = start + int(rng.integers(index))
            edges.add((parent, len(models)))
            models.append(child(rng, models[parent]))
    return builders.measured(models, LAYERS, slopes=True), edges


def stated(found: Heritage) -> set[tuple[int, int]]:
    return {(edge.parent, edge.child) for tree in found.trees for edge in tree.edges if edge.relation != "duplicate"}


def without_notes(found: Heritage) -> Heritage:
    return replace(found, notes=())


IN_PIECES = Parameters(whole=4, piece=8, merges=0)


@pytest.fixture(scope="module")
def grown() -> tuple[FamilyMeasures, set[tuple[int, int]]]:
    return family(1, [30, 9, 1])


def test_trees_that_fit_in_a_piece_are_those_of_the_whole_family(
    grown: tuple[FamilyMeasures, set[tuple[int, int]]],
) -> None:
    measures, _ = grown
    whole = heritage(measures, Parameters(merges=0))
    assert without_notes(heritage(measures, replace(IN_PIECES, piece=64))) == whole


def test_a_tree_in_several_pieces_has_the_same_edges_and_nearly_the_same_confidence(
    grown: tuple[FamilyMeasures, set[tuple[int, int]]],
) -> None:
    measures, edges = grown
    whole, found = heritage(measures, Parameters(merges=0)), heritage(measures, IN_PIECES)
    assert stated(found) == stated(whole) == edges
    assert [tree.members for tree in found.trees] == [tree.members for tree in whole.trees]
    for one, other in zip(found.trees, whole.trees, strict=True):
        assert one.root == other.root
        assert one.root_confidence == pytest.approx(other.root_confidence, abs=1e-9)
        for here, there in zip(one.edges, other.edges, strict=True):
            assert here.evidence["side"] == pytest.approx(there.evidence["side"])
            assert here.evidence["direction"] == pytest.approx(there.evidence["direction"], abs=1e-9)
            assert here.confidence == pytest.approx(there.confidence, abs=0.1)
    assert "in pieces" in found.notes[0]


def test_duplicates_stand_as_one_and_are_attached(grown: tuple[FamilyMeasures, set[tuple[int, int]]]) -> None:
    measures, edges = grown
    copied = members_of(measures, [*range(40), 3, 35])
    copied = replace(copied, members=tuple(range(42)))
    found = heritage(copied, IN_PIECES)
    assert found.duplicates == duplicates(copied) == ((3, 40), (35, 41))
    assert stated(found) == edges


def test_dates_shift_the_root_of_a_tree_in_pieces_as_of_a_whole_one() -> None:
    measures, _ = family(2, [14])
    blank = replace(measures, slope=np.full_like(measures.slope, np.nan), variance=np.ones_like(measures.variance))
    created = {one: float(one == 7) for one in range(14)}
    whole = heritage(blank, Parameters(merges=0), created)
    found = heritage(blank, replace(IN_PIECES, piece=6), created)
    assert found.trees[0].root == whole.trees[0].root
    assert found.trees[0].root_confidence == pytest.approx(whole.trees[0].root_confidence)


def test_of_a_few_pairs_of_each_member_the_same_trees_are_made(
    grown: tuple[FamilyMeasures, set[tuple[int, int]]],
) -> None:
    measures, edges = grown
    total = measures.squared_distance.sum(axis=0)
    near = np.argsort(total, axis=1, kind="stable")[:, 1:7]
    pairs = {(min(a, b), max(a, b)) for a, row in enumerate(near.tolist()) for b in row} | {
        (min(edge), max(edge)) for edge in edges
    }
    a, b = np.array(sorted(pairs), dtype=np.intp).T
    few = FewPairs(
        without_pairs(measures),
        np.column_stack([a, b]),
        measures.squared_distance[:, a, b],
        measures.slope[:, a, b],
        measures.rank[:, a, b],
    )
    found = heritage(few, IN_PIECES)
    assert stated(found) == edges
    assert [tree.root for tree in found.trees] == [0, 30, 39]


def test_a_store_of_a_small_family_is_inferred_whole(grown: tuple[FamilyMeasures, set[tuple[int, int]]]) -> None:
    measures, _ = grown
    assert heritage(AllPairs(measures), Parameters()) == heritage(measures, Parameters())


def test_parts_of_the_forest_are_the_clusters_whatever_the_layers_of_each_member() -> None:
    measures, _ = family(3, [12, 5, 3, 1])
    lacking = measures.count.copy()
    lacking[4, :6] = 0
    both = (lacking > 0)[:, :, None] & (lacking > 0)[:, None, :]
    partial = replace(
        measures,
        count=lacking,
        squared_norm=np.where(lacking > 0, measures.squared_norm, np.nan),
        squared_distance=np.where(both, measures.squared_distance, np.nan),
    )
    for some in (measures, partial):
        label = parts(21, forest(AllPairs(some), range(21)).edges)
        found = tuple(tuple(np.flatnonzero(label == one).tolist()) for one in range(label.max() + 1))
        assert found == clusters(some)


def test_a_layer_in_which_nobody_is_near_anybody_does_not_part_relatives() -> None:
    measures, _ = family(4, [6, 6])
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(12, 192)) * 30
    squared = ((drawn[:, None] - drawn) ** 2).sum(axis=2)
    with_head = replace(
        measures,
        squared_distance=np.concatenate([measures.squared_distance[:4], squared[None]]),
        squared_norm=np.concatenate([measures.squared_norm[:4], (drawn**2).sum(axis=1)[None]]),
    )
    found = forest(AllPairs(with_head), range(12))
    assert found.unlike == (4,)
    assert sorted(map(tuple, np.sort(found.edges, axis=1).tolist()))
    assert len(set(parts(12, found.edges).tolist())) == 2


def test_members_of_which_too_little_is_left_to_be_joined_are_trees_of_their_own() -> None:
    """Of three that keep 20 elements of each layer, the first has 13 or 14 in common with the others, and these 19."""
    rng = np.random.default_rng(12)
    parent = {layer.name: rng.normal(size=layer.shape) for layer in LAYERS}
    models = [child(rng, parent) for _ in range(3)]
    largest = (range(20), [*range(14), *range(20, 26)], [*range(13), *range(20, 27)])
    for model, kept in zip(models, largest, strict=True):
        for name, values in parent.items():
            mask = np.zeros(values.size, dtype=bool)
            mask[np.argsort(-np.abs(values), axis=None)[list(kept)]] = True
            model[name] *= mask.reshape(values.shape)
    stranger = root(rng)
    models += [stranger, child(rng, stranger)]
    measures = builders.measured(models, LAYERS, slopes=True)
    for parameters in (Parameters(), Parameters(whole=1, piece=3)):
        assert [tree.members for tree in heritage(measures, parameters).trees] == [(0,), (1, 2), (3, 4)]
