"""What is learnt of groups and of stages follows the examples, and leaves what it was not asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from benchmarks.learn_absent import absent_left_out, learn_absent
from benchmarks.learn_stage import learn_stage, stages_right
from benchmarks.recovery_report import stage_table
from lineage.absent import Group
from lineage.stage import stage_probabilities

LACKING = Group(frozenset((0, 1, 2)), 0.4, 0.02, 0.01, 4.0)
WHOLE = Group(frozenset((0, 1, 2)), 0.15, 0.1, 0.5, 0.2)


def test_groups_are_told_by_what_was_learnt_from_others_like_them() -> None:
    zoo = [(LACKING, True, 0, 2), (WHOLE, False, 2, 2), (replace(LACKING, usual=float("nan")), True, 0, 2)] * 3
    weights = learn_absent([zoo, zoo])
    assert LACKING.probability(weights) > 0.8
    assert WHOLE.probability(weights) < 0.2
    assert 0 < weights.adjacent < 0.1
    assert weights.margin <= 0 <= weights.acute
    assert "found 12 of 12, false 0 of 6" in absent_left_out({"a": zoo, "b": zoo})


def test_stages_are_told_though_one_of_them_is_rare() -> None:
    rng = np.random.default_rng(0)
    general, special = rng.normal([1, -1, 3, 1], 0.3, (5, 4)), rng.normal([-1, 1, 0, -1], 0.3, (200, 4))
    zoo = np.concatenate([general, special]), np.arange(205) < 5
    weights = learn_stage([zoo])
    assert (stage_probabilities(zoo[0], weights) >= 0.5).tolist() == zoo[1].tolist()
    assert stages_right({"zoo": zoo, "empty": (zoo[0][:0], zoo[1][:0])}, weights) == "zoo 1.000"


def test_stages_that_nobody_stated_are_dashes() -> None:
    assert stage_table([])[2:] == ["| generalisation | - | - |", "| specialisation | - | - |"]
