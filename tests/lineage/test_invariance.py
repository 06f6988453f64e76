"""What does not matter to the measures of a layer: order, formats of equal values, files, blocks and sets of models."""

from __future__ import annotations

import builders
import numpy as np
import torch
from builders import PLENTY, measure
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.digest import FORMS
from lineage.family import Layer, LayerKind
from lineage.layer import LayerMeasures, measure_layer
from lineage.stored_tensor import DTYPES, StoredTensor
from lineage.stream import STRIDE, layer_stream

TINY = 2_000  # bytes: a block is one stride, and two models at a time are measured
ALONE = ("zeros", "outliers", "mean", "variance", "skewness", "kurtosis", "squared_norm", "minimum", "maximum")
SHAPES = st.sampled_from([(7, 5), (64, 64), (1, STRIDE + 1), (65, 64), (90, 100), (3, STRIDE)])
SEEDS = st.integers(0, 2**31 - 1)


def trunk(*shape: int) -> Layer:
    return Layer("w", shape, LayerKind.TRUNK)


def zoo(seed: int, shape: tuple[int, ...], members: int = 7) -> list[torch.Tensor]:
    """A root and models near it, pruned, rounded, cast, equal, spiked, and an unrelated one; float32 holds them all."""
    random = torch.Generator().manual_seed(seed)
    root = torch.randn(shape, generator=random)
    near = root + 1e-2 * torch.randn(shape, generator=random)
    spiked = near.clone()
    spiked.view(-1)[seed % spiked.numel()] = 60
    found = [
        root,
        torch.where(near.abs() < 0.6, 0, near),
        near.to(torch.bfloat16).float(),
        near.half().float(),
        spiked,
        root.clone(),
        torch.randn(shape, generator=random),
    ]
    return found[:members]


