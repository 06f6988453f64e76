"""A worker as those see it who watch over it: its figures, its health and its logs."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psycopg
import pytest
from commands import Command, Forked, NewDatabase
from prometheus_client.parser import text_string_to_metric_families
from small_models import write_lineage, write_model
from sqlalchemy import make_url

from hublineage.hub.faults import Faults
from hublineage.hub.quotas import Quotas
from hublineage.hub.server import HubServer

TOKEN = "hf_" + "abcdEFGH" * 4  # the form of the Hub's tokens, and none
PASSWORD = "correcthorsebatterystaple"


@pytest.fixture
def secretive(new_database: NewDatabase) -> Command:
    """The command on a database of its own, whose address holds a password (the server asks for none)."""
    return Command(new_database().replace("postgres:@", f"postgres:{PASSWORD}@"))


class Watched:
    """A worker or scheduler in a process of its own, with its logs as JSON."""

    def __init__(self, url: str, folder: Path, *arguments: object) -> None:
        ours = {name: value for name, value in os.environ.items() if name.startswith("HUBLINEAGE_")}
        options = ("--log-format", "json", "--metrics-port", 0)
        self.err = folder / "err"
        self.process = Forked(folder, *arguments, *options, **{**ours, "DATABASE_URL": url, "HF_TOKEN": TOKEN})
        self.port = 0

    def logs(self) -> list[dict[str, Any]]:
        whole, _, _ = self.err.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines()]

    def page(self, path: str) -> tuple[int, str]:
        if not self.port:
            wait_until(lambda: any("port" in line for line in self.logs()))
            self.port = next(line["port"] for line in self.logs() if "port" in line)
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}") as reply:
                return reply.status, reply.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def health(self) -> tuple[int, dict[str, Any]]:
        status, words = self.page("/healthz")
        return status, json.loads(words)

    def figures(self) -> dict[tuple[str, ...], float]:
        """What is told: (name, values of labels in the order of their names) -> value."""
        status, page = self.page("/metrics")
        assert status == 200
        return {
            (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }


@contextmanager
def watched(command: Command, folder: Path, *arguments: object) -> Iterator[Watched]:
    """One that is stopped in the end, as an orchestrator stops it."""
    one = Watched(command.url, folder, *arguments)
    try:
        yield one
    finally:
        one.process.signal(signal.SIGTERM)
        answer = one.process.finished()
    assert answer.code == 0, answer.err


def wait_until(holds: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def closed(url: str) -> Iterator[None]:
    """The database lets nobody in, and throws out who is."""
    name = make_url(url).database
    with psycopg.connect(url.replace(f"/{name}?", "/postgres?"), autocommit=True) as control:
        control.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        control.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        try:
            yield
        finally:
            control.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())


def test_figures_and_logs_tell_what_a_worker_did(queued: Command, secretive: Command, tmp_path: Path) -> None:
    write_lineage(tmp_path / "models")
    write_model(tmp_path / "models", "ash/broken", None, {"model.safetensors": b"no tensors"})
    faults = Faults()
    with HubServer(tmp_path / "models", faults=faults, quotas=Quotas(api=800, resolvers=900)) as hub:
        assert secretive("enqueue", "--endpoint", hub.url, "--limit", 20).code == 0
        with watched(secretive, tmp_path / "logs", "worker", "--log-level", "debug") as worker:
            left = "SELECT 1 FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"
            wait_until(lambda: not secretive.rows(left))
            assert worker.health()[0] == 200
            told, asked, url = worker.figures(), len(faults.asked), hub.url
    value = told.get

    # Requests: as many as the Hub was asked, by bucket and status, with their bytes; and what is left of its quota.
    requests = {key: count for key, count in told.items() if key[0] == "hublineage_requests_total"}
    assert sum(requests.values()) == asked
    assert value(("hublineage_requests_total", "api", "200"), 0) >= 12
    weights = sum(path.stat().st_size for path in (tmp_path / "models").rglob("*.safetensors"))
    assert sum(count for key, count in told.items() if key[0] == "hublineage_received_bytes_total") > weights
    assert 0 < told[("hublineage_quota_left", "api", url)] < 400

    # Stages: each was done and timed; one repository failed; the queues are empty.
    stages = ("sweep", "describe", "settle", "plan", "measure", "infer", "compare")
    ends = {stage: value(("hublineage_stage_jobs_total", "succeeded", stage), 0) for stage in stages}
    assert all(ends.values()), ends
    assert all(told[("hublineage_stage_seconds_count", stage)] >= ends[stage] for stage in stages)
    assert told[("hublineage_failures", "HeaderMalformed", "describe")] == 1
    assert {told[("hublineage_queue_jobs", queue, "waiting")] for queue in ("crawl", "measure", "infer")} == {0}
    assert (told[("hublineage_workers",)], told[("hublineage_database_up",)]) == (1, 1)

    # Logs: what each line is about, also in the threads that describe; and nothing secret, whatever libraries say.
    logs = worker.logs()
    done = {line["task"]: line for line in logs if str(line["event"]).startswith("done in")}
    assert done.keys() >= set(stages)
    assert all(line["job"] > 0 and line["seconds"] >= 0 for line in done.values())
    ((family,),) = secretive.rows("SELECT name FROM families")
    assert {done[task]["family"] for task in ("plan", "measure", "infer")} == {family}
    (broken,) = [line for line in logs if line.get("model") == "ash/broken" and "HeaderMalformed" in line["event"]]
    assert (broken["task"], broken["source"], broken["job"] > 0) == ("describe", url, True)
    assert not [secret for secret in (TOKEN, PASSWORD) if secret in worker.err.read_text()]


def test_a_worker_is_ill_while_its_database_is_gone_and_when_it_was_struck_off(
    queued: Command, secretive: Command, tmp_path: Path
) -> None:
    with watched(secretive, tmp_path / "logs", "worker") as worker:
        wait_until(lambda: worker.health()[0] == 200)
        with closed(secretive.url):
            wait_until(lambda: worker.health()[0] == 503 and not worker.health()[1]["database"])
            assert worker.figures()[("hublineage_database_up",)] == 0
        wait_until(lambda: worker.health()[0] == 200)
        secretive.execute("DELETE FROM procrastinate_workers")
        status, words = worker.health()
        assert (status, words["database"], words["silence_s"]) == (503, True, None)
    assert PASSWORD not in worker.err.read_text()


def test_a_scheduler_answers_as_well(queued: Command, secretive: Command, tmp_path: Path) -> None:
    with watched(secretive, tmp_path / "logs", "schedule") as scheduler:
        wait_until(lambda: scheduler.health()[0] == 200)
        assert scheduler.figures()[("hublineage_workers",)] == 0
        with closed(secretive.url):
            wait_until(lambda: scheduler.health()[0] == 503)
        wait_until(lambda: scheduler.health()[0] == 200)
    assert any("nothing is followed" in line["event"] for line in scheduler.logs())
