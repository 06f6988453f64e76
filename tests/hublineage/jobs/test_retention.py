"""Which runs stay is a setting, whoever removes the others: `runs prune`, or a worker every night."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Command

from db.engine import connect, transaction
from hublineage.jobs import kinds, queue


def numbers(command: Command) -> list[int]:
    return [row["number"] for row in command("runs", "--json").json["runs"]]


def test_runs_go_by_the_settings_by_hand_and_through_the_queue(
    queued: Command, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert queued("run", "--folder", models, "--weights-only").code == 0
    for method in ("mother", "phylogeny"):
        assert queued("infer", "--method", method, "--weights-only").code == 0
    assert queued("compare").code == 0
    assert numbers(queued) == [3, 2, 1]  # of which the last answers, and the others count
    assert queued("runs", "prune", "--json").json["runs"] == []
    monkeypatch.setenv("HUBLINEAGE_RETENTION__KEEP_RUNS", "1")
    assert queued("runs", "prune", "--dry-run", "--json").json["runs"] == [1]
    assert queued("runs", "prune", "--keep", 2, "--dry-run", "--json").json["runs"] == []
    assert queued("runs", "prune", "--json").json["runs"] == [1]
    monkeypatch.setenv("HUBLINEAGE_RETENTION__KEEP_DAYS", "0")
    engine = connect(queued.url)
    with transaction(engine) as session:
        queue.defer(session, [kinds.upkeep(kinds.RETENTION)])
    engine.dispose()
    assert queued("worker", "--drain").code == 0
    assert numbers(queued) == [3]
