"""What was asked of the local Hub: one record for each request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; its token is not kept, only that there was one."""

    method: str
    host: str  # as the client names it, with the port
    path: str
    query: str
    range: str | None
    user_agent: str | None
    with_token: bool

    @property
    def line(self) -> str:
        """Method and path."""
        return f"{self.method} {self.path}"

    @property
    def cursor(self) -> str | None:
        """The cursor of a page, None for the first page."""
        return next(iter(parse_qs(self.query).get("cursor", [])), None)

    @property
    def expands(self) -> tuple[str, ...]:
        """The names that `expand` asks for."""
        fields = parse_qs(self.query)
        return tuple(fields.get("expand", []) + fields.get("expand[]", []))


def asked(scope: Mapping[str, Any]) -> Asked:
    """The record of an ASGI HTTP request."""
    headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
    return Asked(
        method=scope["method"],
        host=headers.get(b"host", ""),
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        range=headers.get(b"range"),
        user_agent=headers.get(b"user-agent"),
        with_token=b"authorization" in headers,
    )
