"""Sketches of layers: CountSketches by their algebra and their promised error, projections by the ranks they give."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np
import pytest
import torch
from builders import PLENTY, in_memory
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lineage.decoding import rows_of
from lineage.family import Layer, LayerKind
from lineage.layer import measure_layer
from lineage.projection import Probes, Projection, projected_rank
from lineage.sketch import BUCKETS, CountSketch, buckets, relative_error
from lineage.sketching import LayerSketches
from lineage.stored_tensor import Part
from lineage.stream import STRIDE, layer_stream

TINY = 200_000  # bytes: many blocks


def layer(*shape: int, name: str = "w") -> Layer:
    return Layer(name, shape, LayerKind.TRUNK)


def count(of: Layer, values: torch.Tensor, size: int = 64, seed: int = 1) -> NDArray[np.float64]:
    """The (n, k) CountSketches of (n, elements) values."""
    found = np.zeros((len(values), size))
    part = Part(slice(0, len(values)), "F64", values)
    CountSketch.of(of, size, seed).add(rows_of([part], values.shape[1]), 0, found)
    return found


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), length=st.sampled_from([1, 37, STRIDE, 3 * STRIDE + 5]), a=st.floats(-3, 3))
def test_a_sketch_of_a_sum_is_the_sum_of_the_sketches(seed: int, length: int, a: float) -> None:
    one, other = random(seed, 2, length)
    found = count(layer(length), torch.stack([one, other, one - a * other]))
    np.testing.assert_allclose(found[2], found[0] - a * found[1], atol=1e-10 * (1 + length))


def deltas(kind: str) -> torch.Tensor:
    """(elements,) differences as trainings leave them: everywhere, in few rows, in few columns, in few elements."""
    delta = random(3, 50, 300)
    if kind == "rows":
        delta[5:] = 0
    elif kind == "columns":
        delta[:, 4:] = 0
    elif kind == "elements":
        delta *= random(4, 50, 300).abs() > 3
    elif kind == "one":
        delta = torch.zeros_like(delta)
        delta[17, 23] = 2.0
    return delta.reshape(-1)


@pytest.mark.parametrize("kind", ["everywhere", "rows", "columns", "elements", "one"])
@pytest.mark.parametrize("size", [16, 128])
def test_the_estimate_is_unbiased_and_its_error_is_within_the_bound(kind: str, size: int) -> None:
    delta = deltas(kind)
    true = float(delta @ delta)
    found = np.array([(count(layer(50, 300), delta[None], size, seed) ** 2).sum() for seed in range(150)]) / true
    error = relative_error(size)
    assert abs(found.mean() - 1) < 4 * error / np.sqrt(len(found)) + 1e-12
    assert found.std() < 1.3 * error


def test_two_layers_have_their_own_signs_and_a_name_has_the_same_ones_always() -> None:
    values = random(5, 1, 5_000)
    one, same, other = (count(layer(5_000, name=name), values) for name in ("a", "a", "b"))
    np.testing.assert_array_equal(one, same)
    assert abs(np.corrcoef(one[0], other[0])[0, 1]) < 0.6


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.int8])
def test_equal_values_have_equal_sketches_in_every_format(dtype: torch.dtype) -> None:
    narrow = (random(6, 90, 70) * 20).round().to(dtype)
    tensors = [narrow, narrow.float(), narrow.double()]
    found = sketched(layer(90, 70), tensors, size=32)[0]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[2])


def test_buckets_are_shared_out_by_parameters() -> None:
    assert buckets([1_000_000] * 4) == [BUCKETS // 4] * 4
    assert buckets([10_000_000, 10_000, 3, 1]) == [4092, 8, 3, 1]
    assert buckets([10_000_000]) == [STRIDE]
    assert buckets([]) == []
    sizes = [4096 * 4096] * 200 + [4096] * 400
    assert sum(buckets(sizes)) < BUCKETS + 8 * 400 + 200


def sketched(
    of: Layer,
    tensors: Sequence[torch.Tensor],
    *,
    size: int = 64,
    members: int | None = None,
    memory: int = PLENTY,
    project: Sequence[int] = (),
    probes: int = 40,
) -> tuple[NDArray[np.float64], list[Projection | None]]:
    """The CountSketches and projections of a layer of tensors that are in memory, taken while it is measured."""
    reader, places = in_memory(tensors)
    members = len(tensors) if members is None else members
    shape = (of.shape[0], of.size // of.shape[0])
    sketches = LayerSketches(
        CountSketch.of(of, size),
        places,
        count=range(members),
        shape=shape,
        probes=Probes(shape[1], probes),
        project=project,
    )
    with closing(sketches), layer_stream(reader) as stream:
        measure_layer(sketches.watch(stream), of, places, members, memory, with_ranks=False)
        return sketches.counted, [held(sketches.projection(model)) for model in range(len(tensors))]


def held(projection: Projection | None) -> Projection | None:
    if projection is None:
        return None
    values = projection.read(0, projection.rows)
    return Projection(lambda first, stop: values[first:stop], *list(vars(projection).values())[1:])


@pytest.mark.parametrize("memory", [2_000, TINY, 2_000_000])
@pytest.mark.parametrize("shape", [(50, 330), (3, 9_000), (700, 45)])
def test_the_cut_into_blocks_and_passes_changes_no_sketch(shape: tuple[int, int], memory: int) -> None:
    tensors = [random(seed, *shape).to(dtype) for seed, dtype in enumerate([torch.float32, torch.bfloat16] * 3)]
    project = [0, 1, 5]
    small = sketched(layer(*shape), tensors, members=4, memory=memory, project=project)
    large = sketched(layer(*shape), tensors, members=4, project=project)
    whole = [count(layer(*shape), tensor.reshape(1, -1), seed=20_261_108)[0] for tensor in tensors[:4]]
    for found, _ in (small, large):
        np.testing.assert_allclose(found[:4], whole, rtol=1e-12, atol=1e-9)
        assert np.isnan(found[4:]).all()
    for one, another in zip(small[1], large[1], strict=True):
        assert (one is None) == (another is None)
        if one is not None and another is not None:
            np.testing.assert_allclose(one.read(0, shape[0]), another.read(0, shape[0]), rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(one.noise, another.noise, rtol=1e-12)
            assert one.significand == another.significand


def test_a_projection_is_the_matrix_times_its_probes() -> None:
    tensors = [random(seed, 60, 400) for seed in range(3)]
    _, found = sketched(layer(60, 400), tensors, project=[0, 1, 2], memory=TINY)
    values = [one.read(0, 60) for one in found if one is not None]
    # Linear, and the same probes for all: solving for them from two gives the third.
    stacked = torch.cat([tensors[0], tensors[1]]).numpy()
    probes, *_ = np.linalg.lstsq(stacked, np.concatenate(values[:2]), rcond=None)
    both = np.concatenate(values[:2])
    np.testing.assert_allclose(stacked @ probes, both, atol=1e-8)
    assert np.std(both / np.sqrt(400)) == pytest.approx(1, rel=0.05)


FORMATS = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


@pytest.mark.parametrize("dtype", list(FORMATS))
@pytest.mark.parametrize("shape", [(340, 400), (500, 360)])
def test_ranks_are_found_from_projections_that_were_taken_on_the_way(
    shape: tuple[int, int], dtype: torch.dtype
) -> None:
    parent = random(1, *shape).to(dtype)
    children = []
    for seed, of in enumerate((4, 9)):
        delta = random(10 + seed, shape[0], of) @ random(20 + seed, of, shape[1]) / of**0.5
        children.append((parent.double() + 0.2 * delta).to(dtype))
    full = (parent.double() + 0.2 * random(2, *shape)).to(dtype)
    tensors = [parent, *children, full, children[0].double()]
    _, found = sketched(layer(*shape), tensors, project=range(5), probes=60, memory=2_000_000)
    projections = [one for one in found if one is not None]
    all_of_it = min(shape)
    expected = {(0, 1): 4, (0, 2): 9, (1, 2): 13, (0, 3): all_of_it, (1, 3): all_of_it, (0, 4): 4, (2, 4): 13}
    for (one, another), rank in expected.items():
        assert projected_rank(projections[one], projections[another], shape) == rank
        assert projected_rank(projections[another], projections[one], shape) == rank


def test_a_cast_is_at_rank_nothing_and_a_faint_full_change_on_one_grid_is_full() -> None:
    fine = random(1, 340, 400).float()
    coarse = fine.to(torch.bfloat16)
    faint = coarse.clone()
    where = random(2, 340, 400) > 2.5
    faint[where] = torch.nextafter(coarse[where], torch.full_like(coarse[where], 9.0))
    _, found = sketched(layer(340, 400), [fine, coarse, coarse.float(), faint], project=range(4), probes=60)
    one, cast, copy, changed = [projection for projection in found if projection is not None]
    assert projected_rank(one, cast, (340, 400)) == 0
    assert projected_rank(one, copy, (340, 400)) == 0
    assert projected_rank(copy, changed, (340, 400)) == 340
    assert projected_rank(cast, changed, (340, 400)) == 340


def test_what_is_no_number_spoils_no_other_model() -> None:
    tensors = [random(seed, 20, 400) for seed in range(3)]
    clean = sketched(layer(20, 400), tensors, project=range(3))
    tensors[1][3, 3] = torch.inf
    tensors[1][3, 4] = torch.nan
    found = sketched(layer(20, 400), tensors, project=range(3))
    np.testing.assert_array_equal(found[0][[0, 2]], clean[0][[0, 2]])
    assert np.isnan(found[0][1]).any()
