"""Runs the local Hub: in a thread for programs and tests, or in the foreground for the command."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import uvicorn

from db.errors import NothingToDo
from hublineage.hub.app import create_app
from hublineage.hub.connection import Protocol

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from hublineage.hub.faults import Faults

_START_LIMIT = 30.0  # seconds
_RELEASE_INTERVAL = 0.05  # seconds
_STOP_LIMIT = 2  # seconds that open transfers get when the server stops


class HubServer:
    """The local Hub in a daemon thread: `with HubServer(folder) as hub: ... hub.url ...`.

    `port` 0 takes a free one; `faults` switches faults on purpose on; the other options are `create_app`'s.
    Raises UsageError where there is no such folder, NothingToDo where the address cannot be listened at.
    """

    def __init__(
        self, folder: Path | str, host: str = "127.0.0.1", port: int = 0, faults: Faults | None = None, **options: Any
    ) -> None:
        app = create_app(folder, faults=faults, **options)
        self._faults = faults
        # no handlers of its own: a library leaves logging to its program, and faults on purpose are no news
        config = uvicorn.Config(
            app, log_config=None, log_level="critical", access_log=False, ws="none", lifespan="off",
            timeout_graceful_shutdown=_STOP_LIMIT, http=Protocol, date_header=faults is None,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._address = (host, port)
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The endpoint for a client, without "/" at the end. Raises ValueError before the server was started."""
        if self._socket is None:
            raise ValueError("the server is not running")
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def start(self) -> None:
        """Starts serving and returns when requests are answered."""
        self._socket = listen(*self._address)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="hublineage-hub", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + _START_LIMIT
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self.stop()
                raise NothingToDo("the local Hub did not start")
            time.sleep(0.005)

    def stop(self) -> None:
        """Stops serving; open transfers get two seconds. Does nothing where nothing runs."""
        if self._faults is not None:
            self._faults.release()
        if self._thread is not None:
            self._server.should_exit = True
            while self._thread.is_alive():
                self._thread.join(_RELEASE_INTERVAL)
                if self._faults is not None:
                    self._faults.release()  # what was stalled meanwhile
            self._thread = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def serve(folder: Path | str, host: str = "127.0.0.1", port: int = 8000, **options: Any) -> None:
    """Serves a folder until interrupted. The options are `create_app`'s; raises as `HubServer` does."""
    app = create_app(folder, **options)
    with listen(host, port) as listening:
        config = uvicorn.Config(app, ws="none", lifespan="off", timeout_graceful_shutdown=_STOP_LIMIT)
        uvicorn.Server(config).run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens at an address; port 0 takes a free one. Raises NothingToDo where it cannot."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise NothingToDo(f"cannot listen at {host} port {port}: {error}") from error
    # accepted connections inherit it; asyncio sets it only on sockets that it made itself, and without it every
    # reply waits 40 ms between head and body
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
