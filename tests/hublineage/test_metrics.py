"""Figures and health of a worker, asked over HTTP as Prometheus and a balancer would."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from sqlalchemy import Engine, create_engine, text

from crawler.hub import HubSource
from crawler.observed import Exchange
from crawler.source import Query
from hublineage.hub.faults import Faults
from hublineage.hub.server import HubServer
from hublineage.metrics import Health, HealthCheck, Metrics, serving

GONE = "postgresql+psycopg://nobody@127.0.0.1:1/none"


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}") as reply:
            return reply.status, reply.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_requests_of_a_crawler_are_counted_by_bucket_and_status(tmp_path: Path) -> None:
    folder = tmp_path / "org/model"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "vit"}')
    (folder / "README.md").write_text("words")
    seen: list[Exchange] = []
    faults = Faults()
    with HubServer(tmp_path, faults=faults) as server, HubSource(server.url, observe=seen.append) as hub:
        (page,) = hub.pages(Query())
        found = hub.details(page.rows[0].name)
        hub.read_small("org/model", found.sha, "README.md", 100)
    assert len(seen) == len(faults.asked)
    assert {one.bucket for one in seen} == {"api", "resolvers"}
    assert sum(one.received for one in seen) >= len("words")
    assert all(one.status is not None and one.error is None for one in seen)


def test_a_request_without_a_reply_is_counted_by_its_error() -> None:
    metrics = Metrics()
    metrics.request(Exchange("api", None, 0.5, 0, "ConnectError"))
    assert metrics.registry.get_sample_value(
        "hublineage_requests_total", {"bucket": "api", "status": "ConnectError"}
    ) == 1  # fmt: skip


def test_stages_tell_their_seconds_and_their_failures_by_reason() -> None:
    metrics = Metrics()
    with metrics.stage("measure"):
        pass
    with pytest.raises(ZeroDivisionError), metrics.stage("measure"):
        _ = 1 / 0
    value = metrics.registry.get_sample_value
    assert value("hublineage_stage_seconds_count", {"stage": "measure"}) == 2
    assert value("hublineage_stage_failures_total", {"stage": "measure", "reason": "ZeroDivisionError"}) == 1


def test_the_database_tells_quotas_and_that_it_is_there(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO quotas (endpoint, account, bucket, quota, window_s, share, used, resets_at) "
                "VALUES ('https://hub', 'anonymous', 'api', 500, 300, 0.5, 50, now() + interval '1 hour')"
            )
        )
    with serving(Metrics(engine), lambda: Health(True, True, 1.0), 0, "127.0.0.1") as port:
        status, page = get(port, "/metrics")
    assert status == 200
    assert "hublineage_database_up 1.0" in page
    assert 'hublineage_quota_left{bucket="api",endpoint="https://hub"} 200.0' in page


def test_a_database_that_is_gone_leaves_the_rest_of_the_figures() -> None:
    metrics = Metrics(create_engine(GONE))
    with serving(metrics, HealthCheck(create_engine(GONE), lambda: 1, lambda: True), 0, "127.0.0.1") as port:
        status, page = get(port, "/metrics")
        ill, words = get(port, "/healthz")
    assert (status, ill) == (200, 503)
    assert "hublineage_database_up 0.0" in page
    assert json.loads(words) == {"well": False, "database": False, "queue": True, "silence_s": None}


@pytest.mark.parametrize(
    ("health", "status"),
    [
        (Health(True, True, 3.0), 200),
        (Health(True, False, 3.0), 503),
        (Health(True, True, 61.0), 503),
        (Health(True, True, None), 503),
    ],
)
def test_only_a_worker_that_is_well_answers_200(health: Health, status: int) -> None:
    with serving(Metrics(), lambda: health, 0, "127.0.0.1") as port:
        assert get(port, "/healthz")[0] == status
        assert get(port, "/elsewhere")[0] == 404
