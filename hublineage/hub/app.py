"""The routes of the local Hub."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from hublineage.hub import listing, parameters, replies, rows
from hublineage.hub.access import BRANCHES, Access
from hublineage.hub.fault_middleware import FaultMiddleware
from hublineage.hub.files import Signer, file_response
from hublineage.hub.folder import Folder
from hublineage.hub.quotas import QuotaMiddleware, Quotas
from hublineage.hub.rows import View

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from starlette.requests import Request

    from hublineage.hub.content import FileIds
    from hublineage.hub.faults import Faults
    from hublineage.hub.repository import Repository

_TREE_LIMIT, _EXPANDED_TREE_LIMIT, _COMMITS_LIMIT = 1000, 100, 50
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
    quotas: Quotas | None = None,
    xet: bool = False,
    cdn_host: str | None = None,
    middleware: Sequence[Middleware] = (),
) -> Starlette:
    """The local Hub over a folder of `org/name/` model folders, as an ASGI application.

    `tokens` open private and gated repositories; `listing_expands` are the `expand` names that listings serve;
    `address_lifetime` is how many seconds a signed address opens a large file; `xet` lets large files be Xet-backed
    where no sidecar says otherwise; `cdn_host` is the host name (with a port, or with the one asked) that signed
    addresses are at, None for the one asked. Raises UsageError where there is no such folder.
    """
    before = []
    if faults is not None:  # before the quotas: they stand for what is between the client and the Hub
        faults.listing_fields = tuple(listing_expands)
        before.append(Middleware(FaultMiddleware, faults=faults))
    if quotas is not None:
        before.append(Middleware(QuotaMiddleware, quotas=quotas))
    generation = faults.generation if faults is not None else (lambda _: 0)
    signer = Signer(secrets.token_bytes(32), address_lifetime, clock, generation)
    hub = _Hub(Folder(folder, xet=xet), frozenset(tokens), tuple(listing_expands), signer, cdn_host)
    model, bare = "/api/models/{org}/{name}", "/api/models/{name}"
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
            Route(model + "/xet-read-token/{rev:path}", hub.xet_read_token),
            Route("/api/resolve-cache/models/{org}/{name}/{rev}/{path:path}", hub.resolve_cache),
            Route("/cdn/{org}/{name}/{rev}/{path:path}", hub.cdn),
            Route("/{org}/{name}/resolve/{rev}/{path:path}", hub.resolve),
            *(Route(bare + path, hub.bare) for path in ("", "/revision/{rev:path}", "/commits/{rev:path}")),
            Route(bare + "/tree/{rev:path}", hub.bare),
            Route(bare + "/paths-info/{rev:path}", hub.bare, methods=["POST"]),
            Route("/{name}/resolve/{rev}/{path:path}", hub.bare),
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
        signer: Signer,
        cdn_host: str | None,
    ) -> None:
        self._folder = folder
        self._access = Access(folder, tokens)
        self._listing_expands = listing_expands
        self._signer = signer
        self._cdn_host = cdn_host

    def models(self, request: Request) -> Response:
        """GET /api/models."""
        query = request.query_params
        unknown = next((name for name in _UNKNOWN_FILTERS if name in query), None)
        if unknown:
            raise replies.bad_request(f"This mirror cannot filter by {unknown}")
        expand = parameters.expand(request, self._listing_expands)
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
            # pages after the first may be of a moment a little before, as the Hub's may be
            view = View(self._folder, self._folder.snapshot(may_be_old="cursor" in query))
            page = listing.page(
                view,
                filters,
                lambda repository: self._access.may_see(request, repository),
                sort=sort,
                ascending=query.get("direction", "-1") != "-1",
                limit=parameters.limit(request, listing.PAGE_LIMIT),
                cursor=query.get("cursor"),
            )
        except ValueError as error:
            raise replies.bad_request(str(error)) from error
        fields = expand or rows.listing_fields(
            full=parameters.flag(request, "full"),
            card=parameters.flag(request, "cardData"),
            config=parameters.flag(request, "config"),
        )
        found = [rows.listing_row(view, repository, fields) for repository in page.repositories]
        if not expand:
            found = [row | {"modelId": row["id"]} for row in found]
        return JSONResponse(found, headers=parameters.next_link(request, page.following))

    def info(self, request: Request) -> Response:
        """GET /api/models/{id}[/revision/{rev}]: gated and disabled repositories tell this much."""
        repository = self._access.find(request)
        if "rev" in request.path_params:
            self._access.commit(request, repository)
        expand = parameters.expand(request, tuple(rows.FIELDS))
        return JSONResponse(rows.info(View(self._folder), repository, expand, blobs=parameters.flag(request, "blobs")))

    def refs(self, request: Request) -> Response:
        """GET /api/models/{id}/refs: one branch."""
        repository = self._access.find(request, enabled=True)
        sha = self._folder.revision(repository).sha
        branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": sha}
        return JSONResponse({"tags": [], "branches": [branch], "converts": []})

    def commits(self, request: Request) -> Response:
        """GET /api/models/{id}/commits/{rev}: the history from that commit on, newest first, in pages."""
        repository = self._access.find(request, enabled=True)
        found = rows.commits(self._folder, repository)
        asked = request.path_params["rev"]
        start = next(
            (at for at, row in enumerate(found) if asked == row["id"] or (at == 0 and asked in BRANCHES)), None
        )
        if start is None:
            raise replies.revision_not_found(asked)
        limit, number = parameters.limit(request, _COMMITS_LIMIT), parameters.number(request, "p", 0)
        first = start + number * limit
        shown = found[first : first + limit]
        if "formatted" in request.query_params.getlist("expand[]") + request.query_params.getlist("expand"):
            shown = [row | {"formatted": {"title": row["title"], "message": row["message"]}} for row in shown]
        headers = {"X-Total-Count": str(len(found) - start)}
        if limit and first + limit < len(found):
            headers["Link"] = f'<{request.url.include_query_params(p=number + 1)}>; rel="next"'
        return JSONResponse(shown, headers=headers)

    def xet_read_token(self, request: Request) -> Response:
        """GET /api/models/{id}/xet-read-token/{rev}: there is no Xet storage behind this Hub."""
        self._access.find(request, enabled=True, files=True)
        raise replies.entry_not_found("This mirror has no Xet storage; set HF_HUB_DISABLE_XET=1")

    def tree(self, request: Request) -> Response:
        """GET /api/models/{id}/tree/{rev}[/{path}]."""
        repository = self._access.find(request, enabled=True)
        self._access.commit(request, repository)
        path = request.path_params.get("path", "").strip("/")
        if path not in self._folder.revision(repository).trees:
            raise replies.entry_not_found(f'{path} does not exist on "{request.path_params["rev"]}"')
        expand = parameters.flag(request, "expand")
        limit = parameters.limit(request, _EXPANDED_TREE_LIMIT if expand else _TREE_LIMIT)
        entries = list(rows.tree(self._folder, repository, path, recursive=parameters.flag(request, "recursive")))
        try:
            shown, following = listing.tree_page(entries, limit, request.query_params.get("cursor"))
        except ValueError as error:
            raise replies.bad_request(str(error)) from error
        found = [rows.path_row(self._folder, repository, entry, expand=expand) for _, entry in shown]
        return JSONResponse(found, headers=parameters.next_link(request, following))

    async def paths_info(self, request: Request) -> Response:
        """POST /api/models/{id}/paths-info/{rev}, form or JSON: what is missing is left out."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _BODY_LIMIT:
                raise HTTPException(413, "Payload too large")
        is_json = request.headers.get("content-type", "").startswith("application/json")
        return await run_in_threadpool(self._paths_info, request, *parameters.paths_asked(bytes(body), is_json=is_json))

    def _paths_info(self, request: Request, paths: list[str], expand: bool) -> Response:
        repository = self._access.find(request, enabled=True)
        self._access.commit(request, repository)
        found = (rows.path_row(self._folder, repository, path.strip("/"), expand=expand) for path in paths)
        return JSONResponse([row for row in found if row is not None])

    def resolve(self, request: Request) -> Response:
        """GET /{id}/resolve/{rev}/{path}: a redirect, to the cache for small files, to a signed address for large."""
        repository = self._access.find(request, enabled=True, files=True)
        sha = self._access.commit(request, repository)
        path = request.path_params["path"]
        file = repository.by_path.get(path)
        if file is None:
            raise replies.entry_not_found("Entry not found", commit=sha)
        ids = self._folder.ids.of(file)
        headers = {"X-Repo-Commit": sha, "X-Linked-Etag": f'"{ids.etag}"', "Accept-Ranges": "bytes"}
        if ids.sha256:
            address = self._signer.address(self._storage(request), f"/cdn/{repository.name}/{sha}/{path}")
            headers |= {"X-Linked-Size": str(file.size), "Cache-Control": "no-store", "Location": address}
            headers |= self._xet_headers(repository, ids, sha)
            return PlainTextResponse("Found. Redirecting", 302, headers)
        cache = f"/api/resolve-cache/models/{repository.name}/{sha}/{quote(path)}"
        origin = quote(f"/{repository.name}/resolve/{request.path_params['rev']}/{path}", safe="")
        headers["Location"] = f"{cache}?{origin}=&etag={quote(chr(34) + ids.etag + chr(34), safe='')}"
        return PlainTextResponse("Temporary Redirect", 307, headers)

    def resolve_cache(self, request: Request) -> Response:
        """Small files by commit."""
        return self._content(request, self._access.find(request, enabled=True, files=True))

    def bare(self, request: Request) -> Response:
        """A name without an organisation, as the Hub's first models had: it leads to the one they have now."""
        raise self._access.elsewhere(request, request.path_params["name"])

    def cdn(self, request: Request) -> Response:
        """Large files, to whoever holds a signed address."""
        query = request.query_params
        path = "/cdn/{org}/{name}/{rev}/{path}".format_map(request.path_params)
        refusal = self._signer.refusal(path, query.get("Expires", ""), query.get("Signature", ""))
        if refusal:
            raise HTTPException(403, refusal)
        name = "{org}/{name}".format_map(request.path_params)
        repository = self._folder.find(name) or self._folder.snapshot().find(name)
        if repository is None:
            raise HTTPException(404, "Entry not found")
        return self._content(request, repository, is_storage=True)

    def _xet_headers(self, repository: Repository, ids: FileIds, sha: str) -> dict[str, str]:
        if ids.xet_hash is None or not self._folder.is_xet(repository):
            return {}
        token = f"/api/models/{repository.name}/xet-read-token/{sha}"
        return {"X-Xet-Hash": ids.xet_hash, "Link": f'<{token}>; rel="xet-auth"'}

    def _storage(self, request: Request) -> str:
        """The address that signed ones begin with."""
        base = request.base_url
        if self._cdn_host is not None:
            host, _, port = (
                self._cdn_host.rpartition(":") if self._cdn_host.count(":") == 1 else (self._cdn_host, "", "")
            )
            base = base.replace(hostname=host, port=int(port) if port else base.port)
        return str(base).rstrip("/")

    def _content(self, request: Request, repository: Repository, *, is_storage: bool = False) -> Response:
        sha = self._access.commit(request, repository)
        file = repository.by_path.get(request.path_params["path"])
        if file is None:
            raise replies.entry_not_found("Entry not found", commit=sha)
        ids = self._folder.ids.of(file)
        headers = {"X-Repo-Commit": sha}
        if ids.sha256 and self._cdn_host is None:  # the client follows redirects that stay on the host, to read them
            headers |= {"X-Linked-Etag": f'"{ids.etag}"', "X-Linked-Size": str(file.size)}
            headers |= self._xet_headers(repository, ids, sha)
        is_xet = is_storage and self._folder.is_xet(repository)
        return file_response(request, file, (is_xet and ids.xet_hash) or ids.etag, headers)
