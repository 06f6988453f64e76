"""Blocks of a layer: what they hold, however small the memory, and from whatever it is stored as."""

from __future__ import annotations

from itertools import pairwise

import builders
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lineage.stream import DTYPES, Block, StoredTensor, block_elements, layer_stream


def blocks(tensors: list[torch.Tensor], step: int, broken: dict[int, int] | None = None) -> list[Block]:
    reader, places = builders.in_memory(tensors)
    reader.broken = broken or {}
    with layer_stream(reader) as stream:
        found = stream.blocks(places, tensors[0].numel(), step)
        return [Block(block.start, block.values.clone()) for block in found]


@settings(max_examples=40, deadline=None)
@given(members=st.integers(1, 5), size=st.integers(1, 200), step=st.integers(1, 250))
def test_blocks_follow_one_another_and_hold_all_elements(members: int, size: int, step: int) -> None:
    tensors = [torch.arange(size, dtype=torch.float32) + 1_000 * index for index in range(members)]
    found = blocks(tensors, step)
    assert [block.start for block in found] == list(range(0, size, step))
    assert all(a.stop == b.start for a, b in pairwise(found))
    assert torch.equal(torch.cat([block.values for block in found], dim=1), torch.stack(tensors).double())


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_format_is_decoded(dtype: str) -> None:
    kind = DTYPES[dtype]
    values = torch.tensor([0, 1, 2, 0.5, 1.5, 3, 4], dtype=torch.float64)
    if not kind.is_floating_point:
        values = values.round()
    if kind is torch.bool:
        values = values.clamp(max=1)
    stored = values.to(kind)
    found = blocks([stored, torch.zeros(7)], 3)
    assert torch.equal(torch.cat([block.values[0] for block in found]), values)
    assert StoredTensor("f", "w", dtype, 0, 8).itemsize == stored.element_size()


def test_a_member_that_cannot_be_read_is_nan_from_there_on_and_the_others_are_there() -> None:
    tensors = [torch.arange(12.0) for _ in range(3)]
    found = torch.cat([block.values for block in blocks(tensors, 4, {1: 3 + 4 * 6})], dim=1)
    assert found[1].isnan().tolist() == [False] * 4 + [True] * 8
    assert torch.equal(found[[0, 2]], torch.stack(tensors)[[0, 2]].double())


def test_an_empty_layer_has_no_blocks() -> None:
    assert blocks([torch.empty(0), torch.empty(0)], 8) == []


def test_every_byte_is_read_once_and_none_beside() -> None:
    tensors = [torch.randn(1_000), torch.randn(1_000).half()]
    reader, places = builders.in_memory(tensors)
    with layer_stream(reader) as stream:
        list(stream.blocks(places, 1_000, 64))
    for member, place in enumerate(places):
        spans = sorted((start, length) for who, start, length in reader.reads if who == member)
        assert sum(length for _, length in spans) == place.stop - place.start
        assert all(a + length == b for (a, length), (b, _) in pairwise(spans))


@given(members=st.integers(1, 3_000), columns=st.integers(1, 1 << 22), memory=st.integers(1, 1 << 33))
def test_a_block_is_whole_rows_where_they_fit_and_never_more_than_the_memory(
    members: int, columns: int, memory: int
) -> None:
    elements = block_elements(members, columns, memory)
    assert elements >= 1
    assert elements == 1 or elements * members * (8 * 3 + 8 * 2) <= memory
    assert elements < columns or elements % columns == 0


def test_torch_has_its_threads_back_afterwards() -> None:
    before = torch.get_num_threads()
    with layer_stream(builders.Memory([])):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_an_error_of_the_reader_that_is_no_failure_is_raised() -> None:
    def read(member: int, tensor: StoredTensor, start: int, buffer: memoryview) -> bool:
        raise ZeroDivisionError

    with layer_stream(read) as stream, pytest.raises(ZeroDivisionError):
        list(stream.blocks([StoredTensor("f", "w", "F32", 0, 40)], 10, 3))
