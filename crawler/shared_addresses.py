"""Addresses that all workers on one database share: each file is asked for once while its address is good."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from crawler.addresses import Address, File
from db import addresses
from db.addresses import Key

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

_LOOK_EVERY = 0.1  # seconds


class SharedAddresses:
    """The table `addresses`, of one account at one endpoint, for many threads; crawler.addresses.Shared.

    Headers are not stored, as they may hold the token: `headers` makes those of an address. Addresses are shared while
    `using` says so: who describes a repository asks the Hub itself, which may refuse it by now. Without the database
    each worker asks for itself.
    """

    def __init__(
        self,
        engine: Engine,
        endpoint: str,
        account: str,
        *,
        headers: Callable[[str], Mapping[str, str]] = lambda _: {},
        using: Callable[[], bool] = lambda: True,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._endpoint = endpoint.rstrip("/")
        self._account = account
        self.headers = headers
        self._using = using
        self._sleep = sleep

    def known(self, file: File, refused: Address | None) -> Address | None:
        """An address that another worker was told; None: the Hub is to be asked, and the others wait for a moment."""
        if not self._using():
            return None
        left, no = addresses.ASKED_SECONDS, None if refused is None else refused.url
        with suppress(SQLAlchemyError):
            while True:
                with self._row(file) as (connection, key):
                    found = addresses.known(connection, key, no)
                    if found is not None:
                        return Address(*found, self.headers(found[0]))
                    if left <= 0 or addresses.claim(connection, key, no):
                        return None
                self._sleep(_LOOK_EVERY)
                left -= _LOOK_EVERY
        return None

    def tell(self, file: File, address: Address) -> None:
        """Let others have an address."""
        if not self._using():
            return
        with suppress(SQLAlchemyError), self._row(file) as (connection, key):
            addresses.tell(connection, key, address.url, address.size)

    def forget(self, file: File, address: Address | None) -> None:
        """Do not give this address to others; None: none was to be had."""
        if not self._using():
            return
        with suppress(SQLAlchemyError), self._row(file) as (connection, key):
            addresses.forget(connection, key, None if address is None else address.url)

    @contextmanager
    def _row(self, file: File) -> Iterator[tuple[Connection, Key]]:
        with self._engine.connect() as connection:
            yield connection, Key(self._endpoint, self._account, *file)
