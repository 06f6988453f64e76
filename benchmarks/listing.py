"""A listing of many synthetic models, served as the Hub's: `python -m benchmarks.listing --rows 100000 --port 8001`.

The rows lie rendered in one file; a page is cut out of it, so that the server costs little beside what is measured.
Parameters, sorts and cursors are those of hublineage.hub. It prints its address when it is ready.
"""

from __future__ import annotations

import argparse
import mmap
import subprocess
import sys
import tempfile
from array import array
from datetime import datetime
from typing import TYPE_CHECKING, Self

import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.listing_rows import Row, iso, synthetic_rows
from hublineage.hub import listing, parameters, replies, rows
from hublineage.hub.quotas import QuotaMiddleware, Quotas
from hublineage.hub.server import listen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from types import TracebackType

    import numpy.typing as npt
    from starlette.requests import Request

FIELDS = (
    "_id", "id", "author", "sha", "createdAt", "lastModified", "downloads", "likes", "trendingScore", "gated",
    "private", "disabled", "tags", "pipeline_tag", "library_name", "siblings", "config", "cardData", "baseModels",
    "safetensors", "gguf",
)  # fmt: skip
"""The fields of a row in the order of the file; what else `expand` may ask for has no value."""
_ALWAYS = ("_id", "id")
_TIMES = ("createdAt", "lastModified")


class Table:
    """The rows, rendered field by field into one file, and what they are sorted by."""

    def __init__(self, source: Iterable[Row]) -> None:
        self._offsets = array("Q")  # of each field of each row
        ids: list[bytes] = []
        keys: dict[str, array[int]] = {sort: array("q") for sort in listing.SORTS}
        at = 0
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # as long as the table
        for row in source:
            parts = [_rendered(field, row.fields.get(field)) for field in FIELDS]
            for part in parts:
                self._offsets.append(at)
                at += len(part)
            self._file.write(b"".join(parts))
            ids.append(row.hub_id.encode())
            for sort, key in _keys(row).items():
                keys[sort].append(key)
        self._offsets.append(at)
        self._file.write(b" ")  # a mapping of nothing is no mapping
        self._file.flush()
        self._content = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        self._ids = np.array(ids, dtype="S24")
        self._keys = {sort: np.array(values, dtype=np.int64) for sort, values in keys.items()}
        self._orders: dict[tuple[str, bool], npt.NDArray[np.int64]] = {}
        self.size = at  # bytes

    def __len__(self) -> int:
        return len(self._ids)

    def field(self, row: int, name: str) -> bytes:
        """The JSON of a field, its name before and a comma behind it; nothing where it has no value."""
        at = row * len(FIELDS) + FIELDS.index(name)
        return self._content[self._offsets[at] : self._offsets[at + 1]]

    def rendered(self, row: int, runs: Sequence[tuple[int, int]]) -> bytes:
        """A row as JSON with the fields of these runs [start, stop) of FIELDS."""
        base, offsets, content = row * len(FIELDS), self._offsets, self._content
        parts = b"".join([content[offsets[base + start] : offsets[base + stop]] for start, stop in runs])
        return b"{" + parts[:-1] + b"}"  # each field has its comma behind it

    def after(self, sort: str, cursor: listing.Cursor | None, *, ascending: bool) -> npt.NDArray[np.int64]:
        """The rows behind a cursor, in their order."""
        order = self._order(sort, ascending=ascending)
        if cursor is None:
            return order
        key = _milliseconds(str(cursor.key)) if sort in _TIMES else int(cursor.key)
        sign = 1 if ascending else -1
        keys = self._keys[sort][order] * sign
        first, last = np.searchsorted(keys, [key * sign], "left")[0], np.searchsorted(keys, [key * sign], "right")[0]
        tied = self._ids[order[first:last]]
        return order[first + int(np.searchsorted(tied, np.bytes_(cursor.hub_id.encode()), "right")) :]

    def cursor(self, row: int, sort: str) -> listing.Cursor:
        """The cursor behind a row."""
        key = int(self._keys[sort][row])
        return listing.Cursor(iso(key) if sort in _TIMES else key, self._ids[row].decode())

    def _order(self, sort: str, *, ascending: bool) -> npt.NDArray[np.int64]:
        known = self._orders.get((sort, ascending))
        if known is None:
            keys = self._keys[sort]
            known = self._orders[sort, ascending] = np.lexsort((self._ids, keys if ascending else -keys))
        return known


def _rendered(field: str, value: str | None) -> bytes:
    return f'"{field}":{value},'.encode() if value is not None else b""


