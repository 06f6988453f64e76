"""Workers that are killed or freeze leave the tables of an undisturbed run; `benchmarks.faults` has the rest."""

from __future__ import annotations

import pytest

from benchmarks import faults_kills
from benchmarks.faults_rounds import Bench, Outcome
from benchmarks.faults_strikes import AMID, RESCUE, at_end
from hublineage.jobs import kinds


def assert_is_well(outcome: Outcome, struck: int) -> None:
    assert (outcome.missed, outcome.wrong, outcome.differences) == ([], [], [])
    assert outcome.struck == struck


@pytest.mark.slow
def test_kills_in_the_midst_of_tasks_and_at_their_ends_leave_no_trace(bench: Bench) -> None:
    amid = [place for place in AMID if place.name in {kinds.SETTLE, kinds.COMPARE, RESCUE}]
    outcome = faults_kills.kills(bench, "kills", [*amid, at_end(kinds.DESCRIBE), at_end(kinds.MEASURE)])
    assert_is_well(outcome, 5)
    assert outcome.workers_killed == 5
    assert outcome.lost_with_worker == 4  # who rescues has no job of its own to lose


@pytest.mark.slow
def test_a_worker_that_freezes_and_thaws_harms_nothing(bench: Bench) -> None:
    outcome = faults_kills.freezes(bench, [kinds.MEASURE])
    assert_is_well(outcome, 1)
    assert outcome.workers_killed == 0
    assert outcome.lost_with_worker == 1
