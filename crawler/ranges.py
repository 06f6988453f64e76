"""Verified byte ranges over HTTP.

A file is resolved once; its ranges then go to the address that the Hub has signed, which costs no request there, until
it expires. huggingface_hub reads ranges too, but its file system returns other bytes where a server ignores Range; so
status, Content-Range and length of every reply are checked here before a byte is taken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urljoin, urlsplit

import httpx2

from crawler.retry import Policy, TryAgain, check_transient_status, transport_error
from db.errors import Failure, HeaderMalformed, RangeNotHonoured, RepositoryUnavailable

REMEMBERED = 4096  # addresses kept before all are forgotten
REDIRECTS = 5
PROGRESS = 256 * 1024  # bytes: a reply cut off behind so many begins the count of tries anew
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_CONTENT_RANGE_416 = re.compile(r"bytes \*/(\d{1,18})")

File = tuple[str, str, str]
"""Repository, commit sha and path."""


@dataclass(frozen=True)
class Address:
    """Where the bytes of a file are to be had for a while; headers go to no other origin than the address's own."""

    url: str = field(repr=False)  # signed: whoever reads it in a log could use it
    size: int | None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)


class AddressExpiredError(Exception):
    """The signed address opens nothing any more."""


class RangeReader:
    """Reads ranges of files through one client. `resolve` asks the Hub for a file's address and size."""

    def __init__(self, client: httpx2.Client, resolve: Callable[[File], Address], policy: Policy) -> None:
        self._client = client
        self._resolve = resolve
        self._policy = policy
        self._addresses: dict[File, Address] = {}

    def address(self, file: File, *, renew: bool = False) -> Address:
        """The file's address, asked for once, or again to renew it."""
        known = None if renew else self._addresses.get(file)
        if known is None:
            known = self._resolve(file)
            if len(self._addresses) >= REMEMBERED:
                self._addresses.clear()
            self._addresses[file] = known
        return known

    def read(self, file: File, start: int, stop: int) -> bytes:
        """Bytes [start, stop). Raises as `read_into` does, and ValueError for a negative range."""
        if not 0 <= start <= stop:
            raise ValueError(f"[{start}, {stop}) is no range of bytes")
        buffer = bytearray(stop - start)
        self.read_into(file, start, memoryview(buffer))
        return bytes(buffer)

    def read_into(self, file: File, start: int, buffer: memoryview) -> None:
        """Fill `buffer` with the bytes from `start` on; after a cut only the missing part is asked for again.

        Raises RangeNotHonoured where the server sends anything else, HeaderMalformed where the file ends before the
        range does, RepositoryUnavailable where it refuses a fresh address, Transient where it fails for too long.
        """
        transfer = _Transfer(file, start, buffer.cast("B"))
        while transfer.missing:
            self._policy.run(lambda: self._advance(transfer))

    def _advance(self, transfer: _Transfer) -> None:
        """All of what is missing, or at least PROGRESS of it, whereafter tries are counted anew."""
        before = transfer.filled
        known = transfer.file in self._addresses
        try:
            try:
                self._fetch(self.address(transfer.file), transfer)
            except AddressExpiredError:
                if not known:
                    raise
                self._fetch(self.address(transfer.file, renew=True), transfer)
        except AddressExpiredError as error:
            self._addresses.pop(transfer.file, None)
            raise transfer.error(RepositoryUnavailable, f"the storage refuses a fresh address with {error}") from None
        except TryAgain:
            if transfer.filled - before < PROGRESS:
                raise

    def _fetch(self, address: Address, transfer: _Transfer) -> None:
        if address.size is not None and transfer.stop > address.size:
            raise transfer.too_short(address.size)
        url, headers = address.url, dict(address.headers)
        asked = {"Range": f"bytes={transfer.begin}-{transfer.stop - 1}", "Accept-Encoding": "identity"}
        model, _, path = transfer.file
        try:
            for _ in range(REDIRECTS):
                with self._client.stream("GET", url, headers={**headers, **asked}, follow_redirects=False) as response:
                    if not response.has_redirect_location:
                        _check_status(response, transfer)
                        _check_range(response, transfer, address.size)
                        _fill(response, transfer)
                        return
                    following = urljoin(url, response.headers["location"])
                if _origin(following) != _origin(url):
                    headers = {}
                url = following
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
            raise transfer.error(RangeNotHonoured, "the server redirects to no address") from None
        except httpx2.TransportError as error:
            raise transport_error(error, urlsplit(url).hostname or "", model=model, file=path) from error
        raise transfer.error(RangeNotHonoured, f"more than {REDIRECTS} redirects")


