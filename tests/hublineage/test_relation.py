"""`hublineage relation A B`: an answer for every two models, or one line that says why there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from commands import Command
from small_models import pretrained, write_model

from lineage.detector import RELATIONS

Populated = tuple[Command, Any]


def test_probabilities_of_every_relation_are_given(populated: Populated) -> None:
    command, _ = populated
    answer = command("relation", "oak/root", "oak/left", "--json")
    assert answer.code == 0, answer.err
    assert answer.json["models"] == ["oak/root", "oak/left"]
    assert tuple(answer.json["probabilities"]) == RELATIONS
    assert sum(answer.json["probabilities"].values()) == pytest.approx(1)
    assert answer.json["probabilities"]["unrelated"] < 0.5


@pytest.mark.parametrize("alone", [[], ["--alone"]])
def test_asked_the_other_way_round_the_names_are_exchanged_and_the_numbers_the_same(
    populated: Populated, alone: list[str]
) -> None:
    command, _ = populated
    there = command("relation", "oak/left-a", "oak/left", "--json", *alone).json["probabilities"]
    back = command("relation", "oak/left", "oak/left-a", "--json", *alone).json["probabilities"]
    other = {"parent": "child", "child": "parent"}
    for name, probability in there.items():
        older, younger = name.replace("ancestor", "descendant"), name.replace("descendant", "ancestor")
        exchanged = other.get(name) or (older if older != name else younger)
        assert back[exchanged] == probability


def test_trees_are_strangers_to_each_other(populated: Populated) -> None:
    command, _ = populated
    answer = command("relation", "oak/left", "elm/child", "--json").json
    assert answer["relation"] == "unrelated"


def test_people_are_told_in_words(populated: Populated) -> None:
    command, _ = populated
    answer = command("relation", "oak/root", "oak/right")
    assert answer.code == 0
    assert "oak/root is, to oak/right:" in answer.out
    assert "compared in " in answer.out


@pytest.mark.parametrize(
    ("names", "what"),
    [(("oak/root", "oak/root"), "are one model"), (("oak/root", "oak/rooot"), "did you mean oak/root")],
)
def test_what_names_no_two_models_is_refused(populated: Populated, names: tuple[str, str], what: str) -> None:
    command, _ = populated
    answer = command("relation", *names)
    assert answer.code == 2
    assert what in answer.err


def test_copies_models_of_another_family_and_models_without_measures_each_get_their_answer(
    command: Command, tmp_path: Path
) -> None:
    first = pretrained(1)
    for name, tensors in {
        "here/one": first,
        "here/same": first,
        "here/wide": pretrained(2, width=40),
        "here/wide-too": pretrained(3, width=40),
    }.items():
        write_model(tmp_path, name, tensors)
    assert command("run", "--folder", tmp_path, "--json").code == 0
    copies = command("relation", "here/one", "here/same", "--json").json
    assert copies["relation"] == "duplicates"
    assert copies["probabilities"]["duplicates"] == 1.0
    apart = command("relation", "here/one", "here/wide", "--json")
    assert apart.code == 0, apart.err
    assert apart.json["relation"] == "unrelated"
    assert any("not compared" in note for note in apart.json["notes"])
    write_model(tmp_path, "here/late", pretrained(4))
    assert command("crawl", "--folder", tmp_path).code == 0
    late = command("relation", "here/one", "here/late")
    assert late.code == 3
    assert "hublineage measure comes first" in late.err


def test_the_method_makes_a_run_of_its_own(command: Command, models: Path) -> None:
    assert command("run", "--folder", models, "--method", "detector", "--json", "--weights-only").code == 0
    assert command.rows("SELECT DISTINCT method FROM runs") == [("detector",)]
