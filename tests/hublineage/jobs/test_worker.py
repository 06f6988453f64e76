"""The main job through the queue ends as the main job done at once, whatever becomes of the workers."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from commands import Command, Forked, without_runs
from poison import die_of
from small_models import LINEAGE, write_lineage

from db.engine import connect, transaction
from db.models import SourceRow
from hublineage.hub.server import HubServer
from hublineage.result import result


def outcome(command: Command) -> dict[str, Any]:
    """What the database holds of its one source, in the form of `run --json`."""
    engine = connect(command.url)
    try:
        with transaction(engine) as session:
            (source,) = session.query(SourceRow.id).all()
        return without_runs(result(engine, source[0]))
    finally:
        engine.dispose()


def states(command: Command) -> dict[str, int]:
    rows = command.rows("SELECT task_name || ' ' || status, count(*) FROM procrastinate_jobs GROUP BY 1")
    return {str(name): int(count) for name, count in rows}


def unfinished(command: Command) -> list[tuple[Any, ...]]:
    return command.rows("SELECT task_name, status FROM procrastinate_jobs WHERE status NOT IN ('succeeded', 'aborted')")


def environment(command: Command) -> dict[str, str | None]:
    """That of this test: processes are forked from one that has the environment of the first."""
    cleared = dict.fromkeys(f"HUBLINEAGE_QUEUE__{name}" for name in ("BLOCK", "SLICE", "DESCRIBE", "FIRST_WAIT"))
    ours = {name: value for name, value in os.environ.items() if name.startswith("HUBLINEAGE_")}
    return {**cleared, **ours, "DATABASE_URL": command.url}


def start(command: Command, folder: Path, *arguments: object) -> Forked:
    return Forked(folder, "worker", *arguments, **environment(command))


@contextmanager
def stalled_at(command: Command, table: str, rows: int, condition: str = "true") -> Iterator[None]:
    """Whoever stores a row more than that many in the table sleeps there, inside of its transaction."""
    command.execute(
        f"""
        CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF {condition} AND (SELECT count(*) FROM {table}) >= {rows} THEN PERFORM pg_sleep(100); END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER stall BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION stall();
        """
    )
    try:
        yield
    finally:
        command.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE wait_event = 'PgSleep' AND datname = current_database()"
        )
        command.execute("DROP FUNCTION IF EXISTS stall CASCADE")


def wait_until(command: Command, query: str, worker: Forked | None = None) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if command.rows(query):
            return
        assert worker is None or worker.process.is_alive(), worker.finished() if worker else ""
        time.sleep(0.05)
    raise AssertionError(query)


SLEEPS = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"


def test_the_queue_ends_where_the_main_job_does(queued: Command, models: Path, populated: tuple[Command, Any]) -> None:
    assert queued("enqueue", "--folder", models, "--json").json == {"queued": 1, "known": 0}
    assert queued("enqueue", "--folder", models, "--json").json == {"queued": 0, "known": 1}
    assert queued("worker", "--drain").code == 0
    assert unfinished(queued) == []
    assert outcome(queued) == without_runs(populated[1])
    before = queued.rows("SELECT count(*) FROM layer_measures"), queued.rows("SELECT count(*) FROM runs")
    queued("enqueue", "--folder", models)
    assert queued("worker", "--drain").code == 0
    assert (queued.rows("SELECT count(*) FROM layer_measures"), queued.rows("SELECT count(*) FROM runs")) == before


def test_small_pieces_end_where_large_ones_do(
    queued: Command, models: Path, populated: tuple[Command, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUBLINEAGE_QUEUE__DESCRIBE", "3")
    monkeypatch.setenv("HUBLINEAGE_QUEUE__BLOCK", "30KiB")
    monkeypatch.setenv("HUBLINEAGE_QUEUE__SLICE", "0.001")
    queued("enqueue", "--folder", models)
    assert queued("worker", "--drain").code == 0
    counts = states(queued)
    assert counts["describe succeeded"] == 4
    assert counts["measure succeeded"] > 5
    assert counts["infer succeeded"] == 1
    assert outcome(queued) == without_runs(populated[1])


def test_several_workers_measure_one_family_at_once(
    queued: Command, models: Path, populated: tuple[Command, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUBLINEAGE_QUEUE__BLOCK", "1KiB")
    queued("enqueue", "--folder", models)
    assert queued("worker", "--drain", "--queues", "crawl").code == 0
    workers = [start(queued, tmp_path / str(number), "--drain") for number in range(2)]
    answers = [worker.finished() for worker in workers]
    assert [answer.code for answer in answers] == [0, 0], answers
    both = queued.rows("SELECT count(*) FROM layer_measures")
    assert both == [(11,)]
    assert all(re.search(r"done in .*task=measure|task=measure.*done in|done in", answer.err) for answer in answers)
    assert outcome(queued) == without_runs(populated[1])


@pytest.mark.parametrize("table", ["revisions", "layer_measures", "edges"])
def test_what_a_killed_worker_was_at_is_done_by_another(
    table: str, queued: Command, models: Path, populated: tuple[Command, Any], tmp_path: Path
) -> None:
    queued("enqueue", "--folder", models)
    with stalled_at(queued, table, 2):
        worker = start(queued, tmp_path / "first", "--drain")
        wait_until(queued, SLEEPS, worker)
        worker.signal(signal.SIGKILL)
        worker.finished()
    assert queued("worker", "--drain").code == 0
    assert unfinished(queued) == []
    assert queued.rows("SELECT max(killed) FROM job_records") == [(1,)]
    assert outcome(queued) == without_runs(populated[1])


def test_a_stopped_worker_gives_back_what_it_is_at(
    queued: Command, models: Path, populated: tuple[Command, Any], tmp_path: Path
) -> None:
    queued("enqueue", "--folder", models)
    queued.execute(
        """
        CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN PERFORM pg_sleep(0.5); RETURN NEW; END $$;
        CREATE TRIGGER stall BEFORE INSERT ON layer_measures FOR EACH ROW EXECUTE FUNCTION stall();
        """
    )
    try:
        worker = start(queued, tmp_path / "first")
        wait_until(queued, "SELECT 1 FROM layer_measures", worker)
        worker.signal(signal.SIGTERM)
        answer = worker.finished()
    finally:
        queued.execute("DROP FUNCTION stall CASCADE")
    assert answer.code == 0, answer.err
    assert queued.rows("SELECT status FROM procrastinate_jobs WHERE task_name = 'measure'") == [("todo",)]
    assert queued.rows("SELECT 1 FROM procrastinate_workers") == []
    done = queued.rows("SELECT layer_id, measured_at FROM layer_measures")
    assert 1 <= len(done) < 11
    assert queued("worker", "--drain").code == 0
    assert set(done) < set(queued.rows("SELECT layer_id, measured_at FROM layer_measures"))
    assert queued.rows("SELECT sum(killed), sum(failed) FROM job_records") == [(0, 0)]
    assert outcome(queued) == without_runs(populated[1])


def test_members_that_join_are_measured_and_inferred_again(
    queued: Command, tmp_path: Path, populated: tuple[Command, Any]
) -> None:
    whole = write_lineage(tmp_path / "whole")
    part = tmp_path / "part"
    part.mkdir()
    (whole / "oak").rename(part / "oak")
    queued("enqueue", "--folder", part)
    assert queued("worker", "--drain").code == 0
    (whole / "elm").rename(part / "elm")
    (whole / "fir").rename(part / "fir")
    queued("enqueue", "--folder", part)
    assert queued("worker", "--drain").code == 0
    assert queued.rows("SELECT count(*) FROM runs") == [(2,)]
    edges = {(edge["parent"], edge["child"]) for family in outcome(queued)["families"] for edge in _edges(family)}
    assert edges == {(edge["parent"], edge["child"]) for one in populated[1]["families"] for edge in _edges(one)}


def _edges(family: dict[str, Any]) -> list[dict[str, Any]]:
    return [edge for tree in family["trees"] for edge in tree["edges"]]


def test_a_hub_that_is_away_is_waited_for(queued: Command, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBLINEAGE_QUEUE__FIRST_WAIT", "0.2")
    with HubServer(models) as server:
        url = server.url
    queued("enqueue", "--endpoint", url, "--limit", "20")
    assert queued("worker", "--once").code == 0
    ((kind, failed),) = queued.rows("SELECT kind, failed FROM job_records")
    assert (kind, failed) >= ("SourceUnreachable", 1)
    assert queued.rows("SELECT status FROM procrastinate_jobs") == [("todo",)]
    port = int(url.rpartition(":")[2])
    with HubServer(models, port=port):
        assert queued("worker", "--drain").code == 0
    assert queued.rows("SELECT count(*) FROM verdicts") == [(10,)]
    assert unfinished(queued) == []


def test_a_job_that_cannot_succeed_fails_once_and_says_why(queued: Command) -> None:
    queued.execute(
        "INSERT INTO procrastinate_jobs (queue_name, task_name, lock, queueing_lock, args) VALUES"
        " ('crawl', 'sweep', 'a', 'a', '{\"source\": \"ftp://nowhere\", \"query\": {}}')"
    )
    assert queued("worker", "--drain").code == 0
    (found,) = queued("jobs", "--json").json["jobs"]
    assert (found["state"], found["kind"], found["attempts"]) == ("failed", "UsageError", 1)
    assert "ftp://nowhere" in found["reason"]


def poisoned(command: Command, folder: Path, model: str, call: str) -> None:
    """Let a worker die of a model."""
    code = die_of(folder / "err", model, call, ["worker", "--drain"], environment(command))
    assert code == -signal.SIGKILL, (folder / "err").read_text()


def test_a_model_that_kills_those_who_measure_it_is_left_out_by_name(queued: Command, tmp_path: Path) -> None:
    queued("enqueue", "--folder", write_lineage(tmp_path / "models"))
    assert queued("worker", "--drain", "--queues", "crawl").code == 0
    for _ in range(3):
        poisoned(queued, tmp_path, "oak/left", "read_many")
    assert queued("worker", "--drain").code == 0
    assert unfinished(queued) == []
    found = outcome(queued)
    ((name, kind),) = queued.rows(
        "SELECT repositories.name, kind FROM failures JOIN repositories ON repositories.id = repository_id"
        " WHERE stage = 'measure'"
    )
    assert (name, kind) == ("oak/left", "WorkerLost")
    (family,) = found["families"]
    assert set(family["models"]) == {*LINEAGE, "fir/copy"} - {"oak/left"}
    assert "workers died" in next(one["why"] for one in found["verdicts"] if one["model"] == "oak/left")


def test_a_model_that_kills_those_who_describe_it_is_parked_alone_and_named(queued: Command, tmp_path: Path) -> None:
    queued("enqueue", "--folder", write_lineage(tmp_path / "models"))
    for _ in range(4):  # once in a batch, and three times alone
        poisoned(queued, tmp_path, "oak/left", "details")
    assert queued("worker", "--drain").code == 0
    (parked,) = queued("jobs", "--state", "parked", "--json").json["jobs"]
    assert (parked["task"], parked["what"], parked["killed"]) == ("describe", "oak/left", 3)
    assert "oak/left" in queued("status").out
    assert len(outcome(queued)["verdicts"]) == 9
    # It stays so until somebody asks for it.
    queued("enqueue", "--folder", tmp_path / "models")
    assert queued("worker", "--drain").code == 0
    assert len(outcome(queued)["verdicts"]) == 9
    assert queued("jobs", "retry", "--parked", "--json").json == {"retried": [parked["id"]]}
