"""A server of ranges that does everything wrong that servers do, as its script says."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from crawler.addresses import Address, File
from crawler.source import Part
from db.errors import RepositoryUnavailable

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
    broken: range = range(0)  # bytes that no range may touch
    slow: float = 0.0  # seconds before each answer
    at_once: int = 0  # requests being answered now
    most_at_once: int = 0

    async def serve(self, request: Request) -> Response:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.slow)
        self.at_once -= 1
        asked = request.headers["range"]
        self.asked.append(asked)
        self.tokens.append(request.headers.get("authorization"))
        start, stop = asked.removeprefix("bytes=").split("-")
        handler = self.script.pop(0) if self.script else honest
        if int(start) < self.broken.stop and int(stop) >= self.broken.start:
            handler = replies(status=503)
        return handler(request, int(start), int(stop) + 1)

    def resolve(self, file: File) -> Address:
        self.resolved += 1
        if file[0] == "org/gated":
            raise RepositoryUnavailable("it is gated", model=file[0], file=file[2])
        return Address(f"{self.url}/file?signature={self.resolved}", self.size, {"Authorization": "Bearer secret"})


@contextmanager
def serving() -> Iterator[Storage]:
    """A storage that answers requests of /file."""
    storage = Storage()
    app = Starlette(routes=[Route("/file", storage.serve)])
    config = uvicorn.Config(
        app, log_config=None, lifespan="off", ws="none", timeout_graceful_shutdown=1, date_header=False
    )
    server = uvicorn.Server(config)
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.002)
    storage.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    yield storage
    server.should_exit = True
    thread.join()
    listening.close()


def forget(storage: Storage) -> Storage:
    """As it was when it began to serve."""
    storage.__init__(storage.url)  # type: ignore[misc]
    return storage


def part(start: int, stop: int, name: str = FILE[0], fill: bytes = b"x") -> Part:
    return Part(name, *FILE[1:], start, memoryview(bytearray(fill * (stop - start))))


def right(part: Part) -> bool:
    return bytes(part.buffer) == CONTENT[part.start : part.start + len(part.buffer)]


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


def stall(after: int) -> Handler:
    """The whole range promised, `after` bytes sent, then nothing for as long as a client can wait."""

    def handler(_: Request, start: int, stop: int) -> Response:
        async def body() -> Iterator[bytes]:  # type: ignore[misc]
            yield CONTENT[start : start + after]
            await asyncio.sleep(60)

        promised = {"Content-Range": f"bytes {start}-{stop - 1}/{len(CONTENT)}", "Content-Length": str(stop - start)}
        return StreamingResponse(body(), 206, promised)

    return handler


def trickle(_: Request, start: int, stop: int) -> Response:
    """A byte every few milliseconds: no read ever times out."""

    async def body() -> Iterator[bytes]:  # type: ignore[misc]
        for at in range(start, stop):
            yield CONTENT[at : at + 1]
            await asyncio.sleep(0.005)

    promised = {"Content-Range": f"bytes {start}-{stop - 1}/{len(CONTENT)}", "Content-Length": str(stop - start)}
    return StreamingResponse(body(), 206, promised)
