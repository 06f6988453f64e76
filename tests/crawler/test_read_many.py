"""Many ranges at once: few requests, several in flight, and failures that stay where they belong."""

from __future__ import annotations

import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response
from storage import CONTENT, FILE, Storage, cut, forget, honest, part, replies, right, trickle

from crawler.addresses import Address, File
from crawler.ranges import GAP, RangeReader
from crawler.retry import Policy, TryAgain
from db.errors import (
    Failure,
    HeaderMalformed,
    RangeNotHonoured,
    RepositoryUnavailable,
    SourceUnreachable,
    Transient,
)


def test_neighbours_come_by_one_request_and_strangers_by_their_own(storage: Storage, reader: RangeReader) -> None:
    parts = [part(0, 10), part(5000, 6000), part(10, 300), part(600_000, 600_500), part(5500, 5600), part(7, 7)]
    assert reader.read_many(parts) == [None] * 6
    assert all(map(right, parts))
    assert sorted(storage.asked) == ["bytes=0-5999", "bytes=600000-600499"]
    assert reader.read_many([]) == []
    parts = [part(0, 10), part(11 + GAP, 12 + GAP)]
    assert reader.read_many(parts) == [None, None]
    assert len(storage.asked) == 4


def test_what_is_large_comes_in_several_requests_at_once(
    storage: Storage, reader: RangeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crawler.ranges.LARGEST", 1 << 16)
    storage.slow = 0.02
    buffer = bytearray(len(CONTENT))
    reader.read_into(*FILE, 0, memoryview(buffer))
    assert buffer == CONTENT
    assert len(storage.asked) == 16
    assert 2 <= storage.most_at_once <= 8
    assert storage.resolved == 1


def test_several_requests_that_meet_an_expired_address_renew_it_once(
    storage: Storage, reader: RangeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader.read_range(*FILE, 0, 1)
    expired = f"signature={storage.resolved}"

    def expire(request: Request, start: int, stop: int) -> Response:
        return (
            replies(status=403)(request, start, stop) if expired in str(request.url) else honest(request, start, stop)
        )

    monkeypatch.setattr("crawler.ranges.LARGEST", 1 << 16)
    storage.slow, storage.script = 0.02, [expire] * 99
    parts = [part(0, len(CONTENT))]
    assert reader.read_many(parts) == [None]
    assert right(parts[0])
    assert storage.resolved == 2


@pytest.mark.parametrize("size", [len(CONTENT), None])
def test_a_part_beyond_the_files_end_fails_alone(storage: Storage, reader: RangeReader, size: int | None) -> None:
    storage.size = size
    if size is None:
        storage.script = [replies(status=416, content_range=f"bytes */{len(CONTENT)}")]
    end = len(CONTENT)
    parts = [part(end - 100, end - 50), part(end - 60, end + 1), part(end - 50, end), part(end - 40, end + 7)]
    found = reader.read_many(parts)
    assert [type(failure) for failure in found] == [type(None), HeaderMalformed, type(None), HeaderMalformed]
    assert str(found[3]).endswith(f"the file has {end} bytes, expected at least {end + 7}")
    assert right(parts[0])
    assert right(parts[2])


def test_a_part_that_cannot_be_had_fails_alone_and_names_its_file(storage: Storage, reader: RangeReader) -> None:
    storage.broken = range(1000, 1010)
    parts = [part(0, 500), part(900, 1100), part(2000, 3000), part(0, 9, "org/gated"), part(5, 9, "org/gated")]
    found = reader.read_many([*parts, part(600_000, 600_001, "org/gated")])
    assert [type(failure) for failure in found] == [
        type(None), TryAgain, type(None), *[RepositoryUnavailable] * 3,
    ]  # fmt: skip
    assert right(parts[0])
    assert right(parts[2])
    assert found[3] is not found[4]
    assert str(found[3]).startswith("org/gated model.safetensors: ")


def test_a_server_that_refuses_everything_is_not_asked_for_every_part(storage: Storage, reader: RangeReader) -> None:
    storage.script = [replies(status=204)] * 999
    found = reader.read_many([part(at, at + 10) for at in range(0, 1000, 10)])
    assert all(isinstance(failure, RangeNotHonoured) for failure in found)
    assert len(storage.asked) == 4


def test_what_came_before_a_file_was_closed_is_there(storage: Storage, reader: RangeReader) -> None:
    storage.script = [cut(100), replies(status=403), replies(status=403)]
    parts = [part(0, 60), part(60, 100), part(90, 110), part(8 * GAP, 8 * GAP + 1)]
    reader.read_many(parts[3:])
    storage.script = [cut(100), replies(status=403), replies(status=403)]
    found = reader.read_many(parts[:3])
    assert [type(failure) for failure in found] == [type(None), type(None), RepositoryUnavailable]
    assert right(parts[0])
    assert right(parts[1])


def test_a_file_that_cannot_be_had_is_asked_for_once(storage: Storage, shared: tuple[Storage, httpx2.Client]) -> None:
    reader = RangeReader(shared[1], storage.resolve, Policy(), in_flight=1)
    found = reader.read_many([part(at, at + 1, "org/gated") for at in range(0, 10 * GAP, 2 * GAP)])
    assert all(isinstance(failure, RepositoryUnavailable) for failure in found)
    assert storage.resolved == 1
    reader.close()


def test_a_large_part_beyond_the_files_end_is_not_begun(
    storage: Storage, reader: RangeReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crawler.ranges.LARGEST", 1 << 16)
    with pytest.raises(HeaderMalformed, match="1048576 bytes, expected at least 1048577"):
        reader.read_range(*FILE, 0, len(CONTENT) + 1)
    assert storage.asked == []


def settle(error: TryAgain) -> Failure:
    raise SourceUnreachable(error.detail)


def test_nobody_there_ends_the_whole_call(shared: tuple[Storage, httpx2.Client]) -> None:
    asked: list[File] = []

    def nobody(file: File) -> Address:
        asked.append(file)
        raise TryAgain("refused", model=file[0], unreachable="hub")

    reader = RangeReader(shared[1], nobody, Policy(sleep=lambda _: None), settle=settle, in_flight=2)
    with pytest.raises(SourceUnreachable):
        reader.read_many([part(0, 1, f"org/{number}") for number in range(300)])
    assert len(asked) < 300
    reader.close()


def test_a_call_that_has_ended_leaves_no_transfer_behind(
    storage: Storage, shared: tuple[Storage, httpx2.Client]
) -> None:
    def half_there(file: File) -> Address:
        if file[0] == FILE[0]:
            return storage.resolve(file)
        while not storage.asked:
            time.sleep(0.005)
        raise TryAgain("refused", model=file[0], unreachable="hub")

    reader = RangeReader(shared[1], half_there, Policy(sleep=lambda _: None), settle=settle)
    storage.script, slow = [trickle], part(0, 10_000)
    with pytest.raises(SourceUnreachable):
        reader.read_many([slow, part(0, 1, "org/other")])
    before = bytes(slow.buffer)
    assert before[-1:] == b"x"  # the rest would have taken a minute
    time.sleep(0.05)
    assert bytes(slow.buffer) == before
    reader.close()


def test_storage_that_nobody_answers_at_is_tried_for_one_part_only(shared: tuple[Storage, httpx2.Client]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    waits: list[float] = []
    reader = RangeReader(shared[1], lambda _: Address(url, None), Policy(sleep=waits.append), in_flight=1)
    found = reader.read_many([part(at, at + 1) for at in range(0, 10 * GAP, 2 * GAP)])
    assert all(isinstance(failure, Transient) for failure in found)
    assert len(waits) == 2
    reader.close()


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_parts_with_any_cuts_are_right(shared: tuple[Storage, httpx2.Client], data: st.DataObject) -> None:
    storage = forget(shared[0])
    starts = st.integers(0, len(CONTENT))
    ends = data.draw(st.lists(st.tuples(starts, st.integers(0, 300_000)), max_size=6))
    parts = [part(start, min(start + size, len(CONTENT))) for start, size in ends]
    storage.script = [cut(size) for size in data.draw(st.lists(st.integers(0, 400_000), max_size=3))]
    reader = RangeReader(shared[1], storage.resolve, Policy(tries=9, sleep=lambda _: None))
    assert reader.read_many(parts) == [None] * len(parts)
    assert all(map(right, parts))
    reader.close()


def test_many_threads_get_what_they_asked_for_from_a_server_that_fails_at_every_third(
    storage: Storage, reader: RangeReader
) -> None:
    faults = [cut(1000), replies(status=503), cut(300_000), replies(status=429), cut(0)]
    storage.script = [faults[number // 3 % 5] if number % 3 == 0 else honest for number in range(600)]
    reader._policy = Policy(tries=50, sleep=lambda _: None)

    def read(seed: int) -> list[bool]:
        chance = random.Random(seed)  # noqa: S311  # no secret
        parts = [part(start, min(start + 50_000, len(CONTENT))) for start in chance.sample(range(len(CONTENT)), 20)]
        return [failure is None and right(one) for one, failure in zip(parts, reader.read_many(parts), strict=True)]

    with ThreadPoolExecutor(6) as pool:
        assert all(all(found) for found in pool.map(read, range(6)))
