"""The Hub as a source: huggingface_hub where its public API serves, our own requests where it does not.

What it does not serve: a listing that goes on from a cursor (crawler.hub_listing), byte ranges that are verified
(crawler.ranges), and the first commit of a history without all of it. The token goes to the Hub alone and is never
logged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from json import JSONDecodeError
from types import SimpleNamespace, TracebackType
from typing import Self, TypeVar
from urllib.parse import quote, urlsplit

import httpx2
from huggingface_hub import HfApi, ModelInfo, constants, get_hf_file_metadata, get_token, hf_hub_url
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.hf_api import RepoFile, RepoFolder
from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

from crawler.addresses import Address, AddressExpiredError, Alone, File, Shared
from crawler.budget import Budget
from crawler.doubt import TIMES, confirmed, is_doubtful
from crawler.history import Commits, first_and_newest, read_commits
from crawler.http import NAME, TIMEOUT, VERSION, open_client, use_for_huggingface_hub
from crawler.hub_errors import translated
from crawler.hub_listing import PAGE_SIZE, HubListing
from crawler.hub_rows import listed_info, listed_row, mapping, named, remote_files
from crawler.observed import Observe, unobserved
from crawler.plain import plain
from crawler.ranges import RangeReader
from crawler.retry import Policy, TryAgain, check_transient_status, transport_error
from crawler.small import too_large
from crawler.source import ByParts, Details, Listed, Page, Query, RemoteFile, Wanted
from crawler.weights import likely_weights
from db.errors import Failure, RepositoryUnavailable, SourceUnreachable, Transient

_MOST_PATHS = 500  # in one request

Result = TypeVar("Result")


def token_for(endpoint: str) -> str | None:
    """The environment's or the login's token, for the endpoint that huggingface_hub itself is set to only."""
    return get_token() if endpoint.rstrip("/") == constants.ENDPOINT else None


class HubSource(ByParts):
    """A Hub at `endpoint`, satisfying crawler.source.Source, for many threads. Close it, or use it in a `with`.

    `token` None: that of `token_for`, and none where there is none. `budget` None: as many requests as it takes.
    `observe` is told what each request came to. `shared`: with whom addresses of files are shared now.
    """

    def __init__(
        self,
        endpoint: str | None = None,
        token: str | None = None,
        *,
        budget: Budget | None = None,
        page_size: int = PAGE_SIZE,
        policy: Policy | None = None,
        timeout: httpx2.Timeout = TIMEOUT,
        observe: Observe = unobserved,
        shared: Callable[[], Shared] = Alone,
    ) -> None:
        self._endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
        self._token: str | bool = token or token_for(self._endpoint) or False
        self._closed = threading.Event()
        self._policy = policy or Policy(sleep=self._sleep)
        self._budget = budget
        self._timeout = timeout.read  # seconds without a byte
        self._api = HfApi(self._endpoint, token=self._token, library_name=NAME, library_version=VERSION)
        self._client = open_client(self._endpoint, budget, timeout=timeout, observe=observe)
        self._release = use_for_huggingface_hub(self._endpoint, budget, timeout=timeout, observe=observe)
        self._ranges = RangeReader(
            self._client, self._resolve, self._policy, settle=self._settled, shared=shared, headers=self._headers_to
        )
        self._listing = HubListing(self._endpoint, self._get, self._confirmed, page_size)

    @property
    def name(self) -> str:
        """The endpoint's address."""
        return self._endpoint

    def close(self) -> None:
        """Closes the connections and ends what waits; the budget's permits go back."""
        self._closed.set()
        self._release()
        self._ranges.close()
        self._client.close()
        if self._budget is not None:
            self._budget.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def pages(self, query: Query, cursor: str | None = None, *, newest_first: bool = False) -> Iterator[Page]:
        """The listing; explicit ids are given back as they are, without a request: `details` looks them up."""
        if query.ids:
            yield Page(tuple(Listed(name) for name in dict.fromkeys(query.ids))[: query.limit], None)
            return
        yield from self._listing.pages(query, cursor, newest_first=newest_first)

    def newest(self, query: Query) -> datetime | None:
        """The last modification in the listing, by one request."""
        return None if query.ids else self._listing.newest(query)

    def locate(self, name: str) -> Listed | None:
        """One request: where the Hub redirects a name to. That there is nothing is asked again."""
        try:
            return self._confirmed(lambda: self._located(name))
        except RepositoryUnavailable:
            return None

    def details(self, name: str) -> Details:
        """One or two API requests: the second asks for the commit's title, where the card names no parent."""
        info = self._confirmed(lambda: self._ask(name, lambda: self._info(name)))
        listed = listed_info(info)
        if not isinstance(info.sha, str) or not 0 < len(info.sha) <= 300:
            raise RepositoryUnavailable("it has no commit", model=name)
        card_data = info.card_data.to_dict() if info.card_data is not None else None  # type: ignore[no-untyped-call]
        try:
            config, card, bases = plain(info.config), plain(card_data), plain(info.base_models)
        except ValueError as error:
            raise RepositoryUnavailable(f"the Hub's answer has {error}", model=name) from None
        declared = bases or (card or {}).get("base_model")
        titles = () if declared or listed.disabled else self._titles(name, info.sha)
        return Details(
            listed, info.sha, remote_files(info.siblings), mapping(config), mapping(card), mapping(bases), titles
        )

    def size_of(self, name: str, sha: str, path: str) -> int:
        """A file's size, as its address tells it, or the range of its first byte."""
        return self._confirmed(lambda: self._ranges.size((name, sha, path)))

    def read_small(self, name: str, sha: str, path: str, limit: int) -> bytes:
        """A whole small file; refused by its size before it is read, and while it comes."""
        file = (name, sha, path)

        def once() -> bytes:
            address = self._ranges.address(file)
            if address.size is not None and address.size > limit:
                raise too_large(name, path, limit, address.size)
            try:
                return self._download(file, limit)
            except AddressExpiredError:
                self._ranges.address(file, renew=True)
            try:
                return self._download(file, limit)
            except AddressExpiredError as error:
                raise RepositoryUnavailable(f"the Hub answers {error}", model=name, file=path) from None

        return self._confirmed(once)

    def read_many(self, parts: Sequence[Wanted]) -> list[Failure | None]:
        """Fill the buffers of many parts: neighbours by one request, several requests at once, all verified."""
        found = self._ranges.read_many(parts)
        for failed in range(1, TIMES):
            doubtful = [at for at, failure in enumerate(found) if failure is not None and is_doubtful(failure)]
            if not doubtful:
                break
            self._pause(failed)
            again = self._ranges.read_many([parts[at] for at in doubtful])
            for at, failure in zip(doubtful, again, strict=True):
                found[at] = failure
        return found

    def _confirmed(self, call: Callable[[], Result]) -> Result:
        """`call`, tried again as `_run` does, its permanent failures believed when they come several times in a row."""
        return confirmed(lambda: self._run(call), self._pause)

    def _pause(self, failed: int) -> None:
        self._policy.sleep(self._policy.first_wait * 2 ** (failed - 1))

    def _run(self, call: Callable[[], Result]) -> Result:
        """`call`, tried again as long as it is worth it; nobody there: SourceUnreachable."""
        try:
            return self._policy.run(call)
        except TryAgain as error:
            raise self._settled(error) from error

    def _settled(self, error: TryAgain) -> Failure:
        """What is left of an error when all tries are used up, stored by its class's name. Raises SourceUnreachable."""
        if error.unreachable is not None and error.unreachable == urlsplit(self._endpoint).hostname:
            raise SourceUnreachable(f"{self._endpoint}: {error.detail}") from error
        return Transient(error.detail, model=error.model, file=error.file)

    def _sleep(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise SourceUnreachable(f"{self._endpoint}: closed while waiting")

    def _headers(self) -> dict[str, str]:
        return build_hf_headers(token=self._token, library_name=NAME, library_version=VERSION)

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

    def _ask(self, name: str, call: Callable[[], Result], path: str | None = None) -> Result:
        """A call of huggingface_hub, once, its errors turned into ours."""
        try:
            return call()
        except (HfHubHTTPError, HFValidationError, httpx2.HTTPError, OfflineModeIsEnabled) as error:
            raise translated(error, self._endpoint, name, path) from error
        except JSONDecodeError as error:  # a proxy's page: not the Hub's word on this repository
            raise TryAgain("the Hub's answer is not JSON", model=name, file=path) from error
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # its parsers on odd answers
            what = " ".join(repr(error).split())[:200]
            raise RepositoryUnavailable(f"the Hub's answer cannot be read: {what}", model=name, file=path) from error

    def _info(self, name: str) -> ModelInfo:
        return self._api.model_info(name, files_metadata=True, timeout=self._timeout)

    def _with_hashes(self, name: str, sha: str, files: tuple[RemoteFile, ...]) -> tuple[RemoteFile, ...]:
        """The files; one request more, for sizes and Xet hashes, where a weight file came without size or hash."""
        weights = likely_weights([file.path for file in files])
        bare = [one.path for one in files if one.path in weights and (one.size < 0 or not (one.sha256 or one.blob_id))]
        if not bare:
            return files
        try:
            found = self._run(
                lambda: self._ask(name, lambda: self._api.get_paths_info(name, bare[:_MOST_PATHS], revision=sha))
            )
        except Failure:
            return files  # reading them will tell
        known = {one.path: one for one in remote_files([_as_sibling(one) for one in found])}
        return tuple(known.get(file.path, file) for file in files)

    def _titles(self, name: str, sha: str) -> tuple[str, ...]:
        def page(number: int) -> Commits:
            parameters = [("p", str(number))] if number else []
            path = f"/api/models/{name}/commits/{sha}"
            try:
                return self._confirmed(lambda: read_commits(self._get(path, parameters), name))
            except RepositoryUnavailable:
                return Commits((), 0)

        return first_and_newest(page)

    def _located(self, name: str) -> Listed:
        response = self._get(f"/api/models/{quote(name)}")
        if response.status_code in (400, 401, 403, 404):
            raise RepositoryUnavailable(f"the Hub answers {response.status_code}", model=name)
        try:
            row = response.json()
        except (ValueError, RecursionError):
            row = None
        if response.status_code != 200 or not named(row):
            raise TryAgain(f"{self._endpoint} answers {response.status_code}", model=name)
        return listed_row(row)

    def _resolve(self, file: File) -> Address:
        """Asks the Hub where a file's bytes are; our headers go along only where that is the Hub itself."""
        name, sha, path = file
        url = hf_hub_url(name, path, revision=sha, endpoint=self._endpoint)
        metadata = self._ask(
            name,
            lambda: get_hf_file_metadata(
                url,
                token=self._token,
                timeout=self._timeout,
                endpoint=self._endpoint,
                library_name=NAME,
                library_version=VERSION,
            ),
            path,
        )
        return Address(metadata.location, metadata.size, self._headers_to(metadata.location))

    def _headers_to(self, address: str) -> dict[str, str]:
        headers = self._headers()
        if not address.startswith(f"{self._endpoint}/"):
            headers.pop("authorization", None)
        return headers

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


def _as_sibling(info: RepoFile | RepoFolder) -> SimpleNamespace:
    """A path's information under the names of a sibling."""
    names = {"path": "rfilename", "size": "size", "blob_id": "blob_id", "lfs": "lfs", "xet_hash": "xet_hash"}
    return SimpleNamespace(**{ours: getattr(info, theirs, None) for theirs, ours in names.items()})
