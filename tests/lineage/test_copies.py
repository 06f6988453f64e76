"""Casts and pruned copies stand with what they were made from, and their children with them."""

from __future__ import annotations

from dataclasses import replace

import builders
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lineage.copies import copies, stand_ins
from lineage.family import FamilyMeasures, Layer, LayerKind
from lineage.parameters import Parameters
from lineage.recover import heritage
from lineage.skeleton import skeleton

Model = dict[str, NDArray[np.float64]]

LAYERS = (
    *(Layer(name, (48, 64), LayerKind.TRUNK) for name in ("q", "k", "v")),
    Layer("bias", (64,), LayerKind.VECTOR),
)
FORMS = {torch.bfloat16: 1, torch.float16: 2, torch.float32: 3}


def root(rng: np.random.Generator) -> Model:
    return {layer.name: rng.normal(size=layer.shape).astype(np.float32).astype(np.float64) for layer in LAYERS}


def child(rng: np.random.Generator, parent: Model, step: float = 0.05) -> Model:
    moved = {name: tensor + step * rng.normal(size=tensor.shape) for name, tensor in parent.items()}
    return {name: tensor.astype(np.float32).astype(np.float64) for name, tensor in moved.items()}


def cast(model: Model, dtype: torch.dtype = torch.bfloat16) -> Model:
    return {name: torch.from_numpy(tensor).to(dtype).double().numpy() for name, tensor in model.items()}


def quantised(model: Model) -> Model:
    """Int8 rows, decoded to float32; vectors in float16, as bitsandbytes leaves them."""

    def rows(tensor: NDArray[np.float64]) -> NDArray[np.float64]:
        step = np.abs(tensor).max(axis=1, keepdims=True) / 127
        found: NDArray[np.float64] = (np.round(tensor / step) * step).astype(np.float32).astype(np.float64)
        return found

    vectors = cast(model, torch.float16)
    return {name: rows(tensor) if tensor.ndim > 1 else vectors[name] for name, tensor in model.items()}


def pruned(model: Model, share: float) -> Model:
    def cut(tensor: NDArray[np.float64]) -> NDArray[np.float64]:
        return (
            np.where(np.abs(tensor) <= np.quantile(np.abs(tensor), share), 0.0, tensor) if tensor.ndim > 1 else tensor
        )

    return {name: cut(tensor) for name, tensor in model.items()}


def kept_pruned(rng: np.random.Generator, model: Model, step: float = 0.05) -> Model:
    """Training that leaves pruned elements at zero."""
    return {name: np.where(tensor == 0, 0.0, child(rng, model, step)[name]) for name, tensor in model.items()}


def measured(models: list[Model]) -> FamilyMeasures:
    found = builders.measured(models, LAYERS)
    lost = np.array(
        [[[(a[layer.name][b[layer.name] == 0] ** 2).sum() for b in models] for a in models] for layer in LAYERS]
    )
    form = np.array([[_form(model[layer.name]) for model in models] for layer in LAYERS])
    unranked = np.full_like(found.rank, -1)
    return replace(found, rank=unranked, lost=lost.astype(np.float32), form=form.astype(np.int8))


def _form(tensor: NDArray[np.float64]) -> int:
    exact = torch.from_numpy(tensor)
    holds = [form for dtype, form in FORMS.items() if torch.equal(exact.to(dtype).double(), exact)]
    return 0 if holds[:2] == [1, 2] else holds[0]


def edges_of(models: list[Model]) -> set[tuple[int, int]]:
    return set(skeleton(measured(models), range(len(models))).outward(0))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_cast_is_known_by_its_form_and_distance_and_a_fine_tune_stored_coarsely_is_none(dtype: torch.dtype) -> None:
    rng = np.random.default_rng(0)
    parent = root(rng)
    found = copies(
        measured([parent, cast(parent, dtype), cast(child(rng, parent), dtype), child(rng, parent)]), range(4)
    )
    assert found.source == {1: 0}
    assert not found.pruned


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_int8_copies_are_known_by_their_vectors_and_zeros_and_have_children_of_their_own(
    seed: int, dtype: torch.dtype
) -> None:
    rng = np.random.default_rng(seed)
    top = cast(root(rng), dtype)
    low = quantised(top)
    one, other = child(rng, top), child(rng, low, 0.02)
    models = [top, low, one, other, quantised(one), quantised(child(rng, top))]
    measures = measured(models)
    found = copies(measures, range(6))
    assert found.source == {1: 0, 4: 2}
    assert found.pruned == frozenset()  # some numbers are rounded to zero
    assert edges_of(models) == {(0, 1), (0, 2), (1, 3), (2, 4), (0, 5)}


