"""The recovery benchmark on a zoo whose models are made here."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import recovery, recovery_zoos
from benchmarks.pages import markers
from benchmarks.recovery_methods import CEILING, METHODS, OURS, Answer, Given, with_true_roots, with_twins
from benchmarks.recovery_report import NAME, TARGETS, document
from benchmarks.recovery_scores import Result, calibrated, results, scored, spread, statements
from benchmarks.recovery_zoos import Family, Truth, measured, open_zoo, truth_of, twins
from benchmarks.zoo.splits import SPLITS
from tests.benchmarks.small_zoo import measure, write_zoo


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recovery_zoos, "measure_folder", measure)
    return write_zoo(tmp_path / "ft-2")


def test_every_method_is_scored_and_ours_finds_the_tree(folder: Path) -> None:
    found = {one.method: one for one in results(open_zoo(folder), measure())}
    assert tuple(found) == METHODS
    ours = found[OURS].score
    assert (ours.true_edges, ours.undirected, ours.adjusted_rand) == (3, 1.0, 1.0)
    assert (ours.strangers, ours.false_parents) == (1, 0)
    assert found[OURS].groups == (1, 1, 0)
    assert found[CEILING].score.directed == 1
    assert found["MST, kurtosis root"].score.undirected == 1
    assert {one.what for one in found[OURS].statements} == {"confidence", "adjacency", "direction", "stage"}
    assert not found["mother"].statements


def test_equal_files_are_twins_and_equal_values_are_copies(folder: Path) -> None:
    zoo = open_zoo(folder)
    assert twins(zoo, measure()) == {"z/twin": "z/b"}
    assert truth_of(zoo).copies == (("z/b", "z/twin"),)


def test_folds_are_children_of_what_is_never_shown(folder: Path) -> None:
    zoo = open_zoo(folder)
    told = {**zoo.models["z/root"], "initialisation": "z/start"}
    truth = truth_of(replace(zoo, content={**zoo.content, "models": {**zoo.models, "z/root": told}}))
    assert truth.parents["z/root"] == ("initialisation z/start",)
    assert set(truth.parents["z/root"]) <= truth.absent


def test_measures_are_kept_and_made_anew_where_they_do_not_fit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo, asked = open_zoo(folder), list[int]()

    def counted(*_: Any) -> list[Family]:
        asked.append(1)
        return measure()

    monkeypatch.setattr(recovery_zoos, "measure_folder", counted)
    first, again = measured(zoo, tmp_path / "kept"), measured(zoo, tmp_path / "kept")
    assert len(asked) == 1
    np.testing.assert_array_equal(first[0][0].squared_distance, again[0][0].squared_distance)
    fewer = {name: one for name, one in zoo.models.items() if name != "z/c"}
    measured(replace(zoo, content={**zoo.content, "models": fewer}), tmp_path / "kept")
    assert len(asked) == 2


def test_the_command_writes_page_plots_and_figures(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n{}\nstale\n{}\nafter\n".format(*markers(NAME)))
    tuned = write_zoo(tmp_path / "ft-1", seed=1)
    plots, figures = tmp_path / "plots", tmp_path / "all.json"
    arguments = [*map(str, (folder, tuned)), "--write", "--page", str(page), "--plots", str(plots)]
    assert recovery.main([*arguments, "--json", str(figures)]) == 0
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "stale" not in text
    assert "Reported on: ft-2. Tuned on, and shown apart: ft-1." in text
    assert "### Zoos that were tuned on" in text
    assert {path.name for path in plots.iterdir()} == {"directed.svg", "reliability.svg"}
    told = json.loads(figures.read_text())
    assert len(told) == 2 * len(METHODS)
    assert set(told[0]["calibration_error"]) == {"confidence", "adjacency", "direction"}
    assert "ft-1 (tuned on)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no zoos"),
        (["nowhere"], "no finished zoo"),
        (["ZOO", "--write", "--page", "/nonexistent/page.md"], "No such file"),
    ],
)
def test_what_makes_no_sense_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert recovery.main([str(folder) if one == "ZOO" else one for one in arguments]) == 2
    assert said in capsys.readouterr().err


def test_zoos_that_were_tuned_on_are_refused_where_only_others_are_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_zoo(tmp_path / "renamed", seed=1)
    assert recovery.main([str(folder), "--untuned"]) == 2
    assert "ft-1" in capsys.readouterr().err


def test_a_missing_zoo_is_grown_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = []

    def grow(plan: Any, out: Path, jobs: int, store: Path | None) -> None:
        grown.append((plan.name, plan.seed, out.name, jobs, store))
        shutil.copytree(folder, out)

    monkeypatch.setattr(recovery_zoos, "grow", grow)
    arguments = ["--grow", "ft", "--seeds", "2", "--trees", "1", "--zoos", str(tmp_path / "zoos")]
    for _ in range(2):
        assert recovery.main(arguments) == 0
    assert grown == [("ft 1 x 4^2", 2, "ft-2", 1, None)]


TRUTH = Truth({"r": (), "a": ("r",), "b": ("r",), "m": ("a", "b")}, merges={"m": {"a": 0.5, "b": 0.5}})


def test_true_roots_turn_the_tree_and_leave_the_lighter_parents_of_a_merge() -> None:
    heavy, light = Given("a", "m", evidence={"weight": 0.7}), Given("b", "m", evidence={"weight": 0.3})
    answer = Answer((("a", ("a", "r", "b", "m")),), (Given("a", "r"), Given("r", "b"), light, heavy))
    turned = with_true_roots(answer, TRUTH)
    assert turned.trees[0][0] == "r"
    assert {edge.pair for edge in turned.edges} == {("r", "a"), ("r", "b"), ("a", "m"), ("b", "m")}
    assert answer.merges == {"m": {"a": 0.7, "b": 0.3}}


def test_the_base_of_task_arithmetic_costs_no_precision_and_states_nothing() -> None:
    truth = replace(TRUTH, bases={"m": "r"})
    edges = tuple(Given(*pair) for pair in (("r", "a"), ("r", "b"), ("a", "m"), ("b", "m"), ("r", "m")))
    answer = Answer((("r", ("r", "a", "b", "m")),), edges)
    assert scored(answer, truth).precision == 1
    assert len(statements(answer, truth)) == 4


def test_directions_are_asked_of_true_edges_only() -> None:
    evidence = {"adjacency": 0.9, "direction": 0.6}
    edges = tuple(Given(*pair, confidence=0.54, evidence=evidence) for pair in (("r", "a"), ("b", "r"), ("b", "a")))
    told = statements(Answer((), edges), TRUTH)
    right = {what: [one.right for one in told if one.what == what] for what in ("confidence", "adjacency", "direction")}
    assert right == {
        "confidence": [True, False, False],
        "adjacency": [True, True, False],
        "direction": [True, False],
    }


def test_twins_join_the_group_and_the_tree_of_the_one_that_was_measured() -> None:
    answer = with_twins(Answer((("r", ("r", "a", "b")),), (), (("a", "b"),)), {"t": "b", "u": "r"})
    assert answer.trees == (("r", ("r", "a", "b", "u", "t")),)
    assert set(answer.duplicates) == {("a", "b", "t"), ("r", "u")}


def test_spread_is_over_seeds_that_have_a_value(folder: Path) -> None:
    one = next(iter(results(open_zoo(folder), measure())))
    both = [one, replace(one, seed=3, score=replace(one.score, directed=0.5, roots=float("nan")))]
    assert spread(both, lambda r: r.score.roots).seeds == 1
    of = spread(both, lambda r: r.score.directed)
    assert of.mean == pytest.approx((one.score.directed + 0.5) / 2)
    assert calibrated(both, "confidence").count.sum() == 2 * calibrated([one], "confidence").count.sum()
    assert f"± {of.deviation:.3f}" in document(both, [], [])


def test_what_falls_short_says_so(folder: Path) -> None:
    found: list[Result] = results(open_zoo(folder), measure())
    worse = [replace(one, score=replace(one.score, directed=0.5)) for one in found]
    assert "| FT | directed edges | 0.97 | 0.500 (1 zoo) **short** | - |" in document(worse, [], [])
    better = [replace(one, score=replace(one.score, directed=1.0)) for one in found]
    assert "| FT | directed edges | 0.97 | 1.000 (1 zoo) | - |" in document(better, [], [])


def test_every_target_names_a_split_that_there_is() -> None:
    assert all(set(target.splits) & set(SPLITS) for target in TARGETS)
    assert not {split for target in TARGETS for split in target.splits} - set(SPLITS)
