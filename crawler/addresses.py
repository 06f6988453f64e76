"""Where the bytes of files are to be had: asked of the Hub once per file, however many threads want it."""

from __future__ import annotations

import copy
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from crawler.retry import TryAgain
from db.errors import Failure

# Bytes of addresses; of more, those that were used least recently are forgotten. The files of a batch of 256 models
# with 4,096 neighbours fit in: blocks of layers ask for all of them again and again.
REMEMBERED = 64 << 20
TYPICAL = 2_500  # bytes of one: a signed address of a kilobyte or two, headers, and what holds them
_HELD_BY = 1_000  # bytes of the objects themselves

File = tuple[str, str, str]
"""Repository, commit sha and path."""


@dataclass(frozen=True)
class Address:
    """Where the bytes of a file are to be had for a while; headers go to no other origin than the address's own.

    `size` None: not known, as where a redirect carries no X-Linked-Size.
    """

    url: str = field(repr=False)  # signed: whoever reads it in a log could use it
    size: int | None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)

    @property
    def nbytes(self) -> int:
        """What it takes to remember it, about."""
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers.items()) + _HELD_BY


class AddressExpiredError(Exception):
    """The signed address opens nothing any more."""


class Shared(Protocol):
    """What other processes were told."""

    def known(self, file: File, refused: Address | None) -> tuple[str, int | None] | None:
        """Address and size, not of the `refused` one; None: this process is to ask, and to `tell` or to `forget`."""

    def tell(self, file: File, address: Address) -> None:
        """Let others have an address."""

    def forget(self, file: File, address: Address | None) -> None:
        """Do not give this address to others; None: none was to be had."""


class Alone:
    """Who shares addresses with nobody; satisfies Shared."""

    def known(self, file: File, refused: Address | None) -> None:  # nothing is known of any
        """Nothing: this process asks."""

    def tell(self, file: File, address: Address) -> None:
        """Nobody is told."""

    def forget(self, file: File, address: Address | None) -> None:
        """Nobody knows."""


def no_headers(_: str) -> Mapping[str, str]:
    """Those of an address that takes none."""
    return {}


class Addresses:
    """Addresses of the files used last, `limit` bytes of them, for many threads at once.

    `resolve` asks the Hub for one that none of those has whom `shared` names at that moment; `headers` makes those of
    an address that comes from these, as they may hold a token and are told to nobody.
    """

    def __init__(
        self,
        resolve: Callable[[File], Address],
        limit: int = REMEMBERED,
        *,
        shared: Callable[[], Shared] = Alone,
        headers: Callable[[str], Mapping[str, str]] = no_headers,
    ) -> None:
        self._resolve = resolve
        self._shared = shared
        self._headers = headers
        self._limit = limit
        self._held = 0  # bytes
        self._known: OrderedDict[File, Address] = OrderedDict()
        self._asked: dict[File, Future[tuple[Address, bool]]] = {}  # being asked for now
        self._lock = threading.Lock()

    def get(self, file: File, refused: Address | None = None) -> tuple[Address, bool]:
        """The file's address, and whether the Hub was asked for it since this call began.

        `refused` is one that the storage does not accept any more: it is not given again, so of several threads that
        met it one asks for another and the others get the same. Raises what `resolve` raises, to all who wait for it.
        """
        with self._lock:
            known = self._known.get(file)
            if known is not None and known is not refused:
                self._known.move_to_end(file)
                return known, False
            asked = self._asked.get(file)
            if asked is None:
                own = self._asked[file] = Future()
        if asked is None:
            return self._ask(file, own, refused)
        try:
            return asked.result()
        except Failure as failure:
            raise copy.copy(failure) from failure  # whoever gets it may write into it, such as the tensor's name

    def renew(self, file: File) -> Address:
        """Another address than the one that is known."""
        with self._lock:
            known = self._known.get(file)
        return self.get(file, refused=known)[0]

    def forget(self, file: File, address: Address) -> None:
        """Do not give this address again."""
        with self._lock:
            if self._known.get(file) is address:
                self._drop(file)
        self._shared().forget(file, address)

    def _ask(self, file: File, asked: Future[tuple[Address, bool]], refused: Address | None) -> tuple[Address, bool]:
        try:
            found, fresh = self._found(file, refused)
        except BaseException as error:
            with self._lock:
                del self._asked[file]
                self._drop(file)
            # An interrupt is this thread's own: those who wait try again.
            passed_on = error if isinstance(error, Exception) else TryAgain("interrupted", model=file[0], file=file[2])
            asked.set_exception(passed_on)
            raise
        with self._lock:
            del self._asked[file]
            self._drop(file)
            self._known[file] = found
            self._held += found.nbytes
            while self._held > self._limit:
                self._drop(next(iter(self._known)))
        asked.set_result((found, fresh))
        return found, fresh

    def _found(self, file: File, refused: Address | None) -> tuple[Address, bool]:
        """An address that others share, or one that the Hub is asked for."""
        shared = self._shared()
        known = shared.known(file, refused)
        if known is not None:
            return Address(*known, self._headers(known[0])), False
        try:
            found = self._resolve(file)
        except BaseException:
            shared.forget(file, None)
            raise
        shared.tell(file, found)
        return found, True

    def _drop(self, file: File) -> None:
        known = self._known.pop(file, None)
        self._held -= known.nbytes if known is not None else 0
