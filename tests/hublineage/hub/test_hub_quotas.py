"""Quotas by token and bucket, as a real client meets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest
from huggingface_hub.utils import parse_ratelimit_headers  # type: ignore[attr-defined]

from hublineage.hub.faults import Faults
from hublineage.hub.quotas import Quotas
from hublineage.hub.server import HubServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BASE = "acme/Base-ViT"
CONFIG = f"/{BASE}/resolve/main/config.json"
WEIGHTS = f"/{BASE}/resolve/main/model.safetensors"


class Clock:
    """A clock that stands still."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def quotas(clock: Clock) -> Quotas:
    return Quotas(api=5, resolvers=3, window=300, clock=clock)


@pytest.fixture
def client(hub_folder: Path, quotas: Quotas) -> Iterator[httpx2.Client]:
    with HubServer(hub_folder, quotas=quotas) as hub, httpx2.Client(base_url=hub.url) as found:
        yield found


def test_the_real_client_reads_what_is_left(client: httpx2.Client, clock: Clock) -> None:
    client.get("/api/models")
    clock.now += 100.5
    info = parse_ratelimit_headers(client.get(f"/api/models/{BASE}").headers)
    assert info is not None
    assert (info.resource_type, info.remaining, info.reset_in_seconds) == ("api", 3, 200)
    assert (info.limit, info.window_seconds) == (5, 300)


def test_a_used_up_quota_is_429_until_the_window_ends(client: httpx2.Client, clock: Clock, quotas: Quotas) -> None:
    replies = [client.get("/api/models") for _ in range(7)]
    assert [reply.status_code for reply in replies] == [200] * 5 + [429] * 2
    assert replies[4].headers["ratelimit"] == replies[5].headers["ratelimit"] == '"api";r=0;t=300'
    assert replies[5].headers["ratelimit-policy"] == '"fixed window";"api";q=5;w=300'
    assert quotas.refused == 2
    clock.now += 299
    assert client.get("/api/models").headers["ratelimit"] == '"api";r=0;t=1'
    clock.now += 1
    assert client.get("/api/models").headers["ratelimit"] == '"api";r=4;t=300'


def test_resolvers_have_a_bucket_of_their_own_and_the_storage_none(client: httpx2.Client, quotas: Quotas) -> None:
    address = client.head(WEIGHTS).headers["location"]
    for _ in range(5):
        assert "ratelimit" not in client.get(address, headers={"range": "bytes=0-7"}).headers
    assert client.get(CONFIG).headers["ratelimit"] == '"resolvers";r=1;t=300'
    assert (quotas.used("resolvers"), quotas.used("api")) == (2, 0)
    client.get(CONFIG)
    assert client.get(CONFIG).status_code == 429
    assert client.get("/api/models").status_code == 200


def test_redirects_and_errors_count_on_the_api(client: httpx2.Client, quotas: Quotas) -> None:
    for path in (f"/{BASE}/resolve/main/no.txt", "/ACME/base-vit/resolve/main/config.json", "/a/b/resolve/main/c"):
        assert client.get(path).headers["ratelimit"].startswith('"api";')
    client.get("/api/models/acme/none")
    assert (quotas.used("resolvers"), quotas.used("api")) == (0, 4)


def test_each_token_has_a_quota_of_its_own(client: httpx2.Client, quotas: Quotas) -> None:
    for _ in range(5):
        client.get("/api/models")
    assert client.get("/api/models").status_code == 429
    assert client.get("/api/models", headers={"authorization": "Bearer hf_one"}).status_code == 200
    assert (quotas.left("api", "hf_one"), quotas.left("api", "hf_two"), quotas.left("api")) == (4, 5, 0)


def test_faults_stand_before_the_quotas(hub_folder: Path, quotas: Quotas) -> None:
    faults = Faults()
    with HubServer(hub_folder, faults=faults, quotas=quotas) as hub:
        faults.status(429, retry_after=1)
        replies = [httpx2.get(f"{hub.url}/api/models") for _ in range(2)]
    assert [("ratelimit" in reply.headers, reply.status_code) for reply in replies] == [(False, 429), (True, 200)]
    assert quotas.used("api") == 1
