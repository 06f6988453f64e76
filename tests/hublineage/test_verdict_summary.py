"""Coverage, agreement, precision and recall, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from db.errors import UsageError
from hublineage.verdict_summary import Judged, Truth, read_truth, scored, summary

MODELS = (
    Judged("a/one", "agrees", declares=True, architecture="Llama", relation="finetune"),
    Judged("a/two", "ancestor", declares=True, architecture="Llama", relation="merge"),
    Judged("a/three", "undecided", declares=True, architecture="Bert", relation="finetune"),
    Judged("b/four", "root", declares=False, architecture="Bert"),
    Judged("b/five", "undeclared", declares=False),
    Judged("six", "unmeasured", declares=True, relation="adapter"),
)
TRUTH = Truth({"a/one": ("b/four",), "a/two": ("a/one",), "b/four": (), "b/five": ("b/four",), "six": ("a/one",)})


def test_coverage_is_what_weights_speak_of_and_agreement_is_among_those_that_declare() -> None:
    found = summary(MODELS)["all"]
    assert (found["models"], found["declaring"]) == (6, 4)
    assert (found["coverage"], found["agreement"]) == (round(4 / 6, 4), 0.5)
    assert sum(found["verdicts"].values()) == 6
    assert summary([])["all"]["coverage"] is None


def test_groups_are_by_organisation_architecture_and_declared_relation() -> None:
    found = summary(MODELS)
    assert [(row["group"], row["models"]) for row in found["organisation"]] == [("a", 3), ("b", 2), ("(none)", 1)]
    assert [(row["group"], row["models"]) for row in found["architecture"]] == [
        ("(not known)", 2),
        ("Bert", 2),
        ("Llama", 2),
    ]
    assert [row["group"] for row in found["relation"]] == ["(nothing declared)", "finetune", "adapter", "merge"]
    assert set(summary(MODELS, ["relation"])) == {"all", "relation"}


def test_precision_and_recall_are_of_decided_edges_between_what_was_measured() -> None:
    inferred = [("b/four", "a/one"), ("b/four", "a/two"), ("x/unknown", "a/one")]
    declared = [("b/four", "a/one"), ("a/one", "a/two"), ("b/four", "b/five")]
    by = scored(TRUTH, inferred, declared, {model.model for model in MODELS[:5]}, [])
    assert by.true == {("b/four", "a/one"), ("a/one", "a/two"), ("b/four", "b/five")}  # six was not measured
    found = summary(MODELS, truth=TRUTH, by=by)
    told = found["all"]["truth"]
    assert (told["precision"], told["recall"]) == (0.5, round(1 / 3, 4))
    assert (told["declared precision"], told["declared recall"]) == (1, 1)
    assert told["models that the truth does not know"] == 1
    by_name = {row["group"]: row["truth"] for row in found["organisation"]}
    assert (by_name["b"]["precision"], by_name["b"]["recall"]) == (None, 0)


def test_models_of_equal_weights_count_as_one() -> None:
    truth = Truth({"o/root": (), "o/child": ("o/root",), "o/copy": ("o/child",)})
    by = scored(truth, [("o/root", "o/copy")], [], ["o/root", "o/child", "o/copy"], [["o/child", "o/copy"]])
    assert by.inferred == by.true == {("o/root", "o/child")}


def test_verdicts_are_held_against_those_that_the_truth_states() -> None:
    truth = Truth({}, {"a/one": "agrees", "a/two": "agrees"})
    told = summary(MODELS, truth=truth, by=scored(truth, [], [], [], []))["all"]["truth"]
    assert told["verdicts as stated"] == 0.5


@pytest.mark.parametrize(
    "content",
    [{"models": {"a": {"parents": ["b"], "verdict": "agrees"}}}, {"a": ["b"]}, {"models": {"a": ["b"]}}],
)
def test_a_truth_may_be_written_short(tmp_path: Path, content: Any) -> None:
    (tmp_path / "truth.json").write_text(json.dumps(content))
    assert read_truth(tmp_path / "truth.json").parents == {"a": ("b",)}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "expected"),
        ("{", "no JSON"),
        ('{"models": {"a": {"parents": "b"}}}', "the parents of a"),
        ("{}", "expect"),
    ],
)
def test_a_file_that_is_no_truth_is_refused_in_words(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "truth.json").write_text(content)
    with pytest.raises(UsageError, match=said):
        read_truth(tmp_path / "truth.json")
    with pytest.raises(UsageError, match="No such file"):
        read_truth(tmp_path / "nowhere.json")