def check_same(found: LayerMeasures, expected: LayerMeasures, order: list[int] | None = None) -> None:
    """All measures of models that stand in this order are those of the models as they stand."""
    order = order or list(range(len(expected.digest)))
    pairs = np.ix_(order, order)
    for name in ("zeros", "outliers", "minimum", "maximum"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name)[order], err_msg=name)
    for name in ALONE:
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name)[order], rtol=1e-9, atol=1e-12)
    assert found.digest == tuple(expected.digest[row] for row in order)
    assert found.form == tuple(expected.form[row] for row in order)
    for name in ("squared_distance", "lost", "lost_of"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name)[pairs], rtol=1e-9, err_msg=name)
    np.testing.assert_array_equal(found.squared_distance == 0, expected.squared_distance[pairs] == 0)
    np.testing.assert_array_equal(found.equal, expected.equal[pairs])
    np.testing.assert_allclose(found.slope, expected.slope[pairs], atol=1e-4)
    np.testing.assert_array_equal(found.rank, expected.rank[pairs])


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, shape=SHAPES, data=st.data())
def test_the_order_of_models_does_not_matter(seed: int, shape: tuple[int, ...], data: st.DataObject) -> None:
    tensors = zoo(seed, shape)
    order = data.draw(st.permutations(range(len(tensors))))
    check_same(measure(trunk(*shape), [tensors[row] for row in order]), measure(trunk(*shape), tensors), list(order))


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, shape=SHAPES, data=st.data())
def test_the_format_of_equal_values_does_not_matter(seed: int, shape: tuple[int, ...], data: st.DataObject) -> None:
    tensors = zoo(seed, shape)
    stored = []
    for tensor in tensors:
        holding = [
            name for name in ("F64", "F32", "F16", "BF16") if torch.equal(tensor.to(DTYPES[name]).float(), tensor)
        ]
        stored.append(tensor.to(DTYPES[data.draw(st.sampled_from(holding))]))
    found, expected = measure(trunk(*shape), stored), measure(trunk(*shape), tensors)
    check_same(found, expected)
    holds = [[torch.equal(one.to(DTYPES[form]).float(), one) for form in FORMS[1:4]] for one in tensors]
    assert found.form == tuple(FORMS[0 if row[0] and row[1] else 1 + row.index(True)] for row in holds)


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, shape=SHAPES, memory=st.sampled_from([PLENTY, 200_000]))
def test_the_files_that_values_lie_in_do_not_matter(seed: int, shape: tuple[int, ...], memory: int) -> None:
    tensors = zoo(seed, shape)
    layer, random = trunk(*shape), np.random.default_rng(seed)
    reader, places = builders.in_memory(tensors)
    moved = [int(random.integers(0, 99)) for _ in places]
    shards = [
        StoredTensor(f"shard-{row}", "v", place.dtype, place.start + by, place.stop + by)
        for row, (place, by) in enumerate(zip(places, moved, strict=True))
    ]
    files = builders.Memory([bytes(by) + file for by, file in zip(moved, reader.files, strict=True)])
    with layer_stream(files, threads=3, request=1 << 12) as stream:
        found = measure_layer(stream, layer, shards, len(shards), memory)
    check_same(found, measure(layer, tensors, memory=memory))


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, shape=SHAPES)
def test_neither_blocks_nor_sets_of_models_matter(seed: int, shape: tuple[int, ...]) -> None:
    tensors = zoo(seed, shape)
    small, large = measure(trunk(*shape), tensors, memory=TINY), measure(trunk(*shape), tensors)
    for name in ("zeros", "outliers", "digest", "form"):
        np.testing.assert_array_equal(getattr(small, name), getattr(large, name))
    for name in (*ALONE, "squared_distance", "lost", "lost_of"):
        np.testing.assert_allclose(getattr(small, name), getattr(large, name), rtol=1e-9, atol=1e-12, err_msg=name)


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, shape=SHAPES, new=st.integers(1, 6))
def test_what_new_members_have_with_old_ones_is_what_all_have_together(
    seed: int, shape: tuple[int, ...], new: int
) -> None:
    tensors = zoo(seed, shape)
    found, whole = measure(trunk(*shape), tensors, members=new), measure(trunk(*shape), tensors)
    assert found.digest == whole.digest[:new]
    assert found.form == whole.form[:new]
    for name in ("squared_distance", "lost", "lost_of"):
        np.testing.assert_allclose(getattr(found, name), getattr(whole, name)[:new], rtol=1e-9, err_msg=name)
    np.testing.assert_array_equal(found.equal, whole.equal[:new])
    np.testing.assert_allclose(found.slope, whole.slope[:new], atol=1e-4)
    np.testing.assert_array_equal(whole.lost, whole.lost_of.T)


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, shape=SHAPES)
def test_pairs_are_symmetric_and_a_model_is_at_nothing_from_itself(seed: int, shape: tuple[int, ...]) -> None:
    found = measure(trunk(*shape), zoo(seed, shape))
    for name in ("squared_distance", "equal", "rank"):
        np.testing.assert_array_equal(getattr(found, name), getattr(found, name).T)
    np.testing.assert_array_equal(found.slope, -found.slope.T)
    assert (np.diagonal(found.squared_distance) == 0).all()
    assert found.squared_distance[0, 5] == 0  # two identical models
    window = 1 if min(shape) > 1 else np.nan  # vectors have none
    np.testing.assert_array_equal(found.equal[[0, *range(7)], [5, *range(7)]], window)
    assert found.digest[0] == found.digest[5]
    zero = found.squared_distance == 0
    assert zero.tolist() == [[a == b for b in found.digest] for a in found.digest]


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, shape=SHAPES, members=st.integers(2, 9), mean=st.sampled_from([0.0, 3.0]))
def test_distances_of_models_that_differ_by_a_ten_thousandth_are_exact_to_a_millionth(
    seed: int, shape: tuple[int, ...], members: int, mean: float
) -> None:
    random = torch.Generator().manual_seed(seed)
    roots = [torch.randn(shape, generator=random).double() + mean for _ in range(2)]
    tensors = [roots[row % 2] * (1 + 1e-4 * torch.randn(shape, generator=random)) for row in range(members)]
    values = torch.stack(tensors).flatten(1)
    direct = ((values[:, None] - values[None]) ** 2).sum(dim=2).numpy()
    for memory in (PLENTY, TINY):
        found = measure(trunk(*shape), tensors, memory=memory).squared_distance
        np.testing.assert_allclose(found, direct, rtol=1e-6)


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, shape=SHAPES, memory=st.sampled_from([TINY, PLENTY]))
def test_what_is_lost_to_zeros_is_left_out_only_where_it_is_little(
    seed: int, shape: tuple[int, ...], memory: int
) -> None:
    tensors = zoo(seed, shape)
    tensors[2].view(-1)[0] = 0.0  # an odd zero
    tensors[3] = torch.zeros_like(tensors[3])
    values = torch.stack(tensors).flatten(1).double()
    lost = ((values[:, None] ** 2) * (values[None] == 0)).sum(dim=2).numpy()
    found = measure(trunk(*shape), tensors, memory=memory)
    little = lost + lost.T <= 1e-3 * found.squared_distance
    np.testing.assert_allclose(found.lost, np.where(little, 0, lost), rtol=1e-9)
    np.testing.assert_allclose(found.lost_of, np.where(little, 0, lost.T), rtol=1e-9)
    assert (found.lost[[0, 1, 4], 3] > 0).all()
