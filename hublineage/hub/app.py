"""The routes of the local Hub."""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from hublineage.hub import listing, replies, rows
from hublineage.hub.faults import FaultMiddleware, Faults
from hublineage.hub.files import Signer, file_response
from hublineage.hub.repository import Folder, Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from starlette.requests import Request

_BRANCHES = ("main", "refs/heads/main", "HEAD")
_TREE_LIMIT, _EXPANDED_TREE_LIMIT = 1000, 100
_BODY_LIMIT = 10_000_000  # bytes of a paths-info request
# Parameters that the Hub filters by and a folder cannot: to ignore them would be to answer another question.
_UNKNOWN_FILTERS = ("apps", "inference", "inference_provider", "num_parameters")


def create_app(
    folder: Path | str,
    *,
    tokens: Collection[str] = (),
    listing_expands: Collection[str] = rows.LISTING_FIELDS,
    address_lifetime: float = 3600.0,
    clock: Callable[[], float] = time.time,
    faults: Faults | None = None,
    middleware: Sequence[Middleware] = (),
) -> Starlette:
    """The local Hub over a folder of `org/name/` model folders, as an ASGI application.

    `tokens` open private and gated repositories; `listing_expands` are the `expand` names that listings serve;
    `address_lifetime` is how many seconds a signed address opens a large file. Raises UsageError where there is no such
    folder.
    """
    hub = _Hub(Folder(folder), frozenset(tokens), tuple(listing_expands), address_lifetime, clock)
    before = [Middleware(FaultMiddleware, faults=faults)] if faults is not None else []
    model = "/api/models/{org}/{name}"
    return Starlette(
        routes=[
            Route("/api/models", hub.models),
            Route(model, hub.info),
            Route(model + "/refs", hub.refs),
            Route(model + "/revision/{rev:path}", hub.info),
            Route(model + "/commits/{rev:path}", hub.commits),
            Route(model + "/tree/{rev}", hub.tree),
            Route(model + "/tree/{rev}/{path:path}", hub.tree),
            Route(model + "/paths-info/{rev:path}", hub.paths_info, methods=["POST"]),
            Route("/api/resolve-cache/models/{org}/{name}/{rev}/{path:path}", hub.resolve_cache),
            Route("/cdn/{org}/{name}/{rev}/{path:path}", hub.cdn),
            Route("/{org}/{name}/resolve/{rev}/{path:path}", hub.resolve),
        ],
        middleware=[*before, *middleware],
        exception_handlers={HTTPException: replies.render, OSError: replies.changed},
    )


