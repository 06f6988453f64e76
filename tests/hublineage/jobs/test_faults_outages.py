"""A server that is killed and a schema that moves on under the workers; `benchmarks.faults` has them at more places."""

from __future__ import annotations

import os

import pytest

from benchmarks.faults_outages import cache_full, embedded_killed, places_of
from benchmarks.faults_rounds import Bench
from benchmarks.faults_times import older_workers
from hublineage.jobs import kinds


@pytest.mark.slow
def test_a_server_that_is_killed_is_started_again_by_the_workers_and_nothing_is_lost(bench: Bench) -> None:
    outcome = embedded_killed(bench, places_of(kinds.DESCRIBE))
    assert (outcome.missed, outcome.wrong, outcome.differences) == ([], [], [])
    assert (outcome.struck, outcome.workers_killed) == (1, 0)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_of_the_cache_changes_no_result(bench: Bench) -> None:
    outcome = cache_full(bench, places_of(kinds.PLAN, kinds.INFER))
    assert (outcome.missed, outcome.wrong, outcome.differences) == ([], [], [])
    assert (outcome.struck, outcome.workers_killed) == (2, 0)


@pytest.mark.slow
def test_older_workers_stop_for_a_migration_and_say_why(bench: Bench) -> None:
    outcome = older_workers(bench, places_of(kinds.MEASURE))
    assert (outcome.missed, outcome.wrong, outcome.differences) == ([], [], [])
    assert outcome.note == "2 workers ended with exit code 2"
