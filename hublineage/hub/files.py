"""Bytes of files: signed addresses that expire, byte ranges, and a response that streams from disk."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote, urlencode

import anyio.to_thread
from starlette.exceptions import HTTPException
from starlette.responses import Response, StreamingResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from hublineage.hub.content import StoredFile

_CHUNK = 1 << 20
_RANGE = re.compile(r"bytes=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*")


@dataclass(frozen=True)
class Signer:
    """Makes and checks addresses that open one path until a moment, as a CDN's signed addresses do."""

    secret: bytes
    lifetime: float  # seconds
    clock: Callable[[], float]  # seconds since 1970
    generation: Callable[[str], int] = lambda _: 0  # of a path: a new one closes all addresses made before

    def address(self, base: str, path: str) -> str:
        """The signed address of `path` ("/" first, not quoted) under `base` (no "/" last)."""
        expires = str(int(self.clock() + self.lifetime))
        return f"{base}{quote(path)}?{urlencode({'Expires': expires, 'Signature': self._sign(path, expires)})}"

    def refusal(self, path: str, expires: str, signature: str) -> str | None:
        """Why these parameters do not open `path`; None where they do."""
        # compared as bytes: compare_digest takes no text beyond ASCII
        if not hmac.compare_digest(self._sign(path, expires).encode(), signature.encode(errors="replace")):
            return "Access denied: bad signature"
        return "Request has expired" if self.clock() >= int(expires) else None

    def _sign(self, path: str, expires: str) -> str:
        return hmac.new(
            self.secret, f"{expires}\n{self.generation(path)}\n{path}".encode(errors="replace"), hashlib.sha256
        ).hexdigest()


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """[start, stop) that a Range header asks of `size` bytes; None where the whole is to be sent.

    What is not one range of bytes is ignored, as RFC 9110 section 14.2 allows. Raises ValueError where it is one that
    no byte satisfies.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:  # the last bytes
        start, stop = max(size - int(match[2]), 0), size
    else:
        start, stop = int(match[1]), min(int(match[2]) + 1, size) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= stop:
        raise ValueError(f"no byte of {size} is in {header}")
    return start, stop


class FileResponse(StreamingResponse):
    """Bytes [start, stop) of a file, a chunk in memory at a time.

    Raises HTTPException 503 before the first byte, or cuts the body off, where the file is no longer what was listed.
    """

    def __init__(self, file: StoredFile, start: int, stop: int, status: int, headers: Mapping[str, str]) -> None:
        self.file, self.start, self.stop = file, start, stop
        super().__init__((), status, {**headers, "Content-Length": str(stop - start)}, "application/octet-stream")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One reply; to HEAD without the bytes."""
        if scope["method"] == "HEAD":
            self.stop = self.start
        await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        """Sends head and body; starlette calls this and stops it when the client goes away."""
        stream = await anyio.to_thread.run_sync(self._open)
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            at = self.start
            while at < self.stop:
                chunk = await anyio.to_thread.run_sync(self._read, stream, at)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                at += len(chunk)
            await send({"type": "http.response.body", "body": b""})
        finally:
            stream.close()

    def _open(self) -> BinaryIO:
        try:
            stream = self.file.location.open("rb", buffering=0)
        except OSError as error:
            raise HTTPException(503, "The file changed while it was read.") from error
        if not self.file.is_unchanged(os.fstat(stream.fileno())):
            stream.close()
            raise HTTPException(503, "The file changed while it was read.")
        return stream

    def _read(self, stream: BinaryIO, at: int) -> bytes:
        stream.seek(at)
        chunk = stream.read(min(_CHUNK, self.stop - at))
        if not chunk or not self.file.is_unchanged(os.fstat(stream.fileno())):
            raise OSError(f"{self.file.path} changed while it was sent")
        return chunk


def file_response(request: Request, file: StoredFile, etag: str, headers: Mapping[str, str]) -> Response:
    """The file, or the part of it that the request's Range asks for: 200, 206 or 416."""
    headers = {**headers, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
    condition = request.headers.get("if-range")
    asked = request.headers.get("range") if condition in (None, f'"{etag}"') else None
    try:
        part = byte_range(asked, file.size)
    except ValueError:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{file.size}"})
    if part is None:
        return FileResponse(file, 0, file.size, 200, headers)
    start, stop = part
    return FileResponse(file, start, stop, 206, {**headers, "Content-Range": f"bytes {start}-{stop - 1}/{file.size}"})
