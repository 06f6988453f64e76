"""Int8 with a scale for each row: decoded block by block, and refused where the scales are of no use."""

from __future__ import annotations

from dataclasses import replace

import builders
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lineage import rank, scales
from lineage.stored_tensor import Block, StoredTensor
from lineage.stream import STRIDE, layer_stream
from lineage.whole import ranks

MAGNITUDES = st.floats(0, 2.0**100, width=32)


def packed(values: torch.Tensor, scale: torch.Tensor, order: int = 0) -> tuple[bytes, StoredTensor]:
    """An int8 matrix with its scales and order as they lie in a file, and its place."""
    parts = [scale.numpy().tobytes(), values.numpy().tobytes(), bytes([order])]
    a, b, c = np.cumsum([len(part) for part in parts]).tolist()
    beside = StoredTensor("f", "l.SCB", "F32", 0, a), StoredTensor("f", "l.weight_format", "U8", b, c)
    return b"".join(parts), StoredTensor("f", "l.weight", "I8", a, b, *beside)


def matrix(seed: int, rows: int, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(-127, 128, (rows, columns), generator=generator, dtype=torch.int8)
    return values, torch.rand(rows, generator=generator) + 0.1


def read(files: list[bytes], places: list[StoredTensor], size: int, step: int) -> tuple[list[Block], torch.Tensor]:
    """All blocks of a layer, and the values of its models as float64."""

    def copy(block: Block) -> tuple[Block, torch.Tensor]:
        return block, torch.cat([part.values.double() for part in block.parts])

    with layer_stream(builders.Memory(files)) as stream:
        found = list(stream.each(places, size, step, lambda _: copy))
        return [block for block, _ in found], torch.cat([values for _, values in found], dim=1)


@settings(deadline=None)
@given(
    data=st.data(),
    columns=st.integers(1, 9),
    scale=st.lists(MAGNITUDES, min_size=1, max_size=6).map(lambda some: np.array(some, np.float32)),
)
def test_any_stretch_of_a_matrix_is_decoded_as_integer_times_the_step_of_its_row(
    data: st.DataObject, columns: int, scale: np.ndarray[tuple[int], np.dtype[np.float32]]
) -> None:
    stored = data.draw(arrays(np.int8, (len(scale), columns)))
    start = data.draw(st.integers(0, stored.size - 1))
    stop = data.draw(st.integers(start + 1, stored.size))
    out = np.full(stop - start, np.nan, np.float32)
    step = scales.steps(scale)
    scales.decode(stored.reshape(-1)[start:stop], start, columns, step, out)
    expected = stored.astype(np.float32) * (scale / np.float32(127))[:, None]
    np.testing.assert_array_equal(out, expected.reshape(-1)[start:stop])
    exact = stored.astype(np.float64) * scale.astype(np.float64)[:, None] / 127
    np.testing.assert_allclose(out, exact.reshape(-1)[start:stop], rtol=2**-22, atol=1e-42)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1e-3])
def test_scales_that_are_no_magnitudes_are_refused_with_their_row(wrong: float) -> None:
    with pytest.raises(ValueError, match=r"1 of 3 scales, first that of row 1"):
        scales.steps(np.array([1, wrong, 0], dtype=np.float32))


@pytest.mark.parametrize("step", [STRIDE, 3 * STRIDE])
def test_blocks_hold_the_decoded_values_beside_those_of_other_formats(step: int) -> None:
    values, scale = matrix(1, 17, 1031)
    plain = torch.randn(17, 1031, generator=torch.Generator().manual_seed(2))
    file, place = packed(values, scale)
    files, places = [plain.numpy().tobytes(), file], [StoredTensor("f", "l.weight", "F32", 0, 4 * plain.numel()), place]
    found, decoded = read(files, places, plain.numel(), step)
    assert [part.dtype for block in found for part in block.parts] == ["F32"] * len(found)
    expected = values.numpy().astype(np.float32) * (scale.numpy() / np.float32(127))[:, None]
    np.testing.assert_array_equal(decoded[1].numpy(), expected.reshape(-1))
    np.testing.assert_array_equal(decoded[0].numpy(), plain.numpy().reshape(-1))


