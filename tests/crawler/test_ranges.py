"""One range from a server that does everything wrong that servers do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import count

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from storage import CONTENT, FILE, Handler, Storage, cut, forget, replies, stall, trickle

from crawler.addresses import Address
from crawler.ranges import RangeReader
from crawler.retry import Policy
from db.errors import Failure, HeaderMalformed, RangeNotHonoured, RepositoryUnavailable, Transient


def test_ranges_arrive_and_the_file_is_resolved_once(storage: Storage, reader: RangeReader) -> None:
    assert reader.read_range(*FILE, 0, 10) == CONTENT[:10]
    assert reader.read_range(*FILE, 1000, 5000) == CONTENT[1000:5000]
    assert reader.read_range(*FILE, len(CONTENT) - 1, len(CONTENT)) == CONTENT[-1:]
    assert reader.read_range(*FILE, 7, 7) == b""
    assert storage.resolved == 1
    assert storage.asked[1] == "bytes=1000-4999"


def test_a_buffer_is_filled_in_place(storage: Storage, reader: RangeReader) -> None:
    buffer = bytearray(b"x" * 1002)
    reader.read_into(*FILE, 100, memoryview(buffer)[1:-1])
    assert bytes(buffer) == b"x" + CONTENT[100:1100] + b"x"


def test_only_the_missing_part_is_asked_for_after_a_cut(storage: Storage, reader: RangeReader) -> None:
    storage.script = [cut(1000), cut(0), cut(300_000)]
    assert reader.read_range(*FILE, 50, 900_050) == CONTENT[50:900_050]
    assert [asked.split("-")[0] for asked in storage.asked] == ["bytes=50", "bytes=1050", "bytes=1050", "bytes=301050"]
    assert len(storage.waits) == 2  # after 300 kB none was needed


def test_cuts_without_end_are_transient(storage: Storage, reader: RangeReader) -> None:
    storage.script = [cut(10)] * 9
    with pytest.raises(Transient, match=r"org/name model\.safetensors"):
        reader.read_range(*FILE, 0, 1000)
    assert len(storage.asked) == 4


def test_a_busy_server_is_waited_for_as_it_asks(storage: Storage, reader: RangeReader) -> None:
    storage.script = [
        replies(status=429, retry_after="3"),
        replies(status=429, ratelimit='"resolvers";r=0;t=55'),
        replies(status=503),
    ]
    assert reader.read_range(*FILE, 0, 10) == CONTENT[:10]
    assert storage.waits[:2] == [4, 56]


def test_a_server_that_ignores_ranges_is_refused_before_its_body_is_read(storage: Storage, reader: RangeReader) -> None:
    sent = 0

    def whole(_: Request, __: int, ___: int) -> Response:
        async def body() -> Iterator[bytes]:  # type: ignore[misc]
            nonlocal sent
            while sent < 1 << 30:
                sent += 1 << 16
                yield bytes(1 << 16)
                await asyncio.sleep(0)  # or the server never sees that its client is gone

        return StreamingResponse(body(), 200)

    storage.script = [whole]
    with pytest.raises(RangeNotHonoured, match="answers 200, expected 206"):
        reader.read_range(*FILE, 0, 10)
    assert sent < 1 << 26
    assert len(storage.asked) == 1


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (replies(), "Content-Range is missing"),
        (replies(content_range="bytes 1-10/1048576"), "bytes 1-10"),
        (replies(content_range="bytes 0-10/1048576"), "bytes 0-10"),
        (replies(content_range="bytes 0-4/1048576"), "bytes 0-4"),
        (replies(content_range="bytes 0-9/2000000"), "file of 1048576 bytes"),
        (replies(content_range="lines 0-9/1048576"), "lines"),
        (replies(CONTENT[:4], content_range="bytes 0-9/1048576"), "Content-Length is 4"),
        (replies(CONTENT[:40], content_range="bytes 0-9/1048576"), "Content-Length is 40"),
        (replies(content_range="bytes 0-9/1048576", content_encoding="gzip"), "encoded"),
        (replies(status=416, content_range="bytes */1048576"), "answers 416"),
        (replies(status=204), "answers 204"),
    ],
)
def test_a_reply_that_is_not_what_was_asked_for_is_refused(
    storage: Storage, reader: RangeReader, handler: Handler, words: str
) -> None:
    storage.script = [handler]
    with pytest.raises(RangeNotHonoured) as caught:
        reader.read_range(*FILE, 0, 10)
    assert words in str(caught.value)
    assert len(storage.asked) == 1


def test_a_file_that_ends_early_is_malformed(storage: Storage, reader: RangeReader) -> None:
    with pytest.raises(HeaderMalformed, match="1048576 bytes, expected at least 1048577"):
        reader.read_range(*FILE, 0, len(CONTENT) + 1)
    assert storage.asked == []
    storage.size = None
    unsized = RangeReader(reader._client, storage.resolve, Policy(tries=1))
    storage.script = [replies(status=416, content_range="bytes */7"), replies(content_range="bytes 0-6/7")]
    for _ in range(2):
        with pytest.raises(HeaderMalformed, match="7 bytes, expected at least 10"):
            unsized.read_range(*FILE, 0, 10)


def test_an_expired_address_is_renewed_and_a_fresh_one_that_is_refused_is_final(
    storage: Storage, reader: RangeReader
) -> None:
    reader.read_range(*FILE, 0, 1)
    storage.script = [replies(status=403), cut(300_000), replies(status=403)]
    assert reader.read_range(*FILE, 0, 900_000) == CONTENT[:900_000]
    assert storage.resolved == 3
    storage.script = [replies(status=403), replies(status=403)]
    with pytest.raises(RepositoryUnavailable, match="403"):
        reader.read_range(*FILE, 0, 10)
    assert storage.resolved == 4


def test_a_redirect_is_followed_and_the_token_stays_behind(storage: Storage, reader: RangeReader) -> None:
    other = storage.url.replace("127.0.0.1", "localhost")
    storage.script = [
        lambda *_: RedirectResponse("/file?hop=1"),
        lambda *_: RedirectResponse(f"{other}/file?hop=2"),
    ]
    assert reader.read_range(*FILE, 0, 10) == CONTENT[:10]
    assert storage.tokens == ["Bearer secret", "Bearer secret", None]
    storage.script = [lambda *_: RedirectResponse("/file")] * 9
    with pytest.raises(RangeNotHonoured, match="redirects"):
        reader.read_range(*FILE, 0, 10)
    for nowhere in ("file:///etc/passwd", "http://[::1/x", "http://h:99999/x"):
        storage.script = [replies(status=302, location=nowhere)]
        with pytest.raises(RangeNotHonoured, match="no address"):
            reader.read_range(*FILE, 0, 10)


def test_signed_addresses_are_in_no_message(storage: Storage, reader: RangeReader) -> None:
    storage.script = [replies(status=503)] * 9
    with pytest.raises(Transient) as caught:
        reader.read_range(*FILE, 0, 10)
    assert "signature" not in str(caught.value)
    assert "signature" not in repr(reader.address(FILE))


def test_a_date_to_come_back_at_is_read_by_the_servers_clock(storage: Storage, reader: RangeReader) -> None:
    late = {"retry_after": "Sun, 01 Oct 2006 00:00:20 GMT", "date": "Sun, 01 Oct 2006 00:00:00 GMT"}
    storage.script = [replies(status=429, **late), replies(status=429)]
    assert reader.read_range(*FILE, 0, 10) == CONTENT[:10]
    assert storage.waits == [21, 1]


def test_a_server_that_trickles_is_given_up_and_what_has_come_stays(
    storage: Storage, shared: tuple[Storage, httpx2.Client]
) -> None:
    clock = count(0, 8).__next__  # every look at it is eight seconds later
    reader = RangeReader(shared[1], storage.resolve, Policy(tries=4, sleep=storage.waits.append), clock=clock)
    storage.script = [trickle, trickle]
    assert reader.read_range(*FILE, 0, 1000) == CONTENT[:1000]
    starts = [int(asked.removeprefix("bytes=").split("-")[0]) for asked in storage.asked]
    assert len(starts) == 3
    assert 0 < starts[1] < starts[2] < 50
    storage.script = [trickle] * 9
    with pytest.raises(Transient, match="bytes are missing after 30 s"):
        reader.read_range(*FILE, 0, 1000)


def test_a_server_that_falls_silent_is_left_and_what_has_come_stays(storage: Storage) -> None:
    with httpx2.Client(timeout=0.1) as client:
        reader = RangeReader(client, storage.resolve, Policy(tries=2, sleep=storage.waits.append))
        storage.script = [stall(700)]
        assert reader.read_range(*FILE, 0, 1000) == CONTENT[:1000]
    assert storage.asked == ["bytes=0-999", "bytes=700-999"]


def test_a_request_names_the_time_that_it_may_take_by_its_size(storage: Storage) -> None:
    deadlines: list[float] = []

    def note(request: httpx2.Request) -> None:
        deadlines.append(request.extensions["deadline"])

    with httpx2.Client(event_hooks={"request": [note]}) as client:
        reader = RangeReader(client, storage.resolve, Policy(), clock=lambda: 0.0)
        reader.read_range(*FILE, 0, 10)
        reader.read_range(*FILE, 0, len(CONTENT))
    assert deadlines == pytest.approx([30, 38], abs=0.01)


HEADERS = st.dictionaries(
    st.sampled_from(["Content-Range", "Content-Encoding", "Location", "Retry-After", "RateLimit"]),
    st.one_of(
        st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30),
        st.builds("bytes {}-{}/{}".format, st.integers(0, 20), st.integers(0, 20), st.integers(0, 1 << 70)),
    ),
)


@settings(max_examples=60, deadline=None)
@given(
    status=st.sampled_from([200, 206, 206, 302, 307, 404, 416, 429, 500]), headers=HEADERS, body=st.binary(max_size=20)
)
def test_no_reply_raises_anything_but_a_failure_or_gives_other_bytes(
    shared: tuple[Storage, httpx2.Client], status: int, headers: dict[str, str], body: bytes
) -> None:
    storage, buffer = forget(shared[0]), bytearray(b"x" * 12)
    storage.script = [lambda *_: Response(body, status, headers)] * 40
    reader = RangeReader(
        shared[1], lambda _: Address(f"{storage.url}/file", None), Policy(tries=2, sleep=lambda _: None)
    )
    try:
        reader.read_into(*FILE, 2, memoryview(buffer)[1:11])
    except Failure:
        pass
    else:
        assert buffer[1:11] == body
    assert buffer[::11] == b"xx"


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_range_with_any_cuts_is_right(shared: tuple[Storage, httpx2.Client], data: st.DataObject) -> None:
    storage = forget(shared[0])
    start = data.draw(st.integers(0, len(CONTENT)))
    stop = data.draw(st.integers(start, len(CONTENT)))
    storage.script = [cut(size) for size in data.draw(st.lists(st.integers(0, 400_000), max_size=3))]
    reader = RangeReader(shared[1], storage.resolve, Policy(tries=9, sleep=lambda _: None))
    assert reader.read_range(*FILE, start, stop) == CONTENT[start:stop]
