"""How the weights of learnt evidence are fitted, on trees whose truth is made here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import detector_weight, phylogeny_odds
from benchmarks.detector_weight import Told, effects, fitted, turned
from benchmarks.phylogeny_odds import Given, learnt, left_out

# Two members; the root's only edge, whose log-odds the detector gives.
EDGE = np.array([[0.0], [-1.0]])


def pair(own: float, odds: float) -> Told:
    """A tree of one edge, for the true direction of which `own` and `odds` speak."""
    return Told(np.array([0.0, -own]), EDGE, np.array([odds]))


def test_evidence_that_is_right_as_often_as_it_says_gets_a_weight_of_one() -> None:
    sure = np.log(9)
    pairs = [pair(0.0, sure if index % 10 else -sure) for index in range(200)]
    weight, loss = fitted([pairs], limit=4.0)
    assert weight == pytest.approx(1.0, abs=0.01)
    assert loss < np.log(2)


def test_evidence_that_says_nothing_gets_none() -> None:
    weight, loss = fitted([[pair(0.0, 2.0), pair(0.0, -2.0)]], limit=4.0)
    assert weight == pytest.approx(0.0, abs=0.01)
    assert loss == pytest.approx(np.log(2), abs=1e-3)


def test_log_odds_are_cut_off_at_the_limit_and_a_root_is_right_where_it_is_the_likeliest() -> None:
    assert pair(1.0, -100.0).loss(1.0, 2.0) == pair(1.0, -2.0).loss(1.0, 2.0)
    assert pair(1.0, -100.0).right(0.4, 2.0)
    assert not pair(1.0, -100.0).right(0.6, 2.0)


def test_roots_that_are_won_and_lost_are_counted_apart() -> None:
    zoo = [pair(-1.0, 4.0), pair(1.0, -4.0), pair(1.0, 4.0)]
    assert turned(zoo, 0.5, 4.0) == (1, 1)
    whole, own = effects({"ft-1": zoo}, 0.5, 4.0)
    assert whole.startswith("in force, limit 4.0, weight 0.5: loss ")
    assert own.startswith("  ft-1: loss ")
    assert own.endswith(", roots +1 -1 of 3")


def test_zoos_that_the_detector_was_not_trained_on_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "truth.json").write_text('{"zoo": "ft 5 x 4^2", "seed": 3, "models": {}}')
    assert detector_weight.main(["--learn", str(tmp_path)]) == 2
    assert "trained on other zoos" in capsys.readouterr().err
    assert phylogeny_odds.main([str(tmp_path)]) == 2
    assert "may be reported on" in capsys.readouterr().err


def test_odds_of_a_clustering_follow_the_share_of_true_pairs_and_of_true_directions() -> None:
    steady = [Given(2.0, adjacent=True, right=index % 10 > 0) for index in range(100)]
    loose = [Given(-1.0, adjacent=False, right=False) for _ in range(100)]
    found = learnt([steady + loose])
    assert found.adjacency == pytest.approx(0.0, abs=1e-3)
    assert found.direction == pytest.approx(np.log(9) / 2, abs=0.02)
    assert learnt([loose]).direction == 0
    assert left_out({"a": steady, "b": steady}) < 0.02
