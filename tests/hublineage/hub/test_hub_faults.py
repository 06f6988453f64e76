"""Every fault of the switchboard, as a real client meets it."""

from __future__ import annotations

import socket
import threading
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import httpx2
import pytest
from huggingface_hub import get_hf_file_metadata
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RevisionNotFoundError,
)

from hublineage.hub.asked import Asked
from hublineage.hub.fault_chance import ALL, KINDS
from hublineage.hub.faults import Faults
from hublineage.hub.rows import LISTING_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from huggingface_hub import HfApi

    from hublineage.hub.server import HubServer

BASE = "acme/Base-ViT"
QUICK = httpx2.Timeout(5.0, read=0.05)


@pytest.fixture
def client(hub: HubServer) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=hub.url) as found:
        yield found


@pytest.fixture
def content(hub_folder: Path) -> bytes:
    return (hub_folder / BASE / "model.safetensors").read_bytes()


@pytest.fixture
def address(client: httpx2.Client) -> str:
    """The signed address of the weights."""
    return str(client.get(f"/{BASE}/resolve/main/model.safetensors").headers["location"])


def part(client: httpx2.Client, address: str, first: int = 100, last: int = 199) -> httpx2.Response:
    return client.get(address, headers={"range": f"bytes={first}-{last}"})


def rows(client: httpx2.Client, query: str = "") -> tuple[list[str], str | None]:
    """Names on a page of two, and the address of the next page."""
    reply = client.get(query or "/api/models?sort=createdAt&direction=1&limit=2")
    return [row["id"] for row in reply.json()], reply.links.get("next", {}).get("url")


def walk(client: httpx2.Client) -> list[str]:
    found, following = rows(client)
    while following:
        more, following = rows(client, following)
        found += more
    return found


def test_latency_comes_before_the_reply_and_as_often_as_asked_for(client: httpx2.Client, faults: Faults) -> None:
    faults.latency(0.1, "/api/*", times=1)
    began = time.monotonic()
    assert client.get("/api/models").status_code == 200
    assert time.monotonic() - began >= 0.1
    assert client.get("/api/models", timeout=QUICK).status_code == 200
    assert faults.struck == [("latency", "GET /api/models")]


@pytest.mark.parametrize("after", [None, 0, 5])
def test_a_stalled_reply_sends_so_much_and_no_more(
    client: httpx2.Client, faults: Faults, address: str, after: int | None
) -> None:
    faults.stall(after)
    received = bytearray()

    def download() -> None:
        with client.stream("GET", address, timeout=QUICK) as reply:
            for chunk in reply.iter_raw():
                received.extend(chunk)

    with pytest.raises(httpx2.ReadTimeout):
        download()
    assert len(received) == (after or 0)
    assert part(client, address).status_code == 206


def test_a_stalled_reply_goes_on_when_it_is_released(
    client: httpx2.Client, faults: Faults, address: str, content: bytes
) -> None:
    faults.stall(1000)
    received = bytearray()

    def download() -> None:
        received.extend(client.get(address).content)

    reader = threading.Thread(target=download)
    reader.start()
    while not faults.stalled:
        time.sleep(0.002)
    faults.release()
    reader.join(5)
    assert bytes(received) == content
    assert faults.stalled == 0


def test_a_client_that_gives_up_ends_the_stall(client: httpx2.Client, faults: Faults, address: str) -> None:
    faults.stall()
    with pytest.raises(httpx2.ReadTimeout):
        client.get(address, timeout=QUICK)
    deadline = time.monotonic() + 5
    while faults.stalled and time.monotonic() < deadline:
        time.sleep(0.002)
    assert faults.stalled == 0


def test_a_body_trickles(client: httpx2.Client, faults: Faults, address: str, content: bytes) -> None:
    faults.trickle(30, 0.01)
    began = time.monotonic()
    assert part(client, address).content == content[100:200]
    assert time.monotonic() - began >= 0.03


