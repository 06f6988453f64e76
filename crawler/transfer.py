"""One range of a file on its way into buffers: what of it has come, and whether a reply is what was asked for.

Status, Content-Range, encoding and length are checked before a byte is taken. Nothing but Content-Range (and the size
that the Hub named, where it did) is relied on, so that any storage will do: LFS, Xet, or the Hub itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpx2

from crawler.addresses import AddressExpiredError, File
from crawler.retry import TryAgain, check_transient_status
from db.errors import Failure, HeaderMalformed, RangeNotHonoured

_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
_CONTENT_RANGE_416 = re.compile(r"bytes \*/([0-9]{1,18})")


@dataclass(frozen=True)
class Target:
    """Where the bytes of a file from `start` on go."""

    start: int
    buffer: memoryview

    @property
    def stop(self) -> int:
        """The byte after the last."""
        return self.start + len(self.buffer)


@dataclass
class Transfer:
    """Bytes [start, stop) of a file on their way into `targets`, ordered by their start; what none wants is dropped."""

    file: File
    start: int
    stop: int
    targets: Sequence[Target]
    needs: int  # bytes that the file must have: more than `stop` where this is a piece of something larger
    filled: int = 0
    file_ends: int | None = None  # once it turned out that the file is too short
    _first: int = 0  # the first target that is not full

    @property
    def begin(self) -> int:
        """The first byte that is missing."""
        return self.start + self.filled

    @property
    def missing(self) -> int:
        """Bytes."""
        return self.stop - self.begin

    def take(self, chunk: bytes) -> None:
        """The next bytes have come."""
        at, end, view = self.begin, self.begin + len(chunk), memoryview(chunk)
        for number in range(self._first, len(self.targets)):
            target = self.targets[number]
            if target.start >= end:
                break
            low, high = max(target.start, at), min(target.stop, end)
            if low < high:
                target.buffer[low - target.start : high - target.start] = view[low - at : high - at]
        self.filled += len(chunk)
        while self._first < len(self.targets) and self.targets[self._first].stop <= end:
            self._first += 1

    def error(self, kind: type[Failure], what: str) -> Failure:
        """A failure of this file."""
        return kind(what, model=self.file[0], file=self.file[2])

    def try_again(self, what: str) -> TryAgain:
        """A passing failure of this file."""
        return TryAgain(what, model=self.file[0], file=self.file[2])

    def not_honoured(self, what: str) -> Failure:
        """The server answers something else."""
        return self.error(RangeNotHonoured, f"bytes {self.begin} to {self.stop} were asked for, {what}")

    def check_size(self, size: int | None) -> None:
        """Raises HeaderMalformed where a file of `size` bytes ends before what is wanted of it."""
        if size is not None and size < self.needs:
            self.file_ends = size
            raise too_short(self.file, size, self.needs)


def too_short(file: File, size: int, needs: int) -> HeaderMalformed:
    """The file has fewer bytes than its header speaks of."""
    return HeaderMalformed(f"the file has {size} bytes, expected at least {needs}", model=file[0], file=file[2])


def receive(response: httpx2.Response, transfer: Transfer, size: int | None, check: Callable[[], None]) -> None:
    """Takes a reply's body if its head promises the bytes that are missing of a file of `size` bytes, and no others.

    What has come stays, whatever happens later. `check` is called before each chunk and may raise. Raises
    AddressExpiredError, HeaderMalformed, RangeNotHonoured, TryAgain.
    """
    _check_status(response, transfer)
    _check_range(response, transfer, size)
    for chunk in response.iter_raw():
        if len(chunk) > transfer.missing:
            raise transfer.not_honoured("more bytes came")
        transfer.take(chunk)
        if transfer.missing:
            check()
    if transfer.missing:
        raise transfer.try_again(f"the reply ended {transfer.missing} bytes early")


def _check_status(response: httpx2.Response, transfer: Transfer) -> None:
    """Nothing but 206 will do; a 200 is refused here, before any of its body is taken."""
    check_transient_status(response, model=transfer.file[0], file=transfer.file[2])
    status = response.status_code
    if status in (400, 401, 403, 404, 410):  # what storages answer to an address that has expired
        raise AddressExpiredError(str(status))
    if status == 416 and (ends := _CONTENT_RANGE_416.fullmatch(response.headers.get("content-range", ""))):
        transfer.check_size(int(ends[1]))
    if status != 206:
        raise transfer.not_honoured(f"the server answers {status}, expected 206")


def _check_range(response: httpx2.Response, transfer: Transfer, size: int | None) -> None:
    """The head of a 206 must promise the bytes that were asked for and no others."""
    headers = response.headers
    found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
    if found is None:
        raise transfer.not_honoured(f"Content-Range is {headers.get('content-range', 'missing')[:100]}")
    total = None if found[3] == "*" else int(found[3])
    transfer.check_size(total)
    if (int(found[1]), int(found[2]) + 1) != (transfer.begin, transfer.stop):
        raise transfer.not_honoured(f"Content-Range is {found[0]}")
    if total is not None and size not in (None, total):
        raise transfer.not_honoured(f"Content-Range is {found[0]}, in a file of {size} bytes")
    if headers.get("content-encoding", "identity") != "identity":
        raise transfer.not_honoured(f"the reply is encoded with {headers['content-encoding'][:40]}")
    length = headers.get("content-length", str(transfer.missing))
    if length != str(transfer.missing):
        raise transfer.not_honoured(f"Content-Length is {length[:40]}, expected {transfer.missing}")