def _runs(fields: Iterable[str]) -> list[tuple[int, int]]:
    """The fields as runs [start, stop) of FIELDS: what lies together is cut out together."""
    runs: list[tuple[int, int]] = []
    for at in sorted({FIELDS.index(name) for name in (*_ALWAYS, *fields) if name in FIELDS}):
        if runs and runs[-1][1] == at:
            runs[-1] = (runs[-1][0], at + 1)
        else:
            runs.append((at, at + 1))
    return runs


def _keys(row: Row) -> dict[str, int]:
    return {
        "createdAt": row.created_ms,
        "lastModified": row.modified_ms,
        "downloads": row.downloads,
        "likes": row.likes,
        "trendingScore": row.trending,
    }


def _milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def listing_app(source: Iterable[Row], quotas: Quotas | None = None) -> Starlette:
    """GET /api/models over these rows, as an ASGI application."""
    table = Table(source)

    def models(request: Request) -> Response:
        query = request.query_params
        sort, ascending = query.get("sort", "trendingScore"), query.get("direction", "-1") != "-1"
        if sort not in listing.SORTS:
            raise replies.bad_request(f"Invalid sort parameter: expected one of {', '.join(listing.SORTS)}")
        limit = parameters.limit(request, listing.PAGE_LIMIT)
        fields = parameters.expand(request, rows.LISTING_FIELDS) or rows.listing_fields(
            full=parameters.flag(request, "full"),
            card=parameters.flag(request, "cardData"),
            config=parameters.flag(request, "config"),
        )
        try:
            cursor = listing.Cursor.decode(query["cursor"], sort) if "cursor" in query else None
            found = table.after(sort, cursor, ascending=ascending)
            wanted = _filters(request)
        except ValueError as error:
            raise replies.bad_request(str(error)) from error
        shown = _first(table, found, wanted, limit + 1)
        runs = _runs(fields)
        body = b"[" + b",".join([table.rendered(row, runs) for row in shown[:limit]]) + b"]"
        following = None
        if len(shown) > limit > 0:
            following = table.cursor(shown[limit - 1], sort).encode(sort, ascending=ascending)
        return Response(body, headers=parameters.next_link(request, following), media_type="application/json")

    before = [Middleware(QuotaMiddleware, quotas=quotas)] if quotas is not None else []
    routes = [Route("/api/models", models)]
    return Starlette(routes=routes, middleware=before, exception_handlers={HTTPException: replies.render})


def _filters(request: Request) -> list[tuple[str, bytes]]:
    """(field, what its JSON must contain). Raises ValueError for a bad parameter."""
    query = request.query_params
    wanted = [("tags", f'"{tag}"'.encode()) for tag in query.getlist("filter")]
    if "author" in query:
        wanted.append(("author", f':"{query["author"]}"'.encode()))
    if "pipeline_tag" in query:
        wanted.append(("pipeline_tag", f':"{query["pipeline_tag"]}"'.encode()))
    wanted += [("id", word.encode()) for word in query.get("search", "").lower().split()]  # all names are lower case
    gated = listing.gated_filter(query.get("gated"))
    if gated is not None:
        wanted.append(("gated", b':"' if gated else b":false"))
    return wanted


def _first(table: Table, found: npt.NDArray[np.int64], wanted: list[tuple[str, bytes]], count: int) -> list[int]:
    """The first `count` rows that contain what is wanted."""
    if not wanted:
        return [int(row) for row in found[:count]]

    def matching() -> Iterator[int]:
        for row in found:
            if all(part in table.field(int(row), field) for field, part in wanted):
                yield int(row)

    return [row for row, _ in zip(matching(), range(count), strict=False)]


class ListingServer:
    """The listing in a process of its own: `with ListingServer(100_000) as hub: ... hub.url ...`."""

    def __init__(self, count: int, seed: int = 0, port: int = 0) -> None:
        self._command = [sys.executable, "-m", "benchmarks.listing", "--rows", str(count)]
        self._command += ["--seed", str(seed), "--port", str(port)]
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    @property
    def pid(self) -> int:
        """The server's process, for measurements."""
        return self._process.pid if self._process is not None else 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own
        self.url = self._process.stdout.readline().strip() if self._process.stdout else ""
        if not self.url:
            self.__exit__(None, None, None)
            raise RuntimeError("the listing's server did not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            if self._process.stdout:
                self._process.stdout.close()


def main() -> None:
    """Serves until it is terminated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--port", type=int, default=0, help="0 for any free one")
    parser.add_argument("--quota", type=int, help="requests in five minutes; without it there is no end of them")
    options = parser.parse_args()
    quotas = Quotas(api=options.quota) if options.quota is not None else None
    app = listing_app(synthetic_rows(options.rows, options.seed), quotas)
    with listen("127.0.0.1", options.port) as listening:
        print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
        config = uvicorn.Config(app, log_level="critical", access_log=False, ws="none", lifespan="off")
        uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
