"""An end to each request as a whole.

A timeout on each read never ends a reply that trickles, not even one whose head does. So the deadline is kept where
the waiting is done, below HTTP: each wait on the network is cut to what is left until the deadline that the waiting
thread has set.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpcore2
import httpx2


@dataclass(frozen=True)
class Deadline:
    """`end`: of time.monotonic; `seconds`: how many there were, for the words of the error."""

    end: float
    seconds: float


class _Thread(threading.local):
    deadline: Deadline | None = None


_thread = _Thread()


@contextmanager
def within(deadline: Deadline | None) -> Iterator[None]:
    """In this block the network keeps this thread waiting until the deadline at most; None: as long as it likes."""
    before = _thread.deadline
    _thread.deadline = deadline
    try:
        yield
    finally:
        _thread.deadline = before


class TimedBody(httpx2.SyncByteStream):
    """A reply's body that must be there by the deadline."""

    def __init__(self, stream: httpx2.SyncByteStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def __iter__(self) -> Iterator[bytes]:
        chunks = iter(self._stream)
        while True:
            with within(self._deadline):
                chunk = next(chunks, None)
            if chunk is None:
                return
            yield chunk

    def close(self) -> None:
        """Closes the reply; a connection with an unread rest is closed as well."""
        self._stream.close()


def keep_deadlines(transport: httpx2.BaseTransport) -> None:
    """Make a transport heed `within`. httpx2 has no public place for a network of one's own, though its pool has."""
    if isinstance(transport, httpx2.HTTPTransport):
        pool = transport._pool
        pool._network_backend = _Network(pool._network_backend)


class _Network(httpcore2.NetworkBackend):
    def __init__(self, network: httpcore2.NetworkBackend) -> None:
        self._network = network

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        with _cut(timeout, httpcore2.ConnectTimeout) as left:
            return _Stream(self._network.connect_tcp(host, port, left, local_address, socket_options))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore2.NetworkStream:
        with _cut(timeout, httpcore2.ConnectTimeout) as left:
            return _Stream(self._network.connect_unix_socket(path, left, socket_options))

    def sleep(self, seconds: float) -> None:
        self._network.sleep(seconds)


class _Stream(httpcore2.NetworkStream):
    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        with _cut(timeout, httpcore2.ReadTimeout) as left:
            return self._stream.read(max_bytes, left)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        with _cut(timeout, httpcore2.WriteTimeout) as left:
            self._stream.write(buffer, left)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        with _cut(timeout, httpcore2.ConnectTimeout) as left:
            return _Stream(self._stream.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


@contextmanager
def _cut(timeout: float | None, kind: type[httpcore2.TimeoutException]) -> Iterator[float | None]:
    """The shorter of `timeout` and what is left until the deadline. Raises `kind` once that has passed."""
    deadline = _thread.deadline
    if deadline is None:
        yield timeout
        return
    left = deadline.end - time.monotonic()
    if left > 0:
        try:
            yield left if timeout is None else min(timeout, left)
        except httpcore2.TimeoutException:
            if time.monotonic() < deadline.end:
                raise
        else:
            return
    raise kind(f"not over after {deadline.seconds:g} s") from None
