"""Verified byte ranges over HTTP, several in flight.

A file is resolved once; its ranges then go to the address that the Hub has signed, which costs no request there, until
it expires. huggingface_hub reads ranges too, but its file system returns other bytes where a server ignores Range; so
every reply is checked before a byte is taken (crawler.transfer). Files behind Xet's storage come the same way: the Hub
redirects to a signed address that honours ranges.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from urllib.parse import urljoin, urlsplit

import httpx2

from crawler.addresses import Address, Addresses, AddressExpiredError, Alone, File, Shared, no_headers
from crawler.coalesce import Request, Span, coalesce
from crawler.retry import Policy, TryAgain, check_transient_status, transport_error
from crawler.source import ByParts, Wanted
from crawler.transfer import Target, Transfer, receive, too_short
from db.errors import Failure, RangeNotHonoured, RepositoryUnavailable, WeightsMissing

IN_FLIGHT = 8  # requests at once, of all who read many parts or a large one
LARGEST = 16 << 20  # bytes of one request: a second or two, so that a cut costs little and eight keep a line busy
GAP = 128 << 10  # bytes that are wasted rather than asked around: fewer than a line brings in one round trip
REDIRECTS = 5
PROGRESS = 256 * 1024  # bytes: a reply cut off behind so many begins the count of tries anew
ALONE = 3  # parts of a request that failed, which are tried alone before the rest is given up too
# A request may take so long before it is given up. The read timeout sees a server that falls silent; this one sees a
# server that trickles. Below LEAST_RATE a shard of 5 GB takes half a day; a line that is merely slow loses nothing but
# a new request now and then, as what has come stays and is above PROGRESS.
DEADLINE = 30.0  # seconds to connect, to be answered, and for small ranges
LEAST_RATE = 128 * 1024  # bytes per second beyond that


class RangeReader(ByParts):
    """Reads ranges of files through one client, for many threads. `resolve` asks the Hub for a file's address and size.

    `settle` says what a TryAgain becomes whose tries are used up; what it raises ends the whole call (nobody answers).
    `shared` and `headers`: see Addresses.
    """

    def __init__(
        self,
        client: httpx2.Client,
        resolve: Callable[[File], Address],
        policy: Policy,
        *,
        settle: Callable[[TryAgain], Failure] = lambda error: error,
        in_flight: int = IN_FLIGHT,
        clock: Callable[[], float] = time.monotonic,
        shared: Callable[[], Shared] = Alone,
        headers: Callable[[str], Mapping[str, str]] = no_headers,
    ) -> None:
        self._client = client
        self._addresses = Addresses(resolve, shared=shared, headers=headers)
        self._policy = policy
        self._settle = settle
        self._clock = clock
        self._pool = ThreadPoolExecutor(in_flight, thread_name_prefix="ranges")  # starts threads when they are needed

    def close(self) -> None:
        """Ends the threads once they have finished what was asked of them."""
        self._pool.shutdown()

    def address(self, file: File, *, renew: bool = False) -> Address:
        """The file's address, asked for once, or again to renew it."""
        return self._addresses.renew(file) if renew else self._addresses.get(file)[0]

    def size(self, file: File) -> int:
        """The file's size: as its address has it, else from the reply to a range of it. Raises as `read_many` does."""
        address = self.address(file)
        if address.size is not None:
            return address.size
        headers = {**address.headers, "Range": "bytes=0-0", "Accept-Encoding": "identity"}
        try:
            with self._client.stream("GET", address.url, headers=headers, follow_redirects=True) as response:
                check_transient_status(response, model=file[0], file=file[2])
                total = response.headers.get("content-range", "").rpartition("/")[2]
        except httpx2.TransportError as error:
            raise transport_error(error, _host(address.url), model=file[0], file=file[2]) from error
        if response.status_code not in (206, 416) or not (total.isascii() and total.isdigit() and len(total) < 19):
            what = f"the server answers {response.status_code} to a range and tells no size"
            raise RangeNotHonoured(what, model=file[0], file=file[2])
        return int(total)

    def read_many(self, parts: Sequence[Wanted]) -> list[Failure | None]:
        """Fill the buffers of all parts, by as few requests as is sensible; how it went with each.

        Neighbours share a request (gaps of GAP bytes at most), what is larger than LARGEST comes in several, and
        nothing beside the buffers is held but a chunk per request; after a cut only the rest is asked for again.
        Failures, each part's own: RangeNotHonoured where the server sends anything else, HeaderMalformed where the
        file ends before the range does, RepositoryUnavailable where it refuses a fresh address, what `settle` makes of
        one that fails for too long.
        """
        buffers = [part.buffer.cast("B") for part in parts]
        spans = [
            Span((part.name, part.sha, part.path), part.start, part.start + len(buffer))
            for part, buffer in zip(parts, buffers, strict=True)
        ]
        if any(span.start < 0 for span in spans):
            raise ValueError("a range of bytes starts at 0 or later")
        job = _Job([(part.name, part.sha, part.path) for part in parts], spans, buffers)
        requests = coalesce(spans, GAP, LARGEST)
        if len(requests) == 1:
            self._bring(requests[0], job)
        elif requests:
            self._bring_all(requests, job)
        return [job.failed.get(number) for number in range(len(parts))]

    def _bring_all(self, requests: Sequence[Request], job: _Job) -> None:
        futures = [self._pool.submit(copy_context().run, self._bring, request, job) for request in requests]
        try:
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            job.abandoned.set()
            for future in futures:
                future.cancel()
            wait(futures)  # no thread writes into the buffers once this call has returned

    def _bring(self, request: Request, job: _Job) -> None:
        """Fetches a request; where it fails, sees to it that only those parts fail that cannot be had without it."""
        numbers = [piece.span for piece in request.pieces if piece.span not in job.failed]
        if not numbers:
            return
        transfer = job.transfer(request)
        hopeless = job.hopeless.get(transfer.file)
        if hopeless is not None:
            job.fail(numbers, hopeless)
            return
        try:
            self._complete(transfer, job)
        except Failure as failure:
            left = [piece.span for piece in request.pieces if piece.stop > transfer.begin]
            if transfer.file_ends is not None:
                self._bring_within(transfer.file_ends, left, request, job)
                return
            if isinstance(failure, RepositoryUnavailable | WeightsMissing):
                job.hopeless[transfer.file] = failure
            if transfer.file not in job.hopeless and len(left) > 1:
                left = self._bring_alone(left, request, job)
            job.fail(left, failure)

    def _bring_within(self, size: int, numbers: Sequence[int], request: Request, job: _Job) -> None:
        """The file turned out to have `size` bytes: parts that go beyond fail, the others are fetched without them."""
        for number in numbers:
            if job.spans[number].stop > size:
                job.fail([number], too_short(job.file(request), size, job.spans[number].stop))
        for smaller in job.again([number for number in numbers if number not in job.failed], request):
            self._bring(smaller, job)

    def _bring_alone(self, numbers: Sequence[int], request: Request, job: _Job) -> list[int]:
        """One part after the other, until all have come or ALONE of them in a row failed; those that were not tried."""
        bad = 0
        for at, number in enumerate(numbers):
            for single in job.again([number], request):
                self._bring(single, job)
            bad = bad + 1 if number in job.failed else 0
            if bad == ALONE:
                return list(numbers[at + 1 :])
        return []

    def _complete(self, transfer: Transfer, job: _Job) -> None:
        try:
            while transfer.missing:
                self._policy.run(lambda: self._advance(transfer, job))
        except TryAgain as error:
            settled = self._settle(error)
            if error.unreachable is not None:
                job.hopeless[transfer.file] = settled
            if settled is error:
                raise
            raise settled from error

    def _advance(self, transfer: Transfer, job: _Job) -> None:
        """All of what is missing, or at least PROGRESS of it, whereafter tries are counted anew."""
        before = transfer.filled
        refused: Address | None = None
        try:
            while True:
                job.check()
                address, fresh = self._addresses.get(transfer.file, refused)
                try:
                    self._fetch(address, transfer, job)
                except AddressExpiredError as error:
                    refused = address
                    if fresh:
                        self._addresses.forget(transfer.file, address)
                        what = f"the storage refuses a fresh address with {error}"
                        raise transfer.error(RepositoryUnavailable, what) from None
                else:
                    return
        except TryAgain:
            if transfer.filled - before < PROGRESS:
                raise

    def _fetch(self, address: Address, transfer: Transfer, job: _Job) -> None:
        transfer.check_size(address.size)
        url, headers = address.url, dict(address.headers)
        asked = {"Range": f"bytes={transfer.begin}-{transfer.stop - 1}", "Accept-Encoding": "identity"}
        allowed = DEADLINE + transfer.missing / LEAST_RATE
        try:
            for _ in range(REDIRECTS):
                with self._client.stream(
                    "GET",
                    url,
                    headers={**headers, **asked},
                    follow_redirects=False,
                    extensions={"deadline": allowed},  # crawler.http keeps it, from the permit to the last byte
                ) as response:
                    if not response.has_redirect_location:
                        receive(response, transfer, address.size, self._in_time(allowed, transfer, job))
                        return
                    following = _joined(url, response.headers["location"], transfer)
                if _origin(following) != _origin(url):
                    headers = {}
                url = following
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol):
            raise transfer.error(RangeNotHonoured, "the server redirects to no address") from None
        except httpx2.TransportError as error:
            raise transport_error(error, _host(url), model=transfer.file[0], file=transfer.file[2]) from error
        raise transfer.error(RangeNotHonoured, f"more than {REDIRECTS} redirects")

    def _in_time(self, allowed: float, transfer: Transfer, job: _Job) -> Callable[[], None]:
        """Checks that a body which begins now goes on to be wanted and in time; under any client."""
        until = self._clock() + allowed

        def check() -> None:
            job.check()
            if self._clock() > until:
                raise transfer.try_again(f"{transfer.missing} bytes are missing after {allowed:.0f} s")

        return check


