"""safetensors headers and indices, checked against the reference library."""

from __future__ import annotations

import json
import struct
import tracemalloc
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from crawler.safetensors_header import (
    Header,
    Index,
    check_shards,
    join_shards,
    parse_header,
    parse_index,
    read_header,
)
from db.errors import ConfigMalformed, Failure, HeaderMalformed, TensorUnusable, WeightsMissing


def entry(begin: Any = 0, end: Any = 4, shape: Any = (1,), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def file_of(header: Any, data: int = 0) -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + b"\0" * data


def parse(content: bytes) -> Header:
    return parse_header(content, len(content), file="model.safetensors")


def library_accepts(content: bytes) -> bool:
    try:
        deserialize(content)  # type: ignore[no-untyped-call]
    except SafetensorError:
        return False
    return True


def test_offsets_are_absolute_and_specs_ascend() -> None:
    content = file_of({"b": entry(4, 12, (2,)), "a": entry(0, 4), "__metadata__": {"format": "pt"}}, 12)
    header = parse(content)
    start = len(content) - 12
    assert header.data_start == start
    assert [(s.name, s.start, s.stop) for s in header.specs] == [("a", start, start + 4), ("b", start + 4, start + 12)]
    assert header.metadata == {"format": "pt"}


BAD: list[tuple[str, Any, int, str]] = [
    ("an overlap", {"a": entry(0, 4), "b": entry(0, 4)}, 4, "overlaps"),
    ("a hole", {"a": entry(0, 4), "b": entry(8, 12)}, 12, "hole"),
    ("a hole at the beginning", {"a": entry(4, 8)}, 8, "hole"),
    ("bytes behind the last tensor", {"a": entry(0, 4)}, 6, "the header describes"),
    ("a truncated file", {"a": entry(0, 400, (100,))}, 4, "the header describes"),
    ("a shape that disagrees", {"a": entry(0, 4, (2,))}, 4, "8 bytes"),
    ("reversed offsets", {"a": entry(4, 0)}, 4, "-4 bytes"),
    ("negative offsets", {"a": entry(-4, 0)}, 4, "data_offsets"),
    ("a huge shape", {"a": entry(0, 4, (2**62, 2**62, 2**62))}, 4, "data_offsets hold 4 bytes"),
    ("a dimension beyond 63 bits", {"a": entry(0, 0, (2**63, 0))}, 0, "shape"),
    ("a fractional dimension", {"a": entry(0, 4, (1.0,))}, 4, "shape"),
    ("a boolean dimension", {"a": entry(0, 4, (True,))}, 4, "shape"),
    ("a dtype that is a number", {"a": entry(dtype=3)}, 4, "dtype"),
    ("an entry that is a list", {"a": []}, 0, "expected an object"),
    ("metadata of numbers", {"__metadata__": {"a": 1}}, 0, "__metadata__"),
    ("a list", [], 0, "expected an object"),
    ("not JSON", b"{", 0, "not JSON"),
    ("NaN", b'{"a":NaN}', 0, "not JSON"),
    ("deep nesting", b"[" * 100_000, 0, "nested"),
    ("a huge number", b'{"a":' + b"1" * 5000 + b"}", 0, "not JSON"),
    ("not UTF-8", b'{"\xff":1}', 0, "UTF-8"),
    ("an unpaired surrogate", b'{"\\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', 4, "name"),
    ("half a byte", {"a": entry(0, 2, (3,), "F4")}, 2, "12 bits"),
]


@pytest.mark.parametrize(("header", "data", "words"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_a_malformed_header_is_refused_in_one_line_and_so_does_the_library(header: Any, data: int, words: str) -> None:
    content = file_of(header, data)
    with pytest.raises(HeaderMalformed, match=r"model\.safetensors") as caught:
        parse(content)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not library_accepts(content) or "2^63" in str(caught.value)


def test_the_tensor_at_fault_is_named() -> None:
    with pytest.raises(HeaderMalformed) as caught:
        parse(file_of({"fine": entry(0, 4), "layer.7.weight": entry(4, 8, (3,))}, 8))
    assert caught.value.tensor == "layer.7.weight"


def test_duplicate_keys_are_refused_as_the_format_demands() -> None:
    one = b'"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}'
    with pytest.raises(HeaderMalformed, match="twice"):
        parse(file_of(b"{" + one + b"," + one + b"}", 4))


def test_an_unknown_dtype_makes_the_tensor_unusable() -> None:
    with pytest.raises(TensorUnusable, match="Q7") as caught:
        parse(file_of({"w": entry(0, 4, dtype="Q7")}, 4))
    assert caught.value.tensor == "w"


@pytest.mark.parametrize("size", [0, 7])
def test_a_file_without_room_for_the_length_is_refused(size: int) -> None:
    with pytest.raises(HeaderMalformed, match="at least 8"):
        parse(b"\0" * size)


@pytest.mark.parametrize("length", [100, 100_000_001, 2**64 - 1])
def test_a_header_longer_than_its_file_or_the_limit_is_refused_before_it_is_read(length: int) -> None:
    def read(start: int, stop: int) -> bytes:
        assert stop <= 40
        return (struct.pack("<Q", length) + b"{}" + b" " * 30)[start:stop]

    with pytest.raises(HeaderMalformed, match=str(length)):
        read_header(read, 40, file="model.safetensors")


def test_a_long_header_is_read_in_two_pieces_without_an_overlap() -> None:
    tensors = {f"layer.{i}.weight": entry(4 * i, 4 * i + 4) for i in range(3000)}
    content = file_of(tensors, 12_000)
    asked: list[tuple[int, int]] = []

    def read(start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return content[start:stop]

    header = read_header(read, len(content), file="model.safetensors")
    assert len(header.specs) == 3000
    assert len(asked) == 2
    assert asked[0][1] == asked[1][0]
    assert asked[1][1] == header.data_start


@given(st.binary(max_size=400), st.integers(0, 500))
def test_arbitrary_bytes_raise_only_the_declared_errors(raw: bytes, data: int) -> None:
    for content in (raw, file_of(raw, data)):
        with suppress(HeaderMalformed, TensorUnusable):
            parse(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
ODD_ENTRY = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "F4", "BF16", "X"]) | JSON,
        "shape": st.lists(st.integers(-1, 2**65), max_size=3) | JSON,
        "data_offsets": st.lists(st.integers(-1, 64), min_size=2, max_size=2) | JSON,
    }
)


@settings(max_examples=80)
@given(st.dictionaries(st.text(max_size=6), ODD_ENTRY | JSON, max_size=4), st.integers(0, 64))
def test_what_we_accept_the_library_accepts(document: dict[str, Any], data: int) -> None:
    content = file_of(document, data)
    try:
        header = parse(content)
    except Failure:
        return
    assert library_accepts(content)
    assert all(8 <= spec.start <= spec.stop <= len(content) for spec in header.specs)


ARRAYS = st.tuples(st.lists(st.integers(0, 5), max_size=3), st.sampled_from(["<f8", "<f4", "<f2", "i1", "?"]))


@given(st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), ARRAYS))
def test_what_the_library_writes_is_read_back(kinds: dict[str, tuple[list[int], str]]) -> None:
    random = np.random.default_rng(0)
    arrays = {name: random.integers(0, 2, shape).astype(dtype) for name, (shape, dtype) in kinds.items()}
    content = save(arrays, {"format": "np"})
    header = parse(content)
    assert {spec.name for spec in header.specs} == set(arrays)
    for spec in header.specs:
        assert spec.shape == arrays[spec.name].shape
        assert content[spec.start : spec.stop] == arrays[spec.name].tobytes()