@dataclass
class _Transfer:
    """One range on its way into a buffer."""

    file: File
    start: int
    target: memoryview
    filled: int = 0

    @property
    def begin(self) -> int:
        return self.start + self.filled

    @property
    def stop(self) -> int:
        return self.start + len(self.target)

    @property
    def missing(self) -> int:
        return len(self.target) - self.filled

    def error(self, kind: type[Failure], what: str) -> Failure:
        return kind(what, model=self.file[0], file=self.file[2])

    def not_honoured(self, what: str) -> Failure:
        return self.error(RangeNotHonoured, f"bytes {self.begin} to {self.stop} were asked for, {what}")

    def too_short(self, size: int) -> Failure:
        return self.error(HeaderMalformed, f"the file has {size} bytes, expected at least {self.stop}")


def _check_status(response: httpx2.Response, transfer: _Transfer) -> None:
    """Nothing but 206 will do; a 200 is refused here, before any of its body is taken."""
    check_transient_status(response, model=transfer.file[0], file=transfer.file[2])
    status = response.status_code
    if status in (400, 401, 403, 404, 410):  # what storages answer to an address that has expired
        raise AddressExpiredError(str(status))
    ends = _CONTENT_RANGE_416.fullmatch(response.headers.get("content-range", "")) if status == 416 else None
    if ends and int(ends[1]) < transfer.stop:
        raise transfer.too_short(int(ends[1]))
    if status != 206:
        raise transfer.not_honoured(f"the server answers {status}, expected 206")


def _check_range(response: httpx2.Response, transfer: _Transfer, size: int | None) -> None:
    """The head of a 206 must promise the bytes that were asked for and no others."""
    headers = response.headers
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if found is None:
        raise transfer.not_honoured(f"Content-Range is {headers.get('content-range', 'missing')[:100]}")
    total = None if found[3] == "*" else int(found[3])
    if total is not None and total < transfer.stop:
        raise transfer.too_short(total)
    if (int(found[1]), int(found[2]) + 1) != (transfer.begin, transfer.stop):
        raise transfer.not_honoured(f"Content-Range is {found[0]}")
    if total is not None and size not in (None, total):
        raise transfer.not_honoured(f"Content-Range is {found[0]}, in a file of {size} bytes")
    if headers.get("content-encoding", "identity") != "identity":
        raise transfer.not_honoured(f"the reply is encoded with {headers['content-encoding'][:40]}")
    length = headers.get("content-length", str(transfer.missing))
    if length != str(transfer.missing):
        raise transfer.not_honoured(f"Content-Length is {length[:40]}, expected {transfer.missing}")


def _fill(response: httpx2.Response, transfer: _Transfer) -> None:
    """Copies the body chunk by chunk; what has come stays, whatever happens later."""
    for chunk in response.iter_raw():
        if len(chunk) > transfer.missing:
            raise transfer.not_honoured("more bytes came")
        transfer.target[transfer.filled : transfer.filled + len(chunk)] = chunk
        transfer.filled += len(chunk)
    if transfer.missing:
        what = f"the reply ended {transfer.missing} bytes early"
        raise TryAgain(what, model=transfer.file[0], file=transfer.file[2])


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port
