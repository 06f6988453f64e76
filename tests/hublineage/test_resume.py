"""Killed at any moment, the same command ends with what an undisturbed run finds, and measures nothing twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from commands import Command, Forked, one_line, without_runs
from small_models import write_lineage

from db import embedded, schema
from db.engine import connect

MEASURES = "SELECT batch_id, layer_id, measured_at FROM layer_measures ORDER BY 1, 2"

# The moments: the process sleeps inside of its transaction when a table has that many rows.
MOMENTS = {
    "listing": ("repositories", 0),
    "describing, at the first model": ("revisions", 0),
    "describing, in the middle": ("declared_parents", 3),
    "measuring, before the first layer is stored": ("layer_measures", 0),
    "measuring, in the middle": ("layer_measures", 5),
    "inferring": ("edges", 2),
    "comparing": ("verdicts", 4),
}


@contextmanager
def stalling(command: Command, table: str, rows: int) -> Iterator[None]:
    """Whoever stores a row more than that many in the table sleeps there."""
    command.execute(
        f"""
        CREATE FUNCTION stall() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF (SELECT count(*) FROM {table}) >= {rows} THEN PERFORM pg_sleep(100); END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER stall BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION stall();
        """  # our own names
    )
    yield
    command.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE wait_event = 'PgSleep' AND datname = current_database()"
    )
    command.execute("DROP FUNCTION stall CASCADE")


def wait_until_stalled(command: Command, forked: Forked) -> None:
    deadline = time.monotonic() + 120
    while forked.process.is_alive() and time.monotonic() < deadline:
        if command.rows("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"):
            return
        time.sleep(0.02)
    forked.process.kill()
    raise AssertionError(f"it never came to that moment: {forked.finished()}")


def check_not_twice(command: Command, before: list[tuple[Any, ...]]) -> None:
    after = command.rows(MEASURES)
    assert set(before) <= set(after)
    assert len(command.rows("SELECT 1 FROM measure_batches")) == 1
    assert len(after) == len({layer for _, layer, _ in after})


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_run_goes_on_where_it_stood(
    moment: str, command: Command, populated: tuple[Command, Any], models: Path, tmp_path: Path
) -> None:
    arguments = ("run", "--folder", models, "--json", "--weights-only")
    table, rows = MOMENTS[moment]
    with stalling(command, table, rows):
        forked = Forked(tmp_path / "killed", *arguments, DATABASE_URL=command.url)
        wait_until_stalled(command, forked)
        before = command.rows(MEASURES)
        forked.signal(signal.SIGKILL)
        assert forked.finished().code == -signal.SIGKILL
    if table == "layer_measures":
        assert len(before) == rows
    answer = command(*arguments)
    assert answer.code == 0, answer.err
    assert without_runs(answer.json) == without_runs(populated[1])
    check_not_twice(command, before)
    assert command.rows("SELECT count(*) FROM crawls WHERE finished_at IS NULL") == [(0,)]


def test_an_interrupted_run_says_so_and_goes_on(
    command: Command, populated: tuple[Command, Any], models: Path, tmp_path: Path
) -> None:
    arguments = ("run", "--folder", models, "--json", "--weights-only")
    with stalling(command, "layer_measures", 3):
        forked = Forked(tmp_path / "interrupted", *arguments, DATABASE_URL=command.url)
        wait_until_stalled(command, forked)
        forked.signal(signal.SIGINT)
        interrupted = forked.finished()
    assert interrupted.code == 130
    assert interrupted.out == ""
    assert "Traceback" not in interrupted.err
    before = command.rows(MEASURES)
    assert without_runs(command(*arguments).json) == without_runs(populated[1])
    check_not_twice(command, before)


def test_a_killed_database_server_costs_nothing_but_another_try(tmp_path: Path) -> None:
    folder, data = write_lineage(tmp_path / "models"), tmp_path / "data"
    arguments = ("run", "--folder", folder, "--json", "--weights-only")
    undisturbed = Command(embedded.start(data))
    try:
        engine = connect(undisturbed.url)
        schema.upgrade(engine)
        engine.dispose()
        with stalling(undisturbed, "layer_measures", 4):
            forked = Forked(tmp_path / "lost", *arguments, "--data-dir", data, DATABASE_URL=None)
            wait_until_stalled(undisturbed, forked)
            before = undisturbed.rows(MEASURES)
            os.kill(int((data / "postgres/postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
            answer = forked.finished()
            assert (answer.code, answer.out) == (3, "")
            assert "goes on from here" in one_line(answer)
            embedded.start(data)
        assert len(before) == 4
        again = Forked(tmp_path / "again", *arguments, "--data-dir", data, DATABASE_URL=None).finished()
        assert again.code == 0, again.err
        embedded.start(data)
        check_not_twice(undisturbed, before)
        with psycopg.connect(undisturbed.url, autocommit=True) as connection:
            for table in ("sources", "families"):
                connection.execute(f"TRUNCATE {table} CASCADE".encode())
        assert without_runs(undisturbed(*arguments).json) == without_runs(again.json)
    finally:
        embedded.stop(data)
