"""The Hub as a source: huggingface_hub where its public API serves, our own requests where it does not.

What it does not serve: a listing that goes on from a cursor (list_models follows the pages but hands out no cursor, so
a crawl that was cut off could only begin anew), and byte ranges that are verified (crawler.ranges). The token goes to
the Hub alone and is never logged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import parse_qs, urlsplit

import httpx2
from huggingface_hub import HfApi, ModelInfo, constants, get_hf_file_metadata, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from crawler.declared import is_duplication
from crawler.hub_errors import translated
from crawler.hub_rows import listed_info, listed_row, mapping, matches
from crawler.plain import plain, plain_text
from crawler.ranges import Address, AddressExpiredError, File, RangeReader
from crawler.retry import Policy, TryAgain, check_transient_status, transport_error
from crawler.small import too_large
from crawler.source import Details, Listed, Page, Query, RemoteFile
from db.errors import RepositoryUnavailable, SourceUnreachable, Transient

PAGE_SIZE = 1000
API_TIMEOUT = 30.0  # seconds
TIMEOUT = httpx2.Timeout(30.0, connect=10.0)
_VERSION = version("hublineage")  # requests are named hublineage/<version>
_EXPAND = (
    "author", "config", "createdAt", "disabled", "downloads", "gated", "lastModified", "library_name", "likes",
    "pipeline_tag", "private", "sha", "tags",
)  # fmt: skip

Result = TypeVar("Result")


class HubSource:
    """A Hub at `endpoint`, satisfying crawler.source.Source. Close it, or use it in a `with`.

    `token` None: the environment's or the login's, for the endpoint that huggingface_hub itself is set to only.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        token: str | None = None,
        *,
        page_size: int = PAGE_SIZE,
        policy: Policy | None = None,
        timeout: httpx2.Timeout = TIMEOUT,
    ) -> None:
        self._endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self._token: str | bool | None = token
        if token is None and self._endpoint != constants.ENDPOINT:
            self._token = False  # never a token to a server that it was not meant for
        self._page_size = page_size
        self._policy = policy or Policy()
        self._api = HfApi(self._endpoint, token=self._token, library_name="hublineage", library_version=_VERSION)
        self._client = httpx2.Client(timeout=timeout, follow_redirects=False)
        self._ranges = RangeReader(self._client, self._resolve, self._policy)
        self._expands = True

    @property
    def name(self) -> str:
        """The endpoint's address."""
        return self._endpoint

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def pages(self, query: Query, cursor: str | None = None) -> Iterator[Page]:
        """The listing by createdAt ascending: what is added meanwhile comes last, so a cursor stays good.

        Explicit ids are given back as they are, without a request: `details` looks them up.
        """
        if query.ids:
            yield Page(tuple(Listed(name) for name in dict.fromkeys(query.ids))[: query.limit], None)
            return
        left = query.limit
        while True:
            rows, following = self._run(lambda at=cursor: self._list(query, at))  # type: ignore[misc]
            if following is not None and following == cursor:
                raise SourceUnreachable(f"{self._endpoint}: the listing repeats its cursor {following[:80]}")
            found = tuple(row for row in rows if matches(row, query.architectures))[:left]
            left = None if left is None else left - len(found)
            cursor = following if left != 0 else None
            yield Page(found, cursor)
            if cursor is None:
                return

    def details(self, name: str) -> Details:
        """One or two API requests: the second asks for the commit's title, where the card names no parent."""
        info = self._run(lambda: self._ask(name, lambda: self._info(name)))
        listed = listed_info(info)
        if not info.sha:
            raise RepositoryUnavailable("it has no commit", model=name)
        files = tuple(
            RemoteFile(
                sibling.rfilename,
                sibling.size if sibling.size is not None else -1,
                sibling.blob_id,
                sibling.lfs.sha256 if sibling.lfs else None,
            )
            for sibling in info.siblings or ()
        )
        card_data = info.card_data.to_dict() if info.card_data is not None else None  # type: ignore[no-untyped-call]
        try:
            config, card, bases = plain(info.config), plain(card_data), plain(info.base_models)
        except ValueError as error:
            raise RepositoryUnavailable(f"the Hub's answer has {error}", model=name) from None
        title = None if bases or (card or {}).get("base_model") or listed.disabled else self._title(name, info.sha)
        return Details(listed, info.sha, files, mapping(config), mapping(card), mapping(bases), title)

    def read_small(self, name: str, sha: str, path: str, limit: int) -> bytes:
        """A whole small file; refused by its size before it is read, and while it comes."""
        file = (name, sha, path)
        address = self._run(lambda: self._ranges.address(file))
        if address.size is not None and address.size > limit:
            raise too_large(name, path, limit, address.size)
        try:
            return self._run(lambda: self._download(file, limit))
        except AddressExpiredError:
            self._run(lambda: self._ranges.address(file, renew=True))
        try:
            return self._run(lambda: self._download(file, limit))
        except AddressExpiredError as error:
            raise RepositoryUnavailable(f"the Hub answers {error}", model=name, file=path) from None

    def read_range(self, name: str, sha: str, path: str, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a file, verified."""
        return self._run(lambda: self._ranges.read((name, sha, path), start, stop), retried=True)

    def read_into(self, name: str, sha: str, path: str, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes from `start` on, verified."""
        self._run(lambda: self._ranges.read_into((name, sha, path), start, buffer), retried=True)

    def _run(self, call: Callable[[], Result], *, retried: bool = False) -> Result:
        """`call`, tried again where it is worth it (once where it does so itself); nobody there: SourceUnreachable."""
        try:
            return call() if retried else self._policy.run(call)
        except TryAgain as error:
            if error.unreachable is not None and error.unreachable == urlsplit(self._endpoint).hostname:
                raise SourceUnreachable(f"{self._endpoint}: {error.detail}") from error
            raise Transient(error.detail, model=error.model, file=error.file) from error  # stored by its class's name

    def _headers(self) -> dict[str, str]:
        return build_hf_headers(token=self._token, library_name="hublineage", library_version=_VERSION)

    def _list(self, query: Query, cursor: str | None) -> tuple[list[Listed], str | None]:
        """One page, by parameters that the Hub documents; `expand` is dropped for good where it is refused."""
        size = self._page_size if query.limit is None else min(self._page_size, query.limit)
        # direction: the client has dropped it, the Hub and its cursors still know it
        params: list[tuple[str, str]] = [("sort", "createdAt"), ("direction", "1"), ("limit", str(max(size, 1)))]
        params += [("author", query.author)] if query.author else []
        params += [("search", query.search)] if query.search else []
        params += [("filter", tag) for tag in query.tags]
        params += [("cursor", cursor)] if cursor else []
        fields = [("expand", field) for field in _EXPAND] if self._expands else [("full", "true"), ("config", "true")]
        response = self._get("/api/models", [*params, *fields])
        if response.status_code == 400 and self._expands:
            self._expands = False
            return self._list(query, cursor)
        if response.status_code != 200:
            words = " ".join(response.text.split())[:200]
            raise SourceUnreachable(f"{self._endpoint} answers the listing with {response.status_code} {words}")
        return self._rows(response), _next_cursor(response)

    def _get(self, path: str, params: Sequence[tuple[str, str]] = ()) -> httpx2.Response:
        """One request of the API, its reply whatever its status, save those that are worth another try."""
        try:
            response = self._client.get(
                self._endpoint + path, params=list(params), headers=self._headers(), follow_redirects=True
            )
        except (httpx2.UnsupportedProtocol, httpx2.InvalidURL):
            raise SourceUnreachable(f"{self._endpoint} is no http address") from None
        except httpx2.TransportError as error:
            raise transport_error(error, urlsplit(self._endpoint).hostname or "") from error
        check_transient_status(response)
        return response

    def _rows(self, response: httpx2.Response) -> list[Listed]:
        try:
            rows = response.json()
        except ValueError:
            raise TryAgain(f"{response.url.host}: a page of the listing is not JSON") from None
        if not isinstance(rows, list):
            raise TryAgain(f"{response.url.host}: a page of the listing is not a list")
        return [listed_row(row) for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]

    def _ask(self, name: str, call: Callable[[], Result], path: str | None = None) -> Result:
        """A call of huggingface_hub, once, its errors turned into ours."""
        try:
            return call()
        except (HfHubHTTPError, HFValidationError, httpx2.HTTPError, OfflineModeIsEnabled) as error:
            raise translated(error, self._endpoint, name, path) from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # its parsers on odd answers
            what = " ".join(repr(error).split())[:200]
            raise RepositoryUnavailable(f"the Hub's answer cannot be read: {what}", model=name, file=path) from error

    def _info(self, name: str) -> ModelInfo:
        return self._api.model_info(name, files_metadata=True, timeout=API_TIMEOUT)

    def _title(self, name: str, sha: str) -> str | None:
        """The title that a duplication on the server leaves, else the newest; none where the Hub does not say.

        Our own request: the client's list_repo_commits reads the whole history, and without a timeout.
        """
        try:
            response = self._run(lambda: self._get(f"/api/models/{name}/commits/{sha}"))
        except Transient:
            return None
        try:
            commits = response.json() if response.status_code == 200 else []
        except ValueError:
            return None
        rows = [row for row in commits if isinstance(row, dict)] if isinstance(commits, list) else []
        titles = [plain_text(row["title"]) for row in rows if isinstance(row.get("title"), str)]
        return next((title for title in reversed(titles) if is_duplication(title)), titles[0] if titles else None)

    def _resolve(self, file: File) -> Address:
        """Asks the Hub where a file's bytes are; our headers go along only where that is the Hub itself."""
        name, sha, path = file
        url = hf_hub_url(name, path, revision=sha, endpoint=self._endpoint)
        metadata = self._ask(
            name,
            lambda: get_hf_file_metadata(
                url,
                token=self._token,
                timeout=API_TIMEOUT,
                endpoint=self._endpoint,
                library_name="hublineage",
                library_version=_VERSION,
            ),
            path,
        )
        headers = self._headers()
        if not metadata.location.startswith(f"{self._endpoint}/"):
            headers.pop("authorization", None)
        return Address(metadata.location, metadata.size, headers)

    def _download(self, file: File, limit: int) -> bytes:
        name, _, path = file
        address = self._ranges.address(file)
        content = bytearray()
        try:
            with self._client.stream("GET", address.url, headers=address.headers, follow_redirects=True) as response:
                check_transient_status(response, model=name, file=path)
                if response.status_code != 200:
                    raise AddressExpiredError(str(response.status_code))
                for chunk in response.iter_bytes():
                    content += chunk
                    if len(content) > limit:
                        raise too_large(name, path, limit)
        except httpx2.TransportError as error:
            raise transport_error(error, urlsplit(address.url).hostname or "", model=name, file=path) from error
        except httpx2.DecodingError:
            raise TryAgain("the reply's encoding is broken", model=name, file=path) from None
        return bytes(content)


def _next_cursor(response: httpx2.Response) -> str | None:
    """The cursor alone, not the link: it outlives a change of the page's size or the endpoint's name."""
    link = response.links.get("next", {}).get("url")
    if link is None:
        return None
    cursors = parse_qs(urlsplit(link).query).get("cursor")
    if not cursors:
        raise TryAgain(f"{response.url.host}: the link to the next page has no cursor")
    return cursors[0]
