"""Addresses that all workers on one database share: each file is asked for once while its address is good."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from db import addresses
from db.addresses import Key

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from crawler.addresses import Address, File

_LOOK_EVERY = 0.1  # seconds


class SharedAddresses:
    """The table `addresses`, of one account at one endpoint, for many threads; satisfies crawler.addresses.Shared.

    Without the database each worker asks for itself.
    """

    def __init__(
        self,
        engine: Engine,
        endpoint: str,
        account: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._endpoint = endpoint.rstrip("/")
        self._account = account
        self._sleep = sleep

    def known(self, file: File, refused: Address | None) -> tuple[str, int | None] | None:
        """What another worker was told; None: the Hub is to be asked, and the others wait for a moment."""
        left, no = addresses.ASKED_SECONDS, None if refused is None else refused.url
        with suppress(SQLAlchemyError):
            while True:
                with self._row(file) as (connection, key):
                    found = addresses.known(connection, key, no)
                    if found is not None:
                        return found
                    if left <= 0 or addresses.claim(connection, key, no):
                        return None
                self._sleep(_LOOK_EVERY)
                left -= _LOOK_EVERY
        return None

    def tell(self, file: File, address: Address) -> None:
        """Let others have an address."""
        with suppress(SQLAlchemyError), self._row(file) as (connection, key):
            addresses.tell(connection, key, address.url, address.size)

    def forget(self, file: File, address: Address | None) -> None:
        """Do not give this address to others; None: none was to be had."""
        with suppress(SQLAlchemyError), self._row(file) as (connection, key):
            addresses.forget(connection, key, None if address is None else address.url)

    @contextmanager
    def _row(self, file: File) -> Iterator[tuple[Connection, Key]]:
        with self._engine.connect() as connection:
            yield connection, Key(self._endpoint, self._account, *file)