@pytest.mark.parametrize("share", [0.005, 0.03])
def test_what_lost_as_many_numbers_as_int8_rounds_to_zero_and_kept_the_others_is_no_int8_copy(share: float) -> None:
    rng = np.random.default_rng(4)
    parent = root(rng)
    assert copies(measured([parent, pruned(parent, share)]), range(2)).source == {}


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_step_smaller_than_rounding_makes_no_copy_of_the_model_that_it_began_with(dtype: torch.dtype) -> None:
    """What is stored in 16 bits and trained by little from there is not rounded from its own child."""
    rng = np.random.default_rng(3)
    parent = cast(root(rng), dtype)
    grid = 2.0**-9 if dtype == torch.bfloat16 else 2.0**-12
    little = {
        name: (tensor + 0.1 * grid * rng.normal(size=tensor.shape)).astype(np.float32).astype(np.float64)
        for name, tensor in parent.items()
    }
    assert copies(measured([parent, little]), range(2)).source == {}
    assert copies(measured([parent, little, cast(root(rng), dtype)]), range(3)).source == {}


@pytest.mark.parametrize("seed", range(3))
def test_a_bf16_model_in_fp16_is_its_copy_and_an_fp16_model_in_bf16_too(seed: int) -> None:
    rng = np.random.default_rng(seed)
    small = {name: 1e-2 * tensor for name, tensor in root(rng).items()}  # of which some lie below 2**-17
    bfloat, half = cast(small, torch.bfloat16), cast(small, torch.float16)
    tuned = cast(child(rng, bfloat, 1e-3))
    models = [bfloat, cast(bfloat, torch.float16), tuned, cast(tuned, torch.float16), child(rng, bfloat, 1e-3)]
    found = copies(measured(models), range(5))
    assert found.source == {1: 0, 3: 2}
    assert not found.pruned
    assert edges_of(models) >= {(0, 1), (2, 3)}
    assert copies(measured([cast(half), half, child(rng, half, 1e-3)]), range(3)).source == {0: 1}


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_pruned_copy_is_known_by_its_zeros_and_what_it_kept(share: float) -> None:
    rng = np.random.default_rng(1)
    parent = root(rng)
    found = copies(measured([parent, pruned(parent, share), pruned(child(rng, parent), share)]), range(3))
    assert found.source == {1: 0}
    assert found.pruned == {1}


@pytest.mark.parametrize("seed", range(3))
def test_children_of_a_cast_are_told_from_children_of_its_source(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = root(rng)
    coarse = cast(parent)
    models = [parent, coarse, child(rng, parent, 0.01), child(rng, coarse, 0.01), cast(child(rng, coarse, 0.02))]
    assert edges_of(models) == {(0, 1), (0, 2), (1, 3), (1, 4)}


@pytest.mark.parametrize("seed", range(3))
def test_casts_of_two_models_are_not_each_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = root(rng)
    first = child(rng, parent, 0.02)
    assert edges_of([parent, cast(parent), first, cast(first)]) == {(0, 1), (0, 2), (2, 3)}


@pytest.mark.parametrize("seed", range(3))
def test_a_pruned_copy_keeps_its_own_children_and_no_others(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = root(rng)
    sparse = pruned(parent, 0.8)
    models = [
        parent,
        sparse,
        child(rng, parent),
        child(rng, sparse),  # trained on with all elements free
        kept_pruned(rng, sparse),
        pruned(child(rng, parent), 0.8),  # pruned after training: nearly the same zeros, but not all
    ]
    assert edges_of(models) == {(0, 1), (0, 2), (1, 3), (1, 4), (0, 5)}


def test_without_forms_and_zeros_nobody_is_a_copy() -> None:
    rng = np.random.default_rng(0)
    parent = root(rng)
    plain = builders.measured([parent, cast(parent), child(rng, parent)], LAYERS)
    assert copies(plain, range(3)).source == {}


@pytest.mark.parametrize("seed", range(2))
def test_a_child_whose_step_hides_the_rounding_is_an_even_choice_between_cast_and_source(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parent = root(rng)
    coarse = cast(parent, torch.float16)
    hidden = measured([parent, coarse, child(rng, coarse, 0.5)])
    found = skeleton(hidden, range(3))
    assert found.share.keys() == {(2, 0)}
    assert 0.5 <= found.share[2, 0] < 0.7
    (edge,) = (edge for edge in heritage(hidden, Parameters()).trees[0].edges if edge.child == 2)
    assert edge.evidence["share_among_copies"] == found.share[2, 0]
    assert edge.evidence["adjacency"] < 0.7
    clear = skeleton(measured([parent, cast(parent), child(rng, cast(parent), 0.01)]), range(3))
    assert clear.share[2, 0] > 0.999


def test_zeros_that_are_kept_leave_no_doubt_though_both_are_equally_near() -> None:
    rng = np.random.default_rng(3)
    parent = root(rng)
    sparse = pruned(parent, 0.8)
    found = skeleton(measured([parent, sparse, kept_pruned(rng, sparse), child(rng, parent)]), range(4))
    assert found.stand_in[2, 0] == 1
    assert found.share[2, 0] > 0.999
    assert found.share[3, 0] > 0.999


def test_three_equal_choices_share_evenly() -> None:
    rng = np.random.default_rng(4)
    parent = root(rng)
    models = [parent, cast(parent), cast(parent, torch.float16), child(rng, parent, 3.0)]
    shares = stand_ins(measured(models), [0, 3], copies(measured(models), range(4)))
    assert 1 / 3 - 0.01 <= shares.share[1, 0] < 0.5
    assert (shares.share <= 1).all()