@pytest.mark.parametrize("piece", [b"[],", b'"",', b"[[1]],", b'{"a":{}},', b"1,"])
def test_memory_stays_within_a_multiple_of_the_header(piece: bytes) -> None:
    content = file_of(b'{"a":[' + piece * (200_000 // len(piece)) + b"0]}")
    tracemalloc.start()
    with pytest.raises(HeaderMalformed):
        parse(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * len(content)


def test_an_index_gives_its_shards_relative_to_its_own_folder() -> None:
    raw = json.dumps({"weight_map": {"b": "x-2.safetensors", "a": "x-1.safetensors", "c": "x-1.safetensors"}}).encode()
    index = parse_index(raw, file="unet/model.safetensors.index.json")
    assert index.shards == ("unet/x-1.safetensors", "unet/x-2.safetensors")
    assert index.weight_map["b"] == "unet/x-2.safetensors"


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{}", b'{"weight_map": 3}', b'{"weight_map": {}}', b'{"weight_map": {"a": 3}}', b"[" * 99_999]
    + [
        json.dumps({"weight_map": {"a": path}}).encode() for path in ("../x.safetensors", "/etc/x.safetensors", "x.bin")
    ],
)
def test_an_index_that_cannot_be_read_is_refused(raw: bytes) -> None:
    with pytest.raises(ConfigMalformed, match=r"index\.json"):
        parse_index(raw, file="model.safetensors.index.json")


@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps({"weight_map": value}).encode()))
def test_arbitrary_indices_raise_only_the_declared_error(raw: bytes) -> None:
    with suppress(ConfigMalformed):
        parse_index(raw, file="model.safetensors.index.json")


def test_a_missing_shard_is_named() -> None:
    index = Index(("m-1.safetensors", "m-2.safetensors"), {"a": "m-1.safetensors", "b": "m-2.safetensors"})
    with pytest.raises(WeightsMissing, match=r"m-2\.safetensors"):
        check_shards(index, {"m-1.safetensors"}, file="index.json")
    check_shards(index, {"m-1.safetensors", "m-2.safetensors"}, file="index.json")


def test_shards_are_joined_by_the_index() -> None:
    one, two = parse(file_of({"a": entry()}, 4)), parse(file_of({"b": entry()}, 4))
    index = Index(("1", "2"), {"a": "1", "b": "2"})
    assert [(name, file) for name, (file, _) in join_shards({"1": one, "2": two}, index).items()] == [
        ("a", "1"),
        ("b", "2"),
    ]
    with pytest.raises(WeightsMissing, match="does not hold it") as missing:
        join_shards({"1": one, "2": one}, index)
    assert missing.value.tensor == "b"
    with pytest.raises(HeaderMalformed, match="holds this tensor too"):
        join_shards({"1": one, "2": one})
