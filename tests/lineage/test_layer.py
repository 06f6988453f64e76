"""All measures of one layer against direct computation, through every way a layer can be read."""

from __future__ import annotations

import math

import builders
import numpy as np
import pytest
import torch
from builders import PLENTY, measure
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.block import Work
from lineage.device import DeviceProducts
from lineage.digest import forms
from lineage.family import Layer, LayerKind
from lineage.layer import LayerMeasures, measure_layer
from lineage.stored_tensor import Block, Part
from lineage.stream import layer_stream

TINY = 2_000  # bytes: a block is one stride, and two models at a time are measured
PER_MEMBER = ("zeros", "mean", "variance", "skewness", "kurtosis", "squared_norm", "minimum", "maximum")


def trunk(*shape: int) -> Layer:
    return Layer("w", shape, LayerKind.TRUNK)


def related(generator: torch.Generator, shape: tuple[int, ...], members: int) -> list[torch.Tensor]:
    """A root, a stranger, and children of either that hardly or much differ, one of them equal to its parent."""
    models = [torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)]
    for index in range(members - 2):
        step = (1e-4, 0.1, 0.0)[index % 3]
        models.append(models[index // 2] + step * torch.randn(shape, generator=generator))
    return models[:members]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def check_against_numpy(found: LayerMeasures, layer: Layer, tensors: list[torch.Tensor], members: int) -> None:
    models = [{"w": tensor.double().numpy()} for tensor in tensors]
    expected = builders.measured(models, [layer], slopes=len(layer.shape) > 1)
    for name in ("zeros", "squared_norm", "variance", "kurtosis"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name)[0, :members], rtol=1e-9)
    squared = expected.squared_distance[0, :members]
    np.testing.assert_allclose(found.squared_distance, squared, rtol=1e-6)
    assert ((found.squared_distance == 0) == (squared == 0)).all()
    assert found.count == layer.size
    same = [[a == b for b in found.digest] for a in found.digest]
    assert same == (squared[:, :members] == 0).tolist()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    shape=st.sampled_from([(), (1,), (37,), (1, 9), (9, 1), (12, 20), (6, 3, 2, 2), (40, 3)]),
    members=st.integers(1, 7),
    new=st.integers(1, 7),
    memory=st.sampled_from([TINY, 50_000, PLENTY]),
)
def test_measures_are_those_of_direct_computation(
    seed: int, shape: tuple[int, ...], members: int, new: int, memory: int
) -> None:
    layer, new = trunk(*shape), min(new, members)
    tensors = related(generator(seed), shape, members)
    check_against_numpy(measure(layer, tensors, members=new, memory=memory), layer, tensors, new)


@pytest.mark.parametrize("shape", [(30, 40), (30, 5, 2, 4)])
def test_slopes_are_those_of_the_definition_where_the_layer_fits_the_window(shape: tuple[int, ...]) -> None:
    tensors = related(generator(), shape, 5)
    found = measure(trunk(*shape), tensors)
    models = [{"w": tensor.double().numpy()} for tensor in tensors]
    expected = builders.measured(models, [trunk(*shape)], slopes=True).slope[0]
    np.testing.assert_allclose(found.slope, expected, atol=1e-5)


@pytest.mark.parametrize("memory", [TINY, 100_000])
def test_the_cut_into_blocks_changes_no_number(memory: int) -> None:
    layer, tensors = trunk(50, 70), related(generator(1), (50, 70), 6)
    small, large = measure(layer, tensors, memory=memory), measure(layer, tensors)
    for name in (*PER_MEMBER, "squared_distance"):
        np.testing.assert_allclose(getattr(small, name), getattr(large, name), rtol=1e-9, atol=1e-12)
    assert small.digest == large.digest