class _AbandonedError(Exception):
    """Nobody waits for these bytes any more."""


@dataclass
class _Job:
    """One call of `read_many`, as its threads share it. A dict's single operations are atomic."""

    files: Sequence[File]
    spans: Sequence[Span]
    buffers: Sequence[memoryview]
    failed: dict[int, Failure] = field(default_factory=dict)
    hopeless: dict[File, Failure] = field(default_factory=dict)  # files of which no other part can be had either
    abandoned: threading.Event = field(default_factory=threading.Event)

    def check(self) -> None:
        if self.abandoned.is_set():
            raise _AbandonedError

    def file(self, request: Request) -> File:
        return self.files[request.pieces[0].span]

    def transfer(self, request: Request) -> Transfer:
        targets = []
        for piece in request.pieces:
            begin = self.spans[piece.span].start
            targets.append(Target(piece.start, self.buffers[piece.span][piece.start - begin : piece.stop - begin]))
        needs = max(self.spans[piece.span].stop for piece in request.pieces)
        return Transfer(self.file(request), request.start, request.stop, targets, needs)

    def again(self, numbers: Sequence[int], request: Request) -> list[Request]:
        """Requests for what a request was to bring of these parts, and for nothing else."""
        chosen = set(numbers)
        pieces = [piece for piece in request.pieces if piece.span in chosen]
        found = coalesce([Span(request.file, piece.start, piece.stop) for piece in pieces], GAP, LARGEST)
        return [
            replace(one, pieces=tuple(replace(piece, span=pieces[piece.span].span) for piece in one.pieces))
            for one in found
        ]

    def fail(self, numbers: Sequence[int], failure: Failure) -> None:
        """Each gets a failure of its own, since whoever gets it may write into it."""
        for number in numbers:
            self.failed.setdefault(number, copy.copy(failure))


def _joined(url: str, location: str, transfer: Transfer) -> str:
    """Where a redirect leads to. Raises RangeNotHonoured where that is no address."""
    try:
        following = urljoin(url, location)
        _origin(following)
    except ValueError:
        raise transfer.error(RangeNotHonoured, "the server redirects to no address") from None
    return following


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
