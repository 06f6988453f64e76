"""Requests of our own and of huggingface_hub: each hop with a permit, a name and an end."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, close_session, constants, get_hf_file_metadata, get_session, set_client_factory
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils._http import default_client_factory

from crawler.budget import Budget, own_budget
from crawler.http import DEADLINE, open_client, origin, use_for_huggingface_hub
from hublineage.hub.faults import Faults
from hublineage.hub.quotas import Quotas
from hublineage.hub.server import HubServer

Serve = Callable[[Callable[[socket.socket], None]], str]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves each connection by a function of its socket, at the address that is returned, until the test is over."""
    over = threading.Event()
    listening: list[socket.socket] = []

    def accept(server: socket.socket, answer: Callable[[socket.socket], None]) -> None:
        while not over.is_set():
            with suppress(OSError):
                threading.Thread(target=one, args=(server.accept()[0], answer), daemon=True).start()

    def one(connection: socket.socket, answer: Callable[[socket.socket], None]) -> None:
        with suppress(OSError), connection:
            answer(connection)

    def start(answer: Callable[[socket.socket], None]) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)
        threading.Thread(target=accept, args=(server, answer), daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}"

    yield start
    over.set()
    for server in listening:
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in ("alice/one", "bob/two"):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"model_type": "vit"}')
    (tmp_path / "alice/one/.hub.json").write_text(json.dumps({"gated": "manual"}))
    return tmp_path


@pytest.fixture
def restored() -> Iterator[None]:
    """Gives huggingface_hub its own session back."""
    yield
    set_client_factory(default_client_factory)


def drip(connection: socket.socket, first: bytes, then: bytes) -> None:
    """Sends `then` byte by byte, over and over."""
    connection.recv(65536)
    connection.sendall(first)
    for _ in range(300):
        for byte in then:
            connection.sendall(bytes([byte]))
            time.sleep(0.02)


