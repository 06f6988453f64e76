"""Blocks of a layer: what they hold, however small the memory, and from whatever it is stored as."""

from __future__ import annotations

import threading
from itertools import pairwise

import builders
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lineage import decoding
from lineage.stored_tensor import DTYPES, Block, StoredTensor
from lineage.stream import STRIDE, layer_stream

SIZES = st.sampled_from([1, 7, STRIDE - 1, STRIDE, STRIDE + 1, 5 * STRIDE + 13])


def decoded(block: Block, row: int) -> NDArray[np.float64]:
    rows = decoding.rows(block)
    values = np.empty(block.count)
    decoding.decode(rows.data, rows.at[row], rows.code[row], rows.count, values)
    return values


def blocks(
    tensors: list[torch.Tensor], step: int, broken: dict[int, int] | None = None
) -> list[tuple[Block, torch.Tensor]]:
    """Each block with its values as float64, copied before its memory is used again."""
    reader, places = builders.in_memory(tensors)
    reader.broken = broken or {}

    def copy(block: Block) -> tuple[Block, torch.Tensor]:
        return block, torch.cat([part.values.double() for part in block.parts])

    with layer_stream(reader) as stream:
        return list(stream.each(places, tensors[0].numel(), step, lambda _: copy))


@settings(max_examples=25, deadline=None)
@given(members=st.integers(1, 5), size=SIZES, strides=st.integers(1, 3))
def test_blocks_follow_one_another_and_hold_all_elements(members: int, size: int, strides: int) -> None:
    tensors = [torch.arange(size, dtype=torch.float32) + 1_000 * index for index in range(members)]
    found = blocks(tensors, strides * STRIDE)
    assert [block.start for block, _ in found] == list(range(0, size, strides * STRIDE))
    assert all(a.stop == b.start for (a, _), (b, _) in pairwise(found))
    assert torch.equal(torch.cat([values for _, values in found], dim=1), torch.stack(tensors).double())


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_format_is_decoded(dtype: str) -> None:
    kind = DTYPES[dtype]
    values = torch.tensor([0, 1, 2, 0.5, 1.5, 3, 4], dtype=torch.float64)
    if not kind.is_floating_point:
        values = values.round()
    if kind is torch.bool:
        values = values.clamp(max=1)
    stored = values.to(kind)
    reader, places = builders.in_memory([stored, torch.zeros(7)])
    with layer_stream(reader) as stream:
        (found,) = stream.each(places, 7, STRIDE, lambda _: lambda block: decoded(block, 0))
    assert found.tolist() == values.tolist()
    assert StoredTensor("f", "w", dtype, 0, 8).itemsize == stored.element_size()


def test_a_member_that_cannot_be_read_is_zero_there_and_the_others_are_there() -> None:
    tensors = [torch.arange(1.0, 3 * STRIDE + 1) for _ in range(3)]
    found = blocks(tensors, STRIDE, {1: 3 + 4 * (STRIDE + 5)})
    assert [block.unread for block, _ in found] == [(), (1,), (1,)]
    values = torch.cat([values for _, values in found], dim=1)
    assert torch.equal(values[1, :STRIDE], tensors[1][:STRIDE].double())
    assert not values[1, STRIDE:].any()
    assert torch.equal(values[[0, 2]], torch.stack(tensors)[[0, 2]].double())


def test_an_empty_layer_has_no_blocks() -> None:
    assert blocks([torch.empty(0), torch.empty(0)], STRIDE) == []


def test_every_byte_is_read_once_and_none_beside() -> None:
    tensors = [torch.randn(20_000), torch.randn(20_000).half()]
    reader, places = builders.in_memory(tensors)
    with layer_stream(reader) as stream:
        list(stream.each(places, 20_000, STRIDE, lambda _: lambda block: block.start))
    for member, place in enumerate(places):
        spans = sorted((start, length) for who, start, length in reader.reads if who == member)
        assert sum(length for _, length in spans) == place.stop - place.start
        assert all(a + length == b for (a, length), (b, _) in pairwise(spans))


def test_rows_may_stand_in_any_order() -> None:
    tensors = [torch.full((5,), float(index)) for index in range(4)]
    reader, places = builders.in_memory(tensors)
    order = [2, 0, 3, 1]
    with layer_stream(reader) as stream:
        (found,) = stream.each(
            [places[i] for i in order],
            5,
            STRIDE,
            lambda _: lambda block: block.parts[0].values[:, 0].tolist(),
            order=order,
        )
    assert found == order


def test_the_plan_sees_the_first_block_and_afterwards_all_results_that_were_given_out() -> None:
    reader, places = builders.in_memory([torch.arange(12.0 * STRIDE)])
    given_out: list[int] = []
    shown: list[tuple[int | None, int]] = []

    def plan(first: Block | None) -> object:
        shown.append((None if first is None else first.start, len(given_out)))
        return lambda block: block.start

    with layer_stream(reader, threads=2) as stream:
        for start in stream.each(places, 12 * STRIDE, STRIDE, plan):  # type: ignore[arg-type]
            given_out += [start]
    assert given_out == list(range(0, 12 * STRIDE, STRIDE))
    assert shown[0] == (0, 0)
    assert all(first is None for first, _ in shown[1:])
    assert [known for _, known in shown] == [0, 0, 0, *range(1, 10)]


@given(models=st.integers(1, 2_000), memory=st.integers(-(1 << 20), 1 << 33), request=st.integers(1, 1 << 24))
def test_a_block_is_whole_strides_and_no_more_than_the_memory(models: int, memory: int, request: int) -> None:
    tensors = [StoredTensor("f", "w", "F16", 0, 2 << 30)] * models
    with layer_stream(builders.Memory([]), request=request) as stream:
        elements = stream.step(tensors, 1 << 30, memory)
        assert elements % STRIDE == 0
        assert elements == STRIDE or elements * 2 * models * stream.in_flight <= memory


def test_buffers_are_used_over_and_over() -> None:
    reader, places = builders.in_memory([torch.arange(64.0 * STRIDE)])
    seen = set()
    with layer_stream(reader) as stream:
        for _ in range(2):
            seen |= set(
                stream.each(places, 64 * STRIDE, STRIDE, lambda _: lambda block: block.parts[0].values.data_ptr())
            )
        assert len(seen) <= stream.in_flight


def test_torch_has_its_threads_back_afterwards() -> None:
    before = torch.get_num_threads()
    with layer_stream(builders.Memory([])):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_an_error_of_the_reader_or_of_the_work_is_raised_and_the_stream_goes_on() -> None:
    reader, places = builders.in_memory([torch.arange(9.0 * STRIDE)])
    broken = threading.Event()

    def read(member: int, tensor: StoredTensor, start: int, buffer: memoryview) -> bool:
        if broken.is_set():
            raise ZeroDivisionError
        return reader(member, tensor, start, buffer)

    def fail(block: Block) -> int:
        if block.start == 4 * STRIDE:
            raise KeyError
        return block.start

    with layer_stream(read) as stream:
        with pytest.raises(KeyError):
            list(stream.each(places, 9 * STRIDE, STRIDE, lambda _: fail))
        broken.set()
        with pytest.raises(ZeroDivisionError):
            list(stream.each(places, 9 * STRIDE, STRIDE, lambda _: fail))
        broken.clear()
        assert len(list(stream.each(places, 9 * STRIDE, STRIDE, lambda _: lambda block: block.start))) == 9
