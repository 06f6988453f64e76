"""Addresses that many threads ask for."""

from __future__ import annotations

import copy
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from crawler.addresses import Address, Addresses, File
from db.errors import Failure, RepositoryUnavailable

FILE: File = ("org/name", "0" * 40, "model.safetensors")
THREADS = 6


class Hub:
    """Names a new address each time, but not before `gate` is open."""

    def __init__(self) -> None:
        self.asked: list[File] = []
        self.gate = threading.Event()
        self.failure: BaseException | None = None

    def resolve(self, file: File) -> Address:
        self.asked.append(file)
        number = len(self.asked)
        assert self.gate.wait(10)
        if self.failure is not None:
            raise copy.copy(self.failure)
        return Address(f"http://h/{number}", None)


@pytest.fixture
def hub() -> Hub:
    return Hub()


def at_once(hub: Hub, addresses: Addresses, refused: Address | None = None) -> list[Address | BaseException]:
    """What threads get that all ask before the Hub answers the first."""
    begun = threading.Barrier(THREADS + 1)

    def ask() -> Address | BaseException:
        begun.wait()
        try:
            return addresses.get(FILE, refused)[0]
        except BaseException as error:
            return error

    with ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(ask) for _ in range(THREADS)]
        begun.wait()
        hub.gate.set()
        return [future.result() for future in futures]


def test_threads_that_want_one_file_ask_for_it_once(hub: Hub) -> None:
    addresses = Addresses(hub.resolve)
    assert {id(one) for one in at_once(hub, addresses)} == {id(addresses.get(FILE)[0])}
    assert len(hub.asked) == 1


def test_threads_that_met_the_same_expired_address_renew_it_once(hub: Hub) -> None:
    hub.gate.set()
    addresses = Addresses(hub.resolve)
    expired, fresh = addresses.get(FILE)
    assert fresh
    assert addresses.get(FILE) == (expired, False)
    assert {one.url for one in at_once(hub, addresses, expired) if isinstance(one, Address)} == {"http://h/2"}
    assert len(hub.asked) == 2
    assert addresses.renew(FILE).url == "http://h/3"


def test_a_failure_reaches_all_who_wait_each_with_one_of_their_own(hub: Hub) -> None:
    addresses = Addresses(hub.resolve)
    hub.failure = RepositoryUnavailable("it is gated", model="org/name", file="f")
    found = at_once(hub, addresses)
    assert {str(one) for one in found} == {str(hub.failure)}
    assert len({id(one) for one in found}) == THREADS
    hub.failure = None
    assert isinstance(addresses.get(FILE)[0], Address)


def test_an_interrupt_is_for_the_thread_that_asked(hub: Hub) -> None:
    addresses = Addresses(hub.resolve)
    hub.failure = KeyboardInterrupt()
    found = at_once(hub, addresses)
    assert sum(isinstance(one, KeyboardInterrupt) for one in found) == len(hub.asked)
    assert all(isinstance(one, KeyboardInterrupt | Failure) for one in found)


def test_the_least_recently_used_is_forgotten_first(hub: Hub) -> None:
    hub.gate.set()
    addresses = Addresses(hub.resolve, limit=3 * Address("a", 1).nbytes - 1)
    files: list[File] = [("org/name", "0", path) for path in "abc"]
    first, second, third = files
    for file in (first, second, first, third, first):
        addresses.get(file)
    assert hub.asked == [first, second, third]
    addresses.get(second)
    assert hub.asked == [first, second, third, second]
    addresses.forget(second, Address("another", None))
    addresses.get(second)
    assert len(hub.asked) == 4
    addresses.forget(second, addresses.get(second)[0])
    addresses.get(second)
    assert len(hub.asked) == 5