class _Hub:
    """The endpoints; all but one run in starlette's thread pool, as they read and hash files."""

    def __init__(
        self,
        folder: Folder,
        tokens: frozenset[str],
        listing_expands: tuple[str, ...],
        lifetime: float,
        clock: Callable[[], float],
    ) -> None:
        self._folder = folder
        self._tokens = tokens
        self._listing_expands = listing_expands
        self._signer = Signer(secrets.token_bytes(32), lifetime, clock)

    def models(self, request: Request) -> Response:
        """GET /api/models."""
        query = request.query_params
        unknown = next((name for name in _UNKNOWN_FILTERS if name in query), None)
        if unknown:
            raise replies.bad_request(f"This mirror cannot filter by {unknown}")
        expand = _expand(request, self._listing_expands)
        sort = query.get("sort", "trendingScore")
        if sort not in listing.SORTS:
            raise replies.bad_request(f"Invalid sort parameter: expected one of {', '.join(listing.SORTS)}")
        try:
            filters = listing.Filters(
                author=query.get("author"),
                search=query.get("search"),
                tags=tuple(query.getlist("filter") + query.getlist("filter[]")),
                gated=listing.gated_filter(query.get("gated")),
                pipeline_tag=query.get("pipeline_tag"),
            )
            page = listing.page(
                self._folder,
                self._visible(request),
                filters,
                sort=sort,
                ascending=query.get("direction", "-1") != "-1",
                limit=_limit(request, listing.PAGE_LIMIT),
                cursor=query.get("cursor"),
            )
        except ValueError as error:
            raise replies.bad_request(str(error)) from error
        fields = expand or rows.listing_fields(
            full=_flag(request, "full"), card=_flag(request, "cardData"), config=_flag(request, "config")
        )
        found = [rows.listing_row(self._folder, repository, fields) for repository in page.repositories]
        if not expand:
            found = [row | {"modelId": row["id"]} for row in found]
        return JSONResponse(found, headers=_next_link(request, page.following))

    def info(self, request: Request) -> Response:
        """GET /api/models/{id}[/revision/{rev}]: gated and disabled repositories tell this much."""
        repository = self._find(request)
        if "rev" in request.path_params:
            self._commit(request, repository)
        expand = _expand(request, tuple(rows.FIELDS))
        return JSONResponse(rows.info(self._folder, repository, expand, blobs=_flag(request, "blobs")))

    def refs(self, request: Request) -> Response:
        """GET /api/models/{id}/refs: one branch."""
        repository = self._find(request, enabled=True)
        sha = self._folder.revision(repository).sha
        branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": sha}
        return JSONResponse({"tags": [], "branches": [branch], "converts": []})

    def commits(self, request: Request) -> Response:
        """GET /api/models/{id}/commits/{rev}: one commit."""
        repository = self._find(request, enabled=True)
        self._commit(request, repository)
        row = rows.commit(self._folder, repository)
        if "formatted" in request.query_params.getlist("expand[]") + request.query_params.getlist("expand"):
            row["formatted"] = {"title": row["title"], "message": row["message"]}
        return JSONResponse([row], headers={"X-Total-Count": "1"})

    def tree(self, request: Request) -> Response:
        """GET /api/models/{id}/tree/{rev}[/{path}]."""
        repository = self._find(request, enabled=True)
        self._commit(request, repository)
        path = request.path_params.get("path", "").strip("/")
        if path not in self._folder.revision(repository).trees:
            raise replies.entry_not_found(f'{path} does not exist on "{request.path_params["rev"]}"')
        expand = _flag(request, "expand")
        limit = _limit(request, _EXPANDED_TREE_LIMIT if expand else _TREE_LIMIT)
        entries = list(rows.tree(self._folder, repository, path, recursive=_flag(request, "recursive")))
        try:
            shown, following = listing.tree_page(entries, limit, request.query_params.get("cursor"))
        except ValueError as error:
            raise replies.bad_request(str(error)) from error
        found = [rows.path_row(self._folder, repository, entry, expand=expand) for _, entry in shown]
        return JSONResponse(found, headers=_next_link(request, following))

    async def paths_info(self, request: Request) -> Response:
        """POST /api/models/{id}/paths-info/{rev}, form or JSON: what is missing is left out."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _BODY_LIMIT:
                raise HTTPException(413, "Payload too large")
        is_json = request.headers.get("content-type", "").startswith("application/json")
        return await run_in_threadpool(self._paths_info, request, *_paths_asked(bytes(body), is_json=is_json))

    def _paths_info(self, request: Request, paths: list[str], expand: bool) -> Response:
        repository = self._find(request, enabled=True)
        self._commit(request, repository)
        found = (rows.path_row(self._folder, repository, path.strip("/"), expand=expand) for path in paths)
        return JSONResponse([row for row in found if row is not None])

    def resolve(self, request: Request) -> Response:
        """GET /{id}/resolve/{rev}/{path}: a redirect, to the cache for small files, to a signed address for large."""
        repository = self._find(request, enabled=True, files=True)
        sha = self._commit(request, repository)
        path = request.path_params["path"]
        file = repository.by_path.get(path)
        if file is None:
            raise replies.entry_not_found("Entry not found", commit=sha)
        ids = self._folder.ids.of(file)
        headers = {"X-Repo-Commit": sha, "X-Linked-Etag": f'"{ids.etag}"', "Accept-Ranges": "bytes"}
        if ids.sha256:
            address = self._signer.address(str(request.base_url).rstrip("/"), f"/cdn/{repository.name}/{sha}/{path}")
            headers |= {"X-Linked-Size": str(file.size), "Cache-Control": "no-store", "Location": address}
            return PlainTextResponse("Found. Redirecting", 302, headers)
        cache = f"/api/resolve-cache/models/{repository.name}/{sha}/{quote(path)}"
        origin = quote(f"/{repository.name}/resolve/{request.path_params['rev']}/{path}", safe="")
        headers["Location"] = f"{cache}?{origin}=&etag={quote(chr(34) + ids.etag + chr(34), safe='')}"
        return PlainTextResponse("Temporary Redirect", 307, headers)

    def resolve_cache(self, request: Request) -> Response:
        """Small files by commit."""
        return self._content(request, self._find(request, enabled=True, files=True))

    def cdn(self, request: Request) -> Response:
        """Large files, to whoever holds a signed address."""
        query = request.query_params
        path = "/cdn/{org}/{name}/{rev}/{path}".format_map(request.path_params)
        refusal = self._signer.refusal(path, query.get("Expires", ""), query.get("Signature", ""))
        if refusal:
            raise HTTPException(403, refusal)
        repository = self._folder.find("{org}/{name}".format_map(request.path_params))
        if repository is None:
            raise HTTPException(404, "Entry not found")
        return self._content(request, repository)

    def _content(self, request: Request, repository: Repository) -> Response:
        sha = self._commit(request, repository)
        file = repository.by_path.get(request.path_params["path"])
        if file is None:
            raise replies.entry_not_found("Entry not found", commit=sha)
        ids = self._folder.ids.of(file)
        headers = {"X-Repo-Commit": sha}
        if ids.sha256:  # the client reads these here as well: it follows redirects that stay on the host
            headers |= {"X-Linked-Etag": f'"{ids.etag}"', "X-Linked-Size": str(file.size)}
        return file_response(request, file, ids.etag, headers)

    def _visible(self, request: Request) -> Iterator[Repository]:
        granted = _token(request) in self._tokens
        return (found for found in self._folder.repositories() if granted or not found.sidecar.private)

    def _find(self, request: Request, *, enabled: bool = False, files: bool = False) -> Repository:
        """The repository that the address names, if this request may see it (`enabled`) and its `files`."""
        name = "{org}/{name}".format_map(request.path_params)
        token = _token(request)
        repository = self._folder.find(name)
        if repository is None:
            right = self._folder.right_name(name)
            moved = self._folder.find(right) if right else None
            if right and moved and (token in self._tokens or not moved.sidecar.private):
                raise replies.moved(request, name, right)
        if repository is None or (repository.sidecar.private and token not in self._tokens):
            raise replies.repository_not_found(anonymous=token is None)
        if enabled and repository.sidecar.disabled:
            raise replies.disabled()
        if files and repository.sidecar.gated and token not in self._tokens:
            raise replies.gated(name, anonymous=token is None)
        return repository

    def _commit(self, request: Request, repository: Repository) -> str:
        """The commit's sha. Raises 404 RevisionNotFound unless the address names main or this very commit."""
        asked = request.path_params.get("rev", "main")
        sha = self._folder.revision(repository).sha
        if asked not in (*_BRANCHES, sha):
            raise replies.revision_not_found(asked)
        return sha