def test_the_order_of_members_does_not_matter() -> None:
    tensors = related(generator(2), (40, 30), 7)
    order = [3, 6, 0, 5, 2, 1, 4]
    straight, turned = measure(trunk(40, 30), tensors), measure(trunk(40, 30), [tensors[i] for i in order])
    for name in PER_MEMBER:
        np.testing.assert_array_equal(getattr(turned, name), getattr(straight, name)[order])
    pairs = np.ix_(order, order)
    np.testing.assert_allclose(turned.squared_distance, straight.squared_distance[pairs], rtol=1e-9)
    np.testing.assert_allclose(turned.slope, straight.slope[pairs], atol=1e-5)
    np.testing.assert_array_equal(turned.rank, straight.rank[pairs])
    assert turned.digest == tuple(straight.digest[i] for i in order)


def test_pairs_of_new_members_are_symmetric_to_the_last_bit() -> None:
    found = measure(trunk(40, 30), related(generator(3), (40, 30), 7))
    np.testing.assert_array_equal(found.squared_distance, found.squared_distance.T)
    np.testing.assert_array_equal(found.rank, found.rank.T)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("shape", [(50,), (20, 30)])
def test_numbers_that_are_none_leave_all_others_untouched(bad: float, shape: tuple[int, ...]) -> None:
    tensors = related(generator(4), shape, 6)
    broken = [tensor.clone() for tensor in tensors]
    broken[2].view(-1)[17] = bad
    found, whole = measure(trunk(*shape), broken, memory=TINY), measure(trunk(*shape), tensors, memory=TINY)
    assert list(found.unusable) == [2]
    assert "NaN" in found.unusable[2]
    check_the_rest(found, whole, lost=2)


@pytest.mark.parametrize("new", [6, 2])
@pytest.mark.parametrize("readable", [0, 4 * 333])
def test_a_member_that_cannot_be_read_leaves_all_others_untouched(readable: int, new: int) -> None:
    tensors = related(generator(5), (20, 30), 6)
    found = measure(trunk(20, 30), tensors, members=new, memory=20_000, broken={2: 6 + readable})
    assert list(found.unusable) == [2]
    check_the_rest(found, measure(trunk(20, 30), tensors, members=new, memory=20_000), lost=2)


def check_the_rest(found: LayerMeasures, whole: LayerMeasures, lost: int) -> None:
    members, models = found.squared_distance.shape
    rest = [index for index in range(models) if index != lost]
    rows = [index for index in rest if index < members]
    for name in PER_MEMBER:
        np.testing.assert_array_equal(getattr(found, name)[rows], getattr(whole, name)[rows])
    for name in ("squared_distance", "slope", "rank"):
        np.testing.assert_allclose(getattr(found, name)[np.ix_(rows, rest)], getattr(whole, name)[np.ix_(rows, rest)])
    assert [found.digest[row] for row in rows] == [whole.digest[row] for row in rows]
    assert np.isnan(found.squared_distance[:, lost]).all()
    if lost < members:
        assert np.isnan(found.squared_distance[lost]).all()
        assert np.isnan(found.kurtosis[lost])
        assert (np.delete(found.rank[lost], lost) == -1).all()