def test_a_length_that_is_too_large_leaves_the_body_short(client: httpx2.Client, faults: Faults, address: str) -> None:
    faults.wrong_length(7, times=2)
    promised = int(client.head(address).headers["content-length"])
    with pytest.raises(httpx2.RemoteProtocolError):
        client.get(address)
    assert int(client.head(address).headers["content-length"]) == promised - 7


def test_a_length_that_is_too_small_is_followed_by_more_bytes(
    hub: HubServer, client: httpx2.Client, faults: Faults, address: str, content: bytes
) -> None:
    faults.wrong_length(-10, times=2)
    assert client.get(address).content == content[:-10]
    with socket.create_connection(("127.0.0.1", int(hub.url.rpartition(":")[2]))) as raw:
        raw.sendall(f"GET {address.removeprefix(hub.url)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head, _, body = b"".join(iter(lambda: raw.recv(65536), b"")).partition(b"\r\n\r\n")
    assert f"content-length: {len(content) - 10}" in head.decode().lower()
    assert body == content


def test_content_ranges_can_be_wrong_or_missing(
    client: httpx2.Client, faults: Faults, address: str, content: bytes
) -> None:
    faults.wrong_content_range(start=1, last=2, total=3)
    faults.header("Content-Range", None)
    said = [part(client, address).headers.get("content-range") for _ in range(3)]
    size = len(content)
    assert said == [f"bytes 101-201/{size + 3}", None, f"bytes 100-199/{size}"]


def test_a_short_range_is_consistent_in_itself(
    client: httpx2.Client, faults: Faults, address: str, content: bytes
) -> None:
    faults.short_range(10, times=2)
    for last in (199, None):
        reply = client.get(address, headers={"range": f"bytes=100-{last or ''}"})
        assert (reply.status_code, reply.content) == (206, content[100:110])
        assert reply.headers["content-range"] == f"bytes 100-109/{len(content)}"
        assert reply.headers["content-length"] == "10"


def test_a_shifted_range_says_so_unless_it_lies(
    client: httpx2.Client, faults: Faults, address: str, content: bytes
) -> None:
    faults.shifted_range(8)
    faults.shifted_range(8)
    faults.shifted_range(8, lying=True)
    size = len(content)
    honest, first, lie = part(client, address), part(client, address, 0, 9), part(client, address)
    assert (honest.content, honest.headers["content-range"]) == (content[92:192], f"bytes 92-191/{size}")
    assert (first.content, first.headers["content-range"]) == (content[8:18], f"bytes 8-17/{size}")
    assert (lie.content, lie.headers["content-range"]) == (content[92:192], f"bytes 100-199/{size}")


def test_a_status_says_how_long_to_wait_in_any_way(client: httpx2.Client, faults: Faults) -> None:
    faults.status(429, rate_limit=55, times=2)
    faults.status(429, retry_after=3)
    faults.status(503, retry_at=60)
    faults.status(429)
    faults.status(404, error_code="EntryNotFound", message="Entry not found")
    replies = [client.get("/api/models"), client.get(f"/{BASE}/resolve/main/x")]
    assert [reply.headers["ratelimit"] for reply in replies] == ['"api";r=0;t=55', '"resolvers";r=0;t=55']
    assert client.get("/api/models").headers["retry-after"] == "3"
    dated = client.get("/api/models")
    wait = parsedate_to_datetime(dated.headers["retry-after"]) - parsedate_to_datetime(dated.headers["date"])
    assert abs(wait.total_seconds() - 60) <= 1
    bare = client.get("/api/models")
    assert bare.status_code == 429
    assert not {"retry-after", "ratelimit"} & set(bare.headers)
    missing = client.get(f"/{BASE}/resolve/main/config.json")
    assert (missing.headers["x-error-code"], missing.text) == ("EntryNotFound", "Entry not found")


def test_the_servers_clock_can_be_wrong(client: httpx2.Client, faults: Faults) -> None:
    faults.clock_skew(-3600, "/api/*", times=2)
    faults.status(503, retry_at=60)
    wrong, skewed, right = (client.get("/api/models") for _ in range(3))
    dates = [parsedate_to_datetime(reply.headers["date"]) for reply in (wrong, skewed, right)]
    assert 3590 < (dates[2] - dates[0]).total_seconds() < 3610
    assert parsedate_to_datetime(wrong.headers["retry-after"]) < dates[2]
    assert len(right.headers.get_list("date")) == 1


def test_addresses_made_until_now_expire_for_good(client: httpx2.Client, faults: Faults, address: str) -> None:
    assert part(client, address).status_code == 206
    faults.expire_addresses("/cdn/acme/*")
    assert part(client, address).status_code == 403
    renewed = client.get(f"/{BASE}/resolve/main/model.safetensors").headers["location"]
    assert part(client, renewed).status_code == 206
    faults.clear()
    assert [part(client, each).status_code for each in (address, renewed)] == [403, 206]


def test_a_proxy_can_answer_in_the_hubs_place(client: httpx2.Client, faults: Faults) -> None:
    faults.garbage("/api/models")
    faults.garbage("/api/models", content='{"rows": ', media_type="application/json")
    page, broken = client.get("/api/models"), client.get("/api/models")
    assert page.headers["content-type"].startswith("text/html")
    for reply in (page, broken):
        assert reply.status_code == 200
        with pytest.raises(ValueError, match="line 1"):
            reply.json()


def test_a_reset_connection_gives_no_reply(client: httpx2.Client, faults: Faults) -> None:
    faults.reset("/api/models")
    with pytest.raises(httpx2.NetworkError):
        client.get("/api/models")
    assert client.get("/api/models").status_code == 200


def test_a_redirect_can_lead_nowhere(client: httpx2.Client, faults: Faults) -> None:
    faults.redirect_loop("/api/*", times=None)
    assert client.get("/api/models?limit=1").headers["location"] == "/api/models?limit=1"
    with pytest.raises(httpx2.TooManyRedirects):
        client.get("/api/models?limit=1", follow_redirects=True)


def test_cursors_can_repeat_and_go_missing(client: httpx2.Client, faults: Faults) -> None:
    first, second = rows(client)
    assert second
    faults.repeat_cursor()
    assert rows(client) == (first, second), "the first page has no cursor to repeat"
    names, again = rows(client, second)
    assert again == second
    assert rows(client, again)[0] == names
    faults.missing_cursor()
    assert rows(client, second) == (names, None)
    assert rows(client, second)[1] is not None


def test_rows_can_be_lost_and_come_twice(client: httpx2.Client, faults: Faults) -> None:
    whole = walk(client)
    faults.drop_rows(1)
    assert walk(client) == [whole[0], *whole[2:]]
    faults.repeat_rows(1)
    assert walk(client) == [*whole[:2], whole[1], *whole[2:]]
    assert walk(client) == whole


def test_an_expand_can_be_refused(client: httpx2.Client, api: HfApi, faults: Faults) -> None:
    faults.refuse_expand(["baseModels", "gguf"], times=1)
    reply = client.get("/api/models?expand=sha&expand=baseModels")
    assert reply.status_code == 400
    named = reply.json()["error"].partition("one of ")[2].split("|")
    assert {name.strip('"') for name in named} == set(LISTING_FIELDS) - {"baseModels", "gguf"}
    assert client.get("/api/models?expand=sha&expand=baseModels").status_code == 200
    assert client.get("/api/models?expand=sha").status_code == 200


def test_what_was_asked_is_recorded_but_no_token(client: httpx2.Client, faults: Faults) -> None:
    client.get("/api/models?limit=1", headers={"authorization": "Bearer hf_secret", "user-agent": "me/1"})
    client.head(f"/{BASE}/resolve/main/config.json", headers={"range": "bytes=0-1"})
    assert faults.asked == ["GET /api/models", f"HEAD /{BASE}/resolve/main/config.json"]
    assert faults.asked_with_token == ["GET /api/models"]
    assert [(one.query, one.range, one.with_token) for one in faults.requests] == [
        ("limit=1", None, True),
        ("", "bytes=0-1", False),
    ]
    assert faults.requests[0].user_agent == "me/1"
    assert faults.requests[0].host == client.base_url.netloc.decode()
    assert "secret" not in repr(faults.requests)


def test_every_row_of_the_table_of_errors_can_be_had(hub: HubServer, api: HfApi, faults: Faults) -> None:
    def resolve(path: str, **options: bool) -> None:
        get_hf_file_metadata(f"{hub.url}/{path}", token=False, **options)  # type: ignore[arg-type]

    for path, kind in (
        (f"{BASE}/resolve/{'0' * 40}/config.json", RevisionNotFoundError),
        (f"{BASE}/resolve/main/no.json", EntryNotFoundError),
        ("lab/gated/resolve/main/model.safetensors", GatedRepoError),
        ("lab/disabled/resolve/main/config.json", DisabledRepoError),
    ):
        with pytest.raises(kind):
            resolve(path)
    with pytest.raises(HfHubHTTPError, match="401"):
        api.model_info("acme/none")
    for code in (408, 429, 500, 502, 503, 504):
        faults.status(code, "/api/models*", times=1)
        with pytest.raises(HfHubHTTPError, match=str(code)):
            api.model_info(BASE)


def test_a_share_of_requests_fails_the_same_for_the_same_seed(client: httpx2.Client, faults: Faults) -> None:
    def outcomes(seed: int) -> list[tuple[str, str]]:
        faults.clear()
        faults.random(0.3, seed)
        for number in range(60):
            try:
                client.get("/api/models?limit=1" if number % 2 else f"/{BASE}/resolve/main/config.json")
            except httpx2.TransportError:
                continue
        return list(faults.struck)

    first = outcomes(1)
    assert 8 <= len(first) <= 30
    assert len({kind for kind, _ in first}) > 3
    assert outcomes(1) == first
    assert outcomes(2) != first


def test_the_share_that_fails_is_the_one_asked_for_and_kinds_fit_the_request() -> None:
    faults = Faults()
    faults.random(0.1, 7, ALL)
    for number in range(5000):
        path = ("/api/models", "/cdn/a/b/c/d", "/a/b/resolve/main/c")[number % 3]
        faults.plan(Asked("GET", "x", path, "", "bytes=0-1" if path[1] == "c" else None, None, with_token=False))
    assert 400 < len(faults.struck) < 600
    assert {kind for kind, _ in faults.struck} == set(ALL)
    assert {line for kind, line in faults.struck if kind == "expired"} == {"GET /cdn/a/b/c/d"}
    assert {line for kind, line in faults.struck if kind == "repeated cursor"} == {"GET /api/models"}
    with pytest.raises(ValueError, match="flood"):
        faults.random(0.1, 1, ["flood"])


@pytest.mark.parametrize("kind", KINDS)
def test_every_random_kind_leaves_the_server_well(
    client: httpx2.Client, faults: Faults, address: str, content: bytes, kind: str
) -> None:
    faults.random(1.0, 3, [kind], wait=0.001)
    for path in (address, "/api/models"):
        try:
            client.get(path, headers={"range": "bytes=0-1999"})
        except httpx2.TransportError:
            continue
    assert {struck for struck, _ in faults.struck} == {kind}
    faults.clear()
    assert client.get(address).content == content
    assert len(client.get("/api/models").json()) == 6


def test_faults_change_while_others_are_served(client: httpx2.Client, faults: Faults, hub: HubServer) -> None:
    stop = threading.Event()

    def switch() -> None:
        while not stop.is_set():
            faults.latency(0.001, times=1)
            faults.status(503, times=1)
            faults.clear()
            time.sleep(0.001)

    switcher = threading.Thread(target=switch)
    switcher.start()
    try:
        codes = {client.get("/api/models?limit=1").status_code for _ in range(40)}
    finally:
        stop.set()
        switcher.join()
    assert codes <= {200, 503}
