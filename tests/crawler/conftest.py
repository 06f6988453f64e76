"""What several modules read from: the local Hub over a module's own models, and a server of files that counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from storage import Storage, forget, serving

from crawler.hub import HubSource
from crawler.ranges import RangeReader
from crawler.retry import Policy
from hublineage.hub.faults import Faults
from hublineage.hub.server import HubServer


@pytest.fixture(scope="module")
def served(models: Path) -> Iterator[tuple[str, Faults]]:
    faults = Faults()
    with HubServer(models, faults=faults) as hub:
        yield hub.url, faults


@pytest.fixture
def faults(served: tuple[str, Faults]) -> Faults:
    served[1].clear()
    return served[1]


@pytest.fixture
def hub(served: tuple[str, Faults], faults: Faults) -> Iterator[HubSource]:  # whose faults are cleared
    with HubSource(served[0], page_size=2, policy=Policy(sleep=lambda _: None)) as source:
        yield source


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Storage, httpx2.Client]]:
    with serving() as storage, httpx2.Client() as client:
        yield storage, client


@pytest.fixture
def storage(shared: tuple[Storage, httpx2.Client]) -> Storage:
    return forget(shared[0])


@pytest.fixture
def reader(storage: Storage, shared: tuple[Storage, httpx2.Client]) -> Iterator[RangeReader]:
    reader = RangeReader(shared[1], storage.resolve, Policy(tries=4, sleep=storage.waits.append))
    yield reader
    reader.close()