def test_a_digest_tells_values_apart_but_not_lossless_casts() -> None:
    half = torch.randn((20, 30), generator=generator(6)).to(torch.bfloat16)
    casts = [half, half.float(), half.double()]
    other = half.double()
    other[3, 4] += 1e-12
    negative_zero = half.float()
    negative_zero[0, 0] = -0.0
    zero = half.float()
    zero[0, 0] = 0.0
    found = measure(trunk(20, 30), [*casts, other, negative_zero, zero], memory=TINY * 10)
    assert len(set(found.digest[:3])) == 1
    assert found.digest[3] not in found.digest[:3]
    assert found.digest[4] == found.digest[5] != found.digest[0]
    assert found.squared_distance[0, 3] == pytest.approx(1e-24, rel=1e-3)
    assert (found.squared_distance[:3, :3] == 0).all()
    assert (found.rank[:3, :3] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_the_ranks_of_low_rank_children_and_of_their_siblings_are_measured(dtype: torch.dtype) -> None:
    random = generator(7)
    parent = torch.randn((128, 96), generator=random).to(dtype)
    children = []
    for rank in (3, 8):
        delta = torch.randn((128, rank), generator=random) @ torch.randn((rank, 96), generator=random)
        children.append((parent + 0.3 * delta / rank**0.5).to(dtype))
    full = (parent.float() + 0.2 * torch.randn((128, 96), generator=random)).to(dtype)
    found = measure(trunk(128, 96), [parent, *children, full, parent.clone()])
    assert found.rank[:3, :3].tolist() == [[0, 3, 8], [3, 0, 11], [8, 11, 0]]
    assert (found.rank[3, [0, 1, 2, 4]] > 80).all()
    assert found.rank[0, 4] == 0


def test_a_cast_that_loses_digits_is_at_rank_nothing() -> None:
    fine = torch.randn((128, 96), generator=generator(8))
    found = measure(trunk(128, 96), [fine, fine.to(torch.bfloat16), fine.half()])
    assert (found.squared_distance[np.triu_indices(3, 1)] > 0).all()
    assert (found.rank == 0).all()


def test_ranks_are_left_out_between_strangers_for_vectors_and_where_memory_is_short() -> None:
    tensors = [torch.randn((40, 30), generator=generator(seed)) for seed in (1, 2)]
    assert measure(trunk(40, 30), tensors).rank.tolist() == [[0, -1], [-1, 0]]
    related_pair = [tensors[0], tensors[0] + 0.1 * tensors[1]]
    assert measure(trunk(40, 30), related_pair).rank[0, 1] > 0
    assert measure(trunk(40, 30), related_pair, memory=20_000).rank[0, 1] == -1
    flat = [tensor.view(-1) for tensor in related_pair]
    assert measure(Layer("w", (1_200,), LayerKind.VECTOR), flat).rank[0, 1] == -1


def test_only_the_nearest_models_are_worth_a_rank() -> None:
    base = torch.randn((8, 8), generator=generator(9))
    tensors = [base + 0.01 * (index + 1) * torch.randn((8, 8), generator=generator(index)) for index in range(20)]
    found = measure(trunk(8, 8), tensors, members=1)
    nearest = set(np.argsort(found.squared_distance[0])[:17])
    assert set(np.flatnonzero(found.rank[0] >= 0)) == nearest


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.float32, torch.bool, torch.uint8])
def test_of_a_buffer_only_equality_is_measured(dtype: torch.dtype) -> None:
    table = torch.arange(60).to(dtype)
    changed = table.clone()
    changed[30] = 0
    layer = Layer("table", (60,), LayerKind.BUFFER)
    found = measure(layer, [table, table.clone(), changed, table.to(torch.int64)], members=3, memory=TINY)
    assert found.digest[0] == found.digest[1] != found.digest[2]
    assert found.count == 60
    assert np.isnan(found.squared_distance).all()
    assert np.isnan(found.slope).all()
    assert (found.rank == -1).all()
    assert found.unusable == {}


def test_large_integers_that_differ_by_one_are_told_apart() -> None:
    layer = Layer("ids", (3,), LayerKind.BUFFER)
    found = measure(layer, [torch.tensor([2**40, 1, 2]), torch.tensor([2**40 + 1, 1, 2])])
    assert found.digest[0] != found.digest[1]


def test_infinity_in_a_buffer_is_no_fault() -> None:
    mask = torch.full((4, 4), -math.inf).triu(1)
    found = measure(Layer("mask", (4, 4), LayerKind.BUFFER), [mask, mask.clone()])
    assert found.unusable == {}
    assert found.digest[0] == found.digest[1]


def test_an_empty_layer_is_measured_as_nothing() -> None:
    found = measure(trunk(0, 4), [torch.empty((0, 4))] * 2)
    assert found.count == 0
    assert found.squared_norm.tolist() == [0, 0]
    assert found.unusable == {}


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), members=st.integers(1, 6), new=st.integers(1, 6))
def test_layers_of_several_blocks_are_those_of_direct_computation(seed: int, members: int, new: int) -> None:
    layer, new = trunk(130, 150), min(new, members)
    tensors = related(generator(seed), (130, 150), members)
    check_against_numpy(measure(layer, tensors, members=new, memory=TINY), layer, tensors, new)