@pytest.mark.parametrize("step", [STRIDE, 3 * STRIDE])
def test_what_lies_transposed_in_its_file_is_the_same_layer(step: int) -> None:
    values, scale = matrix(1, 1031, 17)
    file, place = packed(values, scale)
    expected = (values.numpy().astype(np.float32) * (scale.numpy() / np.float32(127))[:, None]).T
    plain = np.ascontiguousarray(expected)
    files = [plain.tobytes(), file]
    places = [StoredTensor("f", "l.weight", "F32", 0, plain.nbytes), replace(place, dtype="I8T")]
    _, decoded = read(files, places, plain.size, step)
    np.testing.assert_array_equal(decoded[1].numpy(), plain.reshape(-1))
    with layer_stream(builders.Memory(files)) as stream:
        list(stream.each(places, plain.size, step, lambda _: lambda block: block.count))
        np.testing.assert_allclose(
            stream.steps[1], np.full(17, np.sqrt(np.mean((scale.numpy() / 127) ** 2))), rtol=1e-6
        )


@pytest.mark.parametrize(("order", "wrong", "said"), [(2, 1.0, "weight_format is 2"), (0, -1.0, "l.SCB: NaN, inf")])
def test_what_cannot_be_decoded_is_refused_and_left_unread(order: int, wrong: float, said: str) -> None:
    values, scale = matrix(1, 4, 8)
    good, place = packed(values, scale)
    scale[2] *= wrong
    bad, _ = packed(values, scale, order)
    with layer_stream(builders.Memory([good, bad])) as stream:
        (block,) = stream.each([place, place], 32, STRIDE, lambda _: lambda block: block)
        assert block.unread == (1,)
        assert said in stream.refused[1]
        assert 0 not in stream.refused
        assert list(stream.steps) == [0]


def test_the_rounding_of_rows_of_very_different_steps_is_no_rank_and_what_is_above_it_is() -> None:
    generator = torch.Generator().manual_seed(3)
    sizes = 10 ** torch.linspace(-2, 1, 64, dtype=torch.float64)[:, None]
    plain = torch.randn((64, 200), generator=generator, dtype=torch.float64) * sizes
    change = torch.randn((64, 4), generator=generator).double() @ torch.randn((4, 200), generator=generator).double()
    models, steps = [plain], {}
    for number, values in enumerate((plain, plain + 0.1 * sizes * change), 1):
        steps[number] = (values.abs().amax(dim=1) / 127).numpy().astype(np.float32)
        step = torch.from_numpy(steps[number]).double()[:, None]
        models.append((values / step).round() * step)
    stacked = torch.stack(models).float()
    distances = (stacked[:, None].double() - stacked[None].double()).square().sum(dim=(2, 3)).numpy()
    norms = stacked.double().square().sum(dim=(1, 2)).numpy()
    found = ranks(stacked, distances, norms, ["F32"] * 3, steps)
    assert found[np.triu_indices(3, 1)].tolist() == [0, 4, 4]
    # One deviation for all rows, though it is that of the whole matrix, would count the coarsest rows' rounding.
    of_all = float(np.sqrt(np.mean(rank.step_noise(steps[2]) ** 2)))
    assert rank.numerical_rank(stacked[0].double() - stacked[2].double(), of_all) > 4


def test_a_model_whose_scales_cannot_be_read_is_unread_alone() -> None:
    values, scale = matrix(1, 4, 8)
    file, place = packed(values, scale)
    with layer_stream(builders.Memory([file, file], broken={1: 0})) as stream:
        (block,) = stream.each([place, place], 32, STRIDE, lambda _: lambda block: block)
        assert block.unread == (1,)
        assert not stream.refused
