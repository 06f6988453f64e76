"""Ranges from a server that does everything wrong that servers do."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx2
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from crawler.ranges import Address, File, RangeReader
from crawler.retry import Policy
from db.errors import HeaderMalformed, RangeNotHonoured, RepositoryUnavailable, Transient

CONTENT = bytes(range(256)) * 4096  # 1 MiB
FILE: File = ("org/name", "0" * 40, "model.safetensors")
Handler = Callable[[Request, int, int], Response]


def honest(_: Request, start: int, stop: int) -> Response:
    headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(CONTENT)}"}
    return Response(CONTENT[start:stop], 206, headers)


@dataclass
class Storage:
    """Answers each request with the next of `script`, honestly when that is used up."""

    url: str = ""
    script: list[Handler] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    resolved: int = 0
    waits: list[float] = field(default_factory=list)
    size: int | None = len(CONTENT)

    async def serve(self, request: Request) -> Response:
        asked = request.headers["range"]
        self.asked.append(asked)
        self.tokens.append(request.headers.get("authorization"))
        start, stop = asked.removeprefix("bytes=").split("-")
        handler = self.script.pop(0) if self.script else honest
        return handler(request, int(start), int(stop) + 1)

    def resolve(self, file: File) -> Address:
        assert file == FILE
        self.resolved += 1
        return Address(f"{self.url}/file?signature={self.resolved}", self.size, {"Authorization": "Bearer secret"})


@contextmanager
def serving(app: Starlette) -> Iterator[str]:
    config = uvicorn.Config(app, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.002)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    listening.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Storage, httpx2.Client]]:
    storage = Storage()
    with (
        serving(Starlette(routes=[Route("/file", storage.serve)])) as url,
        httpx2.Client() as client,
    ):
        storage.url = url
        yield storage, client


@pytest.fixture
def storage(shared: tuple[Storage, httpx2.Client]) -> Storage:
    found = shared[0]
    found.__init__(found.url)  # type: ignore[misc]  # forgets what the test before it did
    return found


@pytest.fixture
def reader(storage: Storage, shared: tuple[Storage, httpx2.Client]) -> RangeReader:
    return RangeReader(shared[1], storage.resolve, Policy(tries=4, sleep=storage.waits.append))


def replies(content: bytes = b"", status: int = 206, **headers: str) -> Handler:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _, start, stop: Response(content or CONTENT[start:stop], status, named)


def cut(after: int) -> Handler:
    """The whole range promised, `after` bytes sent, the connection closed."""

    def handler(_: Request, start: int, stop: int) -> Response:
        async def body() -> Iterator[bytes]:  # type: ignore[misc]
            yield CONTENT[start : start + after]
            raise ConnectionAbortedError

        promised = {"Content-Range": f"bytes {start}-{stop - 1}/{len(CONTENT)}", "Content-Length": str(stop - start)}
        return StreamingResponse(body(), 206, promised)

    return handler


def test_ranges_arrive_and_the_file_is_resolved_once(storage: Storage, reader: RangeReader) -> None:
    assert reader.read(FILE, 0, 10) == CONTENT[:10]
    assert reader.read(FILE, 1000, 5000) == CONTENT[1000:5000]
    assert reader.read(FILE, len(CONTENT) - 1, len(CONTENT)) == CONTENT[-1:]
    assert reader.read(FILE, 7, 7) == b""
    assert storage.resolved == 1
    assert storage.asked[1] == "bytes=1000-4999"


def test_a_buffer_is_filled_in_place(storage: Storage, reader: RangeReader) -> None:
    buffer = bytearray(b"x" * 1002)
    reader.read_into(FILE, 100, memoryview(buffer)[1:-1])
    assert bytes(buffer) == b"x" + CONTENT[100:1100] + b"x"


def test_only_the_missing_part_is_asked_for_after_a_cut(storage: Storage, reader: RangeReader) -> None:
    storage.script = [cut(1000), cut(0), cut(300_000)]
    assert reader.read(FILE, 50, 900_050) == CONTENT[50:900_050]
    assert [asked.split("-")[0] for asked in storage.asked] == ["bytes=50", "bytes=1050", "bytes=1050", "bytes=301050"]
    assert len(storage.waits) == 2  # after 300 kB none was needed


def test_cuts_without_end_are_transient(storage: Storage, reader: RangeReader) -> None:
    storage.script = [cut(10)] * 9
    with pytest.raises(Transient, match=r"org/name model\.safetensors"):
        reader.read(FILE, 0, 1000)
    assert len(storage.asked) == 4


def test_a_busy_server_is_waited_for_as_it_asks(storage: Storage, reader: RangeReader) -> None:
    storage.script = [
        replies(status=429, retry_after="3"),
        replies(status=429, ratelimit='"resolvers";r=0;t=55'),
        replies(status=503),
    ]
    assert reader.read(FILE, 0, 10) == CONTENT[:10]
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
        reader.read(FILE, 0, 10)
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
        reader.read(FILE, 0, 10)
    assert words in str(caught.value)
    assert len(storage.asked) == 1


def test_a_file_that_ends_early_is_malformed(storage: Storage, reader: RangeReader) -> None:
    with pytest.raises(HeaderMalformed, match="1048576 bytes, expected at least 1048577"):
        reader.read(FILE, 0, len(CONTENT) + 1)
    assert storage.asked == []
    storage.size = None
    unsized = RangeReader(reader._client, storage.resolve, Policy(tries=1))
    storage.script = [replies(status=416, content_range="bytes */7"), replies(content_range="bytes 0-6/7")]
    for _ in range(2):
        with pytest.raises(HeaderMalformed, match="7 bytes, expected at least 10"):
            unsized.read(FILE, 0, 10)


def test_an_expired_address_is_renewed_and_a_fresh_one_that_is_refused_is_final(
    storage: Storage, reader: RangeReader
) -> None:
    reader.read(FILE, 0, 1)
    storage.script = [replies(status=403), cut(300_000), replies(status=403)]
    assert reader.read(FILE, 0, 900_000) == CONTENT[:900_000]
    assert storage.resolved == 3
    storage.script = [replies(status=403), replies(status=403)]
    with pytest.raises(RepositoryUnavailable, match="403"):
        reader.read(FILE, 0, 10)
    assert storage.resolved == 4


def test_a_redirect_is_followed_and_the_token_stays_behind(storage: Storage, reader: RangeReader) -> None:
    other = storage.url.replace("127.0.0.1", "localhost")
    storage.script = [
        lambda *_: RedirectResponse("/file?hop=1"),
        lambda *_: RedirectResponse(f"{other}/file?hop=2"),
    ]
    assert reader.read(FILE, 0, 10) == CONTENT[:10]
    assert storage.tokens == ["Bearer secret", "Bearer secret", None]
    storage.script = [lambda *_: RedirectResponse("/file")] * 9
    with pytest.raises(RangeNotHonoured, match="redirects"):
        reader.read(FILE, 0, 10)
    storage.script = [lambda *_: RedirectResponse("file:///etc/passwd")]
    with pytest.raises(RangeNotHonoured, match="no address"):
        reader.read(FILE, 0, 10)


def test_signed_addresses_are_in_no_message(storage: Storage, reader: RangeReader) -> None:
    storage.script = [replies(status=503)] * 9
    with pytest.raises(Transient) as caught:
        reader.read(FILE, 0, 10)
    assert "signature" not in str(caught.value)
    assert "signature" not in repr(reader.address(FILE))


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_range_with_any_cuts_is_right(shared: tuple[Storage, httpx2.Client], data: st.DataObject) -> None:
    storage = Storage(shared[0].url)
    start = data.draw(st.integers(0, len(CONTENT)))
    stop = data.draw(st.integers(start, len(CONTENT)))
    shared[0].script = [cut(size) for size in data.draw(st.lists(st.integers(0, 400_000), max_size=3))]
    reader = RangeReader(shared[1], storage.resolve, Policy(tries=9, sleep=lambda _: None))
    assert reader.read(FILE, start, stop) == CONTENT[start:stop]
