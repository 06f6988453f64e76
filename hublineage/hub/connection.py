"""The connection under a request: faults reset it, or write to it what no well-formed reply can say."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = "hublineage.connection"  # in the scope's extensions
_NO_LINGER = struct.pack("ii", 1, 0)  # closing then sends RST, not FIN


@dataclass(frozen=True)
class Connection:
    """One TCP connection of the server's."""

    transport: asyncio.Transport

    def write(self, content: bytes) -> None:
        """Sends bytes as they are, past HTTP's framing."""
        self.transport.write(content)

    async def reset(self) -> None:
        """Drops the connection with a TCP reset and returns when the server knows of it."""
        plain: socket.socket | None = self.transport.get_extra_info("socket")
        if plain is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()
        await asyncio.sleep(0.001)  # the protocol hears of it in the loop's next round


def connection(scope: Mapping[str, Any]) -> Connection | None:
    """The connection that a request came by; None under another server than `HubServer`."""
    return cast("Connection | None", scope.get("extensions", {}).get(_KEY))


class Protocol(H11Protocol):
    """uvicorn's protocol, which tells the application its connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """A client has connected."""
        super().connection_made(transport)
        app, extensions = self.app, {_KEY: Connection(transport)}

        async def told(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "extensions": extensions}, receive, send)

        self.app = told
