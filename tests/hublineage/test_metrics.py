"""Figures and health of a worker, asked over HTTP as Prometheus and a balancer would."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from sqlalchemy import Engine, create_engine, text

from crawler.hub import HubSource
from crawler.observed import Exchange
from crawler.source import Query
from db.engine import transaction
from db.errors import UsageError
from hublineage.exposition import serving
from hublineage.health import Health, HealthCheck, heartbeat, watch
from hublineage.hub.faults import Faults
from hublineage.hub.server import HubServer
from hublineage.jobs import kinds, queue
from hublineage.jobs.retries import GivenBack
from hublineage.metrics import Metrics
from hublineage.settings import QueueSettings

DOCS = Path(__file__).parents[2] / "docs"
GONE = "postgresql+psycopg://nobody@127.0.0.1:1/none"
WELL = Health(True, True, 1.0, 60.0)


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


def test_stages_tell_their_seconds_their_ends_and_their_failures_by_reason() -> None:
    metrics = Metrics()
    with metrics.stage("measure"):
        pass
    with pytest.raises(ZeroDivisionError), metrics.stage("measure"):
        _ = 1 / 0
    metrics.ended("measure", "succeeded")
    metrics.ended("measure", "again", ZeroDivisionError())
    metrics.ended("measure", "given back", GivenBack("the worker stops"))
    value = metrics.registry.get_sample_value
    assert value("hublineage_stage_seconds_count", {"stage": "measure"}) == 2
    assert value("hublineage_stage_jobs_total", {"stage": "measure", "outcome": "given back"}) == 1
    assert value("hublineage_stage_failures_total", {"stage": "measure", "reason": "ZeroDivisionError"}) == 1
    assert value("hublineage_stage_failures_total", {"stage": "measure", "reason": "GivenBack"}) is None


def test_the_database_tells_quotas_and_that_it_is_there(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO quotas (endpoint, account, bucket, quota, window_s, share, used, resets_at) "
                "VALUES ('https://hub', 'anonymous', 'api', 500, 300, 0.5, 50, now() + interval '1 hour')"
            )
        )
    with serving(Metrics(engine), lambda: WELL, 0, "127.0.0.1") as port:
        status, page = get(port, "/metrics")
    assert status == 200
    assert "hublineage_database_up 1.0" in page
    assert 'hublineage_quota_left{bucket="api",endpoint="https://hub"} 200.0' in page


def test_a_database_that_is_gone_leaves_the_rest_of_the_figures() -> None:
    metrics = Metrics(create_engine(GONE))
    check = HealthCheck(create_engine(GONE), QueueSettings(), lambda: True, heartbeat(lambda: 1))
    with serving(metrics, check, 0, "127.0.0.1") as port:
        status, page = get(port, "/metrics")
        ill, words = get(port, "/healthz")
    assert (status, ill) == (200, 503)
    assert "hublineage_database_up 0.0" in page
    assert json.loads(words) == {
        "well": False, "database": False, "running": True, "silence_s": None, "allowed_s": 60.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("health", "status"),
    [
        (WELL, 200),
        (replace(WELL, running=False), 503),
        (replace(WELL, silence_s=61.0), 503),
        (replace(WELL, silence_s=None), 503),
        (replace(WELL, database=False), 503),
    ],
)
def test_only_a_worker_that_is_well_answers_200(health: Health, status: int) -> None:
    with serving(Metrics(), lambda: health, 0, "127.0.0.1") as port:
        assert get(port, "/healthz")[0] == status
        assert get(port, "/elsewhere")[0] == 404


def execute(engine: Engine, statement: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))


def test_queues_tell_how_full_they_are_and_how_long_the_longest_waits(engine: Engine) -> None:
    with transaction(engine) as session:
        queue.defer(session, [kinds.infer("file:///m", number) for number in range(4)])
        queue.defer(session, [kinds.plan("file:///m", 1, wait=1000)])
        queue.note(session, 2, kind=queue.WORKER_LOST)
    execute(engine, "UPDATE procrastinate_jobs SET status = 'doing' WHERE id IN (2, 3)")
    execute(engine, "UPDATE procrastinate_jobs SET status = 'failed' WHERE id IN (2, 3)")
    execute(engine, "UPDATE procrastinate_events SET at = at - interval '50 s' WHERE job_id = 1")
    execute(engine, "INSERT INTO procrastinate_workers DEFAULT VALUES")
    value = Metrics(engine).registry.get_sample_value
    states = ("waiting", "doing", "failed", "parked")

    def depth(name: str) -> list[float | None]:
        return [value("hublineage_queue_jobs", {"queue": name, "state": state}) for state in states]

    assert (depth("infer"), depth("measure"), depth("crawl")) == ([2, 0, 1, 1], [1, 0, 0, 0], [0, 0, 0, 0])
    assert value("hublineage_queue_overdue_seconds", {"queue": "infer"}) == pytest.approx(50, abs=5)
    assert value("hublineage_queue_overdue_seconds", {"queue": "measure"}) == 0
    assert value("hublineage_workers") == 1
    execute(engine, "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '61 s'")
    assert value("hublineage_workers") == 0


def test_a_worker_is_ill_whose_heart_stands_still_or_who_was_struck_off(engine: Engine) -> None:
    execute(engine, "INSERT INTO procrastinate_workers DEFAULT VALUES")
    check = HealthCheck(engine, QueueSettings(), lambda: True, heartbeat(lambda: 1))
    assert check().well
    execute(engine, "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '61 s'")
    assert not check().well
    execute(engine, "DELETE FROM procrastinate_workers")
    assert check().silence_s is None
    assert not check().well


def test_a_scheduler_is_ill_that_does_not_look_after_the_workers(engine: Engine) -> None:
    for silence, well in ((None, False), (1.0, True), (61.0, False)):
        assert HealthCheck(engine, QueueSettings(), lambda: True, watch(lambda: silence))().well is well  # noqa: B023


def test_a_port_that_is_taken_is_named() -> None:
    with serving(Metrics(), lambda: WELL, 0, "127.0.0.1") as port:  # noqa: SIM117
        with (
            pytest.raises(UsageError, match=f"--metrics-port {port}: "),
            serving(Metrics(), lambda: WELL, port, "127.0.0.1"),
        ):
            pass


def test_the_documents_name_only_metrics_that_there_are(engine: Engine) -> None:
    metrics = Metrics(engine)
    metrics.request(Exchange("api", 200, 0.5, 10))
    with metrics.stage("measure"):
        metrics.ended("measure", "failed", ValueError())
    told = {family.name for family in metrics.registry.collect()}
    named = set()
    for page in ("jobs.md", "operations.md"):
        named |= set(re.findall(r"\bhublineage_(?!reader)[a-z_]+", (DOCS / page).read_text()))
    assert named
    assert {name.removesuffix("_total").removesuffix("_info") for name in named} - told == set()
