"""What a request's address, headers and body ask for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from hublineage.hub import replies

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.requests import Request


def token(request: Request) -> str | None:
    """The bearer token, None for the anonymous."""
    kind, _, text = request.headers.get("authorization", "").partition(" ")
    return text.strip() or None if kind.lower() == "bearer" else None


def flag(request: Request, name: str) -> bool:
    """Whether a parameter is on."""
    return request.query_params.get(name, "").lower() in {"true", "1"}


def limit(request: Request, largest: int) -> int:
    """The rows of a page. Raises 400 for what is no number."""
    return min(number(request, "limit", largest), largest)


def number(request: Request, name: str, default: int) -> int:
    """A number of up to nine digits. Raises 400 for anything else."""
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise replies.bad_request(f"{name}: expected a number")
    return int(text)


def expand(request: Request, valid: Collection[str]) -> tuple[str, ...]:
    """The fields asked for. Raises 400, which names the valid ones, where one is not among them."""
    asked = request.query_params.getlist("expand") + request.query_params.getlist("expand[]")
    if any(name not in valid for name in asked):
        raise replies.bad_request(replies.invalid_expand(valid))
    return tuple(asked)


def next_link(request: Request, cursor: str | None) -> dict[str, str]:
    """The header that leads to the next page; none at the end."""
    if cursor is None:
        return {}
    return {"Link": f'<{request.url.include_query_params(cursor=cursor)}>; rel="next"'}


def paths_asked(body: bytes, *, is_json: bool) -> tuple[list[str], bool]:
    """(paths, expand) of a paths-info request. Raises 400 for what cannot be read."""
    try:
        fields: Any = json.loads(body) if is_json else parse_qs(body.decode(), keep_blank_values=True)
        paths, expanded = fields.get("paths", []), fields.get("expand", False)
    except (ValueError, RecursionError, AttributeError) as error:
        raise replies.bad_request("paths-info: expected paths and expand") from error
    paths = [paths] if isinstance(paths, str) else paths
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise replies.bad_request("paths: expected a list of texts")
    is_expanded = isinstance(expanded, list) and [str(item).lower() for item in expanded] == ["true"]
    return paths, expanded is True or is_expanded
