"""Workers on one database ask the Hub for a file's address once, whoever of them needs it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from quota_database import database
from safetensors.torch import save_file
from sqlalchemy import Engine, create_engine, text

from crawler.addresses import Address, Addresses, File
from crawler.hub import HubSource
from crawler.shared_addresses import SharedAddresses
from db import addresses
from db.engine import transaction
from db.errors import RepositoryUnavailable
from hublineage.hub.faults import Faults

HUB, FILE = "http://hub", ("org/name", "0" * 40, "model.safetensors")


class Hub:
    """Names a new address each time, as soon as `gate` is open."""

    def __init__(self) -> None:
        self.asked: list[File] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failure: Exception | None = None

    def resolve(self, file: File) -> Address:
        self.asked.append(file)
        assert self.gate.wait(10)
        if self.failure is not None:
            raise self.failure
        return Address(f"http://cdn/{len(self.asked)}", 7)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model, for the fixture `served`."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "org" / "tiny").mkdir(parents=True)
    save_file({"weight": torch.zeros(4)}, folder / "org" / "tiny" / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def shared_database(server: str) -> Iterator[Engine]:
    with database(server, "shared_addresses") as engine:
        yield engine


@pytest.fixture
def engine(shared_database: Engine) -> Engine:
    with shared_database.begin() as connection:
        connection.execute(text("DELETE FROM addresses"))
    return shared_database


@pytest.fixture
def hub() -> Hub:
    return Hub()


def worker(engine: Engine, hub: Hub, account: str = "me") -> Addresses:
    others = SharedAddresses(engine, HUB, account)
    return Addresses(hub.resolve, shared=lambda: others)


def test_what_one_worker_was_told_the_others_have_and_another_account_has_not(engine: Engine, hub: Hub) -> None:
    first, fresh = worker(engine, hub).get(FILE)
    assert fresh
    assert worker(engine, hub).get(FILE) == (first, False)
    assert len(hub.asked) == 1
    assert worker(engine, hub, "somebody").get(FILE)[0] != first


def test_workers_that_ask_at_once_ask_the_hub_once(engine: Engine, hub: Hub) -> None:
    hub.gate.clear()
    with ThreadPoolExecutor(4) as threads:
        answers = [threads.submit(worker(engine, hub).get, FILE) for _ in range(4)]
        while not hub.asked:
            pass
        hub.gate.set()
        found = [one.result() for one in answers]
    assert len(hub.asked) == 1
    assert sorted(fresh for _, fresh in found) == [False, False, False, True]


def test_who_says_nothing_is_not_waited_for_long(engine: Engine, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "ASKED_SECONDS", 0.3)
    with engine.begin() as connection:
        assert addresses.claim(connection, addresses.Key(HUB, "me", *FILE), None)
    assert worker(engine, hub).get(FILE)[1]


def test_a_failure_is_nobody_elses(engine: Engine, hub: Hub) -> None:
    hub.failure = RepositoryUnavailable("it is gone", model="org/name")
    with pytest.raises(RepositoryUnavailable):
        worker(engine, hub).get(FILE)
    hub.failure = None
    assert worker(engine, hub).get(FILE)[1]


def test_an_address_that_the_storage_refuses_is_asked_for_anew_and_shared(engine: Engine, hub: Hub) -> None:
    one, two = worker(engine, hub), worker(engine, hub)
    old, _ = one.get(FILE)
    same, _ = two.get(FILE)
    assert same == old
    new, fresh = one.get(FILE, old)
    assert (new != old, fresh) == (True, True)
    assert two.get(FILE, same) == (new, False)
    two.forget(FILE, new)
    assert worker(engine, hub).get(FILE)[1]


@pytest.mark.parametrize("shift", ["- interval '2 hours'", "+ interval '1 minute'"])
def test_old_addresses_and_those_of_a_clock_set_back_are_none(engine: Engine, hub: Hub, shift: str) -> None:
    worker(engine, hub).get(FILE)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE addresses SET asked_at = asked_at {shift}, found_at = found_at {shift}"))
    assert worker(engine, hub).get(FILE)[1]
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE addresses SET asked_at = asked_at {shift}, found_at = found_at {shift}"))
    with transaction(engine) as session:
        addresses.forget_old(session)
        assert session.scalar(text("SELECT count(*) FROM addresses")) == 0


def test_without_a_database_each_asks_for_itself(hub: Hub) -> None:
    nowhere = create_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")
    assert worker(nowhere, hub).get(FILE)[1]
    assert worker(nowhere, hub).get(FILE)[1]


def test_sources_of_two_workers_resolve_a_file_once_and_store_no_token(
    engine: Engine, served: tuple[str, Faults], faults: Faults
) -> None:
    url, _ = served
    others = SharedAddresses(engine, url, "me")
    found = set()
    for _ in range(2):
        with HubSource(url, "hf_secret", shared=lambda: others) as source:
            details = source.details("org/tiny")
            (file,) = (one.path for one in details.files if one.path.endswith(".safetensors"))
            found.add(source.read_range("org/tiny", details.sha, file, 0, 8))
    assert len(found) == 1
    assert len([one for one in faults.asked if "/resolve/" in one]) == 1
    with engine.connect() as connection:
        rows = connection.execute(text("SELECT addresses::text FROM addresses")).scalars().all()
    assert len(rows) == 1
    assert "hf_secret" not in rows[0]