def ask(client: httpx2.Client, url: str, deadline: float | None = None) -> httpx2.Response:
    return client.get(url, extensions={} if deadline is None else {"deadline": deadline})


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\n", b"X-Slow: 1\r\n"),
        (HEAD, b"z"),
        (HEAD, b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1", b";a=bcdef"),
        (b"HTTP/1.1 302 Found\r\nLocation: /api/x\r\nContent-Length: 1000\r\n\r\n", b"z"),
    ],
    ids=["no reply", "slow head", "slow body", "half a body", "slow chunk head", "slow redirect"],
)
def test_a_server_that_stalls_or_trickles_is_given_up_at_the_deadline(serve: Serve, first: bytes, then: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        drip(connection, first, then)
        connection.recv(1)

    with open_client(endpoint := serve(answer), None, deadline=0.3) as client:
        begun = time.monotonic()
        with pytest.raises(httpx2.ReadTimeout, match=r"not over after 0.3 s"):
            client.get(endpoint + "/api/models", follow_redirects=True)
        assert 0.29 < time.monotonic() - begun < 1
        with pytest.raises(httpx2.ReadTimeout, match=r"not over after 0.1 s"):
            ask(client, endpoint, 0.1)


def test_a_read_timeout_that_is_shorter_than_the_deadline_holds(serve: Serve) -> None:
    with open_client(endpoint := serve(lambda _: time.sleep(1)), None) as client:
        with pytest.raises(httpx2.ReadTimeout, match="timed out"):
            client.get(endpoint, timeout=0.1)
        assert client.timeout.connect is not None
    assert DEADLINE > 30


def test_a_full_pool_is_waited_for_until_the_deadline_at_most(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crawler.http.LIMITS", httpx2.Limits(max_connections=1))
    endpoint = serve(lambda connection: drip(connection, HEAD, b"z"))
    with open_client(endpoint, None) as client, client.stream("GET", endpoint):
        begun = time.monotonic()
        with pytest.raises(httpx2.PoolTimeout):
            ask(client, endpoint, 0.2)
        assert time.monotonic() - begun < 1


def test_requests_are_named_and_redirects_are_left_to_the_caller(models: Path) -> None:
    faults = Faults()
    with HubServer(models, faults=faults) as hub, open_client(hub.url, None) as client:
        reply = client.get(f"{hub.url}/bob/two/resolve/main/config.json")
        assert reply.status_code == 307
        agent = reply.request.headers["user-agent"]
    assert agent.startswith("hublineage/")
    assert "; hf_hub/" in agent
    assert faults.asked == ["GET /bob/two/resolve/main/config.json"]


def test_each_hop_takes_a_permit_of_its_bucket_and_only_at_the_endpoint(models: Path) -> None:
    quotas = Quotas(api=100, resolvers=100)
    with HubServer(models, quotas=quotas) as hub, HubServer(models) as other, own_budget(None) as budget:
        with open_client(hub.url, budget) as client:
            client.get(f"{hub.url}/bob/two/resolve/main/config.json", follow_redirects=True)
            client.get(f"{hub.url}/api/models/BOB/two", follow_redirects=True)  # wrong case: a redirect
            client.get(f"{hub.url}/cdn/bob/two/main/config.json")
            client.get(f"{other.url}/api/models")
            assert client.get(f"{hub.url}/bob/two/resolve/main/none.json").status_code == 404
        used = {bucket: window.used for bucket, window in budget._ledger._windows.items()}  # type: ignore[attr-defined]
        leased = {bucket: lane.permits for bucket, lane in budget._lanes.items()}
    assert quotas.used("api") == used["api"] - leased["api"] == 3
    assert quotas.used("resolvers") == 2
    assert used["resolvers"] - leased["resolvers"] == 3  # the one that failed counts twice


def test_many_threads_never_meet_a_429_and_use_no_more_than_the_share(models: Path) -> None:
    quotas = Quotas(api=12, resolvers=100, window=2.0)
    most = []
    waited = []
    with (
        HubServer(models, quotas=quotas) as hub,
        own_budget(None, on_wait=lambda seconds, _: waited.append(seconds)) as budget,
        open_client(hub.url, budget) as client,
        ThreadPoolExecutor(4) as pool,
    ):

        def work(_: int) -> int:
            status = client.get(f"{hub.url}/api/models").status_code
            most.append(quotas.used("api"))
            return status

        assert set(pool.map(work, range(9))) == {200}
    assert max(most) == 6
    assert quotas.refused == 0
    assert len(waited) == 1


def test_a_failed_connection_does_not_hold_the_others_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
    with own_budget(None) as budget, open_client(endpoint, budget) as client:
        begun = time.monotonic()
        for _ in range(3):
            with pytest.raises(httpx2.ConnectError):
                client.get(f"{endpoint}/api/models")
        assert time.monotonic() - begun < 2


def test_proxies_of_the_environment_are_used_with_the_same_discipline(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(connection: socket.socket) -> None:
        asked.append(connection.recv(65536).split(b"\r\n")[0])
        drip(connection, HEAD, b"z")

    monkeypatch.setenv("HTTP_PROXY", serve(answer))
    with own_budget(None) as budget, open_client("http://hub.example", budget, deadline=0.2) as client:
        with pytest.raises(httpx2.ReadTimeout, match="not over"):
            client.get("http://hub.example/api/models")
        assert budget._ledger._windows["api"].used == 1  # type: ignore[attr-defined]
    assert asked == [b"GET http://hub.example/api/models HTTP/1.1"]


@contextmanager
def disciplined(endpoint: str, token: str | None = None, **options: float) -> Iterator[Budget]:
    with own_budget(token) as budget:
        release = use_for_huggingface_hub(endpoint, budget, **options)  # type: ignore[arg-type]
        try:
            yield budget
        finally:
            release()


def used(budget: Budget, bucket: str) -> int:
    leased = budget._lanes[bucket].permits  # type: ignore[index]
    total: int = budget._ledger._windows[bucket].used  # type: ignore[attr-defined]
    return total - leased


@pytest.mark.usefixtures("restored")
def test_huggingface_hub_takes_permits_for_each_hop_and_keeps_its_hooks(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    quotas = Quotas(api=100, resolvers=100)
    with HubServer(models, quotas=quotas) as hub, disciplined(hub.url) as budget:
        get_session().event_hooks["request"].append(lambda request: seen.append(request.headers["x-amzn-trace-id"]))
        assert HfApi(hub.url, token=False).model_info("BOB/two").id == "bob/two"
        assert used(budget, "api") == len(seen) == 2
        get_hf_file_metadata(f"{hub.url}/bob/two/resolve/main/config.json", token=False)
        assert used(budget, "resolvers") == quotas.used("resolvers") == 2
        with pytest.raises(HfHubHTTPError):
            get_hf_file_metadata(f"{hub.url}/alice/one/resolve/main/config.json", token=False)
        assert used(budget, "api") == quotas.used("api") == 3
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(OfflineModeIsEnabled):
            HfApi(hub.url, token=False).model_info("bob/two")
        assert used(budget, "api") == 3


@pytest.mark.usefixtures("restored")
def test_a_session_opened_anew_is_disciplined_and_one_in_use_is_not_replaced(models: Path) -> None:
    with HubServer(models) as hub, disciplined(hub.url) as budget:
        session = get_session()
        with disciplined("http://elsewhere.example"):
            assert get_session() is session
        close_session()
        HfApi(hub.url, token=False).model_info("bob/two")
        assert used(budget, "api") == 1


@pytest.mark.usefixtures("restored")
def test_endpoints_and_accounts_go_side_by_side_and_others_are_left_alone(models: Path) -> None:
    with (
        HubServer(models) as hub,
        HubServer(models) as second,
        HubServer(models) as third,
        disciplined(hub.url) as anonymous,
        disciplined(hub.url, "hf_token") as known,
        disciplined(second.url) as other,
    ):
        HfApi(hub.url, token=False).model_info("bob/two")
        for _ in range(2):
            HfApi(hub.url, token="hf_token").model_info("bob/two")
        for _ in range(3):
            HfApi(second.url, token=False).model_info("bob/two")
        HfApi(third.url, token=False).model_info("bob/two")
        assert [used(budget, "api") for budget in (anonymous, known, other)] == [1, 2, 3]


@pytest.mark.usefixtures("restored")
def test_huggingface_hubs_calls_have_an_end_at_the_endpoint_until_released(serve: Serve) -> None:
    endpoint = serve(lambda connection: drip(connection, HEAD, b"z"))
    with disciplined(endpoint, deadline=0.2):
        for timeout in (None, 20.0):
            begun = time.monotonic()
            with pytest.raises(httpx2.ReadTimeout, match="not over"):
                HfApi(endpoint, token=False).model_info("bob/two", timeout=timeout)
            assert time.monotonic() - begun < 1
    with pytest.raises(httpx2.ReadTimeout, match="timed out"):
        get_session().get(serve(lambda _: time.sleep(2)), timeout=0.5)


def test_an_origin_has_a_port_even_where_the_address_names_none() -> None:
    assert origin("https://Hub.example/x") == origin("HTTPS://hub.example:443") == ("https", "hub.example", 443)
    assert origin("http://hub.example:99999")[2] == 80
    assert origin("hub.example") == ("", "", None)