def _token(request: Request) -> str | None:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None


def _flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in {"true", "1"}


def _limit(request: Request, largest: int) -> int:
    text = request.query_params.get("limit", str(largest))
    if not (text.isascii() and text.isdigit()) or len(text) > 9:
        raise replies.bad_request("limit: expected a number")
    return min(int(text), largest)


def _expand(request: Request, valid: Collection[str]) -> tuple[str, ...]:
    asked = request.query_params.getlist("expand") + request.query_params.getlist("expand[]")
    if any(name not in valid for name in asked):
        choices = "|".join(f'"{name}"' for name in valid)
        raise replies.bad_request(f"✖ Invalid option: expected one of {choices}")
    return tuple(asked)


def _next_link(request: Request, cursor: str | None) -> dict[str, str]:
    if cursor is None:
        return {}
    return {"Link": f'<{request.url.include_query_params(cursor=cursor)}>; rel="next"'}


def _paths_asked(body: bytes, *, is_json: bool) -> tuple[list[str], bool]:
    """(paths, expand) of a paths-info request. Raises 400 for what cannot be read."""
    try:
        fields: Any = json.loads(body) if is_json else parse_qs(body.decode(), keep_blank_values=True)
        paths, expand = fields.get("paths", []), fields.get("expand", False)
    except (ValueError, RecursionError, AttributeError) as error:
        raise replies.bad_request("paths-info: expected paths and expand") from error
    paths = [paths] if isinstance(paths, str) else paths
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise replies.bad_request("paths: expected a list of texts")
    return paths, expand is True or (isinstance(expand, list) and [str(item).lower() for item in expand] == ["true"])