@pytest.mark.parametrize("dtypes", [(torch.float32,), (torch.float16, torch.float32, torch.bfloat16, torch.float64)])
def test_models_that_do_not_fit_together_are_measured_set_by_set(dtypes: tuple[torch.dtype, ...]) -> None:
    tensors = [
        tensor.to(dtypes[index % len(dtypes)]) for index, tensor in enumerate(related(generator(9), (70, 90), 9))
    ]
    straight = measure(trunk(70, 90), tensors, members=5)
    sets = measure(trunk(70, 90), tensors, members=5, memory=TINY)
    for name in PER_MEMBER:
        np.testing.assert_allclose(getattr(sets, name), getattr(straight, name), rtol=1e-12, err_msg=name)
    np.testing.assert_allclose(sets.squared_distance, straight.squared_distance, rtol=1e-9)
    assert sets.digest == straight.digest


def test_formats_that_hold_the_same_numbers_give_the_same_measures() -> None:
    coarse = [tensor.to(torch.bfloat16) for tensor in related(generator(10), (90, 120), 5)]
    mixed = [
        tensor.to(dtype)
        for tensor, dtype in zip(
            coarse, (torch.float64, torch.bfloat16, torch.float32, torch.float32, torch.bfloat16), strict=True
        )
    ]
    same, other = measure(trunk(90, 120), coarse), measure(trunk(90, 120), mixed)
    for name in PER_MEMBER:
        np.testing.assert_allclose(getattr(other, name), getattr(same, name), rtol=1e-12, err_msg=name)
    np.testing.assert_allclose(other.squared_distance, same.squared_distance, rtol=1e-12)
    np.testing.assert_allclose(other.slope, same.slope, atol=1e-5)
    assert other.digest == same.digest


def test_ranks_are_left_out_where_they_are_not_asked_for() -> None:
    tensors = related(generator(11), (20, 30), 4)
    reader, places = builders.in_memory(tensors)
    with layer_stream(reader) as stream:
        found = measure_layer(stream, trunk(20, 30), places, 4, PLENTY, with_ranks=False)
    assert (found.rank[found.squared_distance > 0] == -1).all()
    assert (found.squared_distance > 0).any()


def test_a_single_model_is_measured() -> None:
    (tensor,) = related(generator(12), (60, 80), 1)
    found = measure(trunk(60, 80), [tensor])
    check_against_numpy(found, trunk(60, 80), [tensor], 1)
    assert found.squared_distance.tolist() == [[0]]
    assert found.rank.tolist() == [[0]]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), new=st.integers(1, 5), bad=st.booleans())
def test_the_path_for_devices_finds_what_the_processor_finds(seed: int, new: int, bad: bool) -> None:
    tensors = [tensor.half() for tensor in related(generator(seed), (5_000,), 5)]
    if bad:
        tensors[0][17] = math.nan
    values = torch.stack(tensors)
    values[4, ::3] = 0
    parts = (Part(slice(0, 2), "F16", values[:2]), Part(slice(2, 5), "F32", values[2:].float()))
    block = Block(0, 5_000, 5, parts, (3,))
    forms_of = [forms("F16") if row < 2 else forms("F32") for row in range(new)]
    work = Work(5, new, torch.device("cpu"))
    found = work.measure(block, work.pilot(block), forms_of)
    with DeviceProducts(torch.device("cpu")).begun(block, new) as queued:
        pass
    distances, lost, unusable = queued.result()
    assert found.bad.tolist() == [bad, False, False, True, False]
    assert unusable.tolist() == [bad, False, False, False, False]
    good = np.ix_(~found.bad[:new], ~found.bad)
    np.testing.assert_allclose(distances[good], found.distances[good], rtol=1e-9)
    nothing = np.zeros((5, 5))
    ours, theirs = (nothing if one is None else one for one in (found.lost, lost))
    np.testing.assert_allclose(theirs[good], ours[good], rtol=1e-9, atol=1e-9)
