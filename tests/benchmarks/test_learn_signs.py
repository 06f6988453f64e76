"""What is learnt of groups and of stages follows the examples, and leaves what it was not asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit

from benchmarks.learn_absent import Seen, SeenGroup, absent_left_out, learn_absent, learn_rarity
from benchmarks.learn_adjacency import learn_adjacency, left_out
from benchmarks.learn_stage import learn_stage, stages_right
from benchmarks.recovery_report import stage_table
from lineage.absent import Group
from lineage.adjacency import Signs
from lineage.learnt import learnt
from lineage.stage import stage_probabilities

LACKING = Group(frozenset((0, 1, 2)), 0.4, 0.02, 0.01, 4.0)
WHOLE = Group(frozenset((0, 1, 2)), 0.15, 0.1, 0.5, 0.2)


def lacking(group: Group = LACKING) -> SeenGroup:
    return SeenGroup(group, siblings=2, true=0, edges=2)


def test_groups_are_told_by_what_was_learnt_from_others_like_them() -> None:
    whole = SeenGroup(WHOLE, siblings=0, true=2, edges=2)
    zoo = Seen([lacking(), whole, lacking(replace(LACKING, usual=float("nan")))] * 3)
    weights = learn_absent([zoo, zoo])
    assert LACKING.probability(weights) > 0.8
    assert WHOLE.probability(weights) < 0.2
    assert weights.margin <= 0 <= weights.acute
    assert "found 12 of 12, false 0 of 6" in absent_left_out({"a": zoo, "b": zoo})


def test_edges_of_groups_are_the_likelier_the_seldomer_parents_are_absent_in_zoos_as_they_are() -> None:
    weights = replace(learnt().absent, offset=-5.7, acute=0.6, usual=-2.0, margin=-0.9, between=0.6)
    wrongly_said = SeenGroup(LACKING, siblings=0, true=2, edges=2)
    seldom, _ = learn_rarity([Seen([lacking(), *[wrongly_said] * 9])], weights)
    often, clear = learn_rarity([Seen([lacking()] * 9, clear_true=0, clear=8), Seen([wrongly_said])], weights)
    assert seldom < often
    assert 1 - expit(LACKING.log_odds(weights) + seldom) == pytest.approx(0.9, abs=0.1)
    assert clear == 0.1


def test_groups_half_of_which_are_siblings_teach_nothing_about_absence() -> None:
    mixed = SeenGroup(LACKING, siblings=1, true=1, edges=2)
    assert not mixed.plain
    zoo = Seen([lacking(), SeenGroup(WHOLE, siblings=0, true=2, edges=2)] * 4)
    assert learn_absent([Seen([*zoo.groups, mixed])]) == learn_absent([zoo])


def test_edges_among_skewed_ones_are_learnt_to_be_less_likely() -> None:
    rng = np.random.default_rng(0)
    straight = [(Signs(0.5, 0.05, 0.05, -2.8 + 0.1 * one), True) for one in rng.normal(size=60)]
    skewed = [(Signs(0.5, 0.05, 0.05, -0.7 + 0.1 * one), bool(rng.random() < 0.5)) for one in rng.normal(size=60)]
    weights = learn_adjacency([straight, skewed], 5, 5)
    assert weights.elsewhere < 0
    assert Signs(0.5, 0.05, 0.05, -2.8).probability(weights) > Signs(0.5, 0.05, 0.05, -0.7).probability(weights) + 0.2
    assert weights.copy == round(6 / 7, 4)
    said = left_out({"a": straight, "b": straight, "c": skewed}, {"a": "vit", "b": "llama", "c": "vit"})
    assert "each zoo left out: " in said
    assert "each architecture left out: " in said


def test_stages_are_told_though_one_of_them_is_rare() -> None:
    rng = np.random.default_rng(0)
    general, special = rng.normal([1, -1, 3, 1], 0.3, (5, 4)), rng.normal([-1, 1, 0, -1], 0.3, (200, 4))
    zoo = np.concatenate([general, special]), np.arange(205) < 5
    weights = learn_stage([zoo])
    assert (stage_probabilities(zoo[0], weights) >= 0.5).tolist() == zoo[1].tolist()
    assert stages_right({"zoo": zoo, "empty": (zoo[0][:0], zoo[1][:0])}, weights) == "zoo 1.000"


def test_stages_that_nobody_stated_are_dashes() -> None:
    assert stage_table([])[2:] == ["| generalisation | - | - |", "| specialisation | - | - |"]
