"""Kinds of networks are judged by weights that were learnt from other kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import recovery_zoos, unseen
from benchmarks.learn import LEARNING, learnt_from
from benchmarks.learning_zoos import LearningZoo
from benchmarks.pages import markers
from benchmarks.recovery_zoos import open_zoo
from lineage.learnt import Learnt, in_force, learnt, shipped
from tests.benchmarks.small_zoo import measure, write_zoo


@pytest.fixture
def zoos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Folders by kind; GPT-2 and Llama are one kind."""
    monkeypatch.setattr(recovery_zoos, "measure_folder", measure)
    monkeypatch.setattr(unseen, "learnt_from", told_from)
    return {name: write_zoo(tmp_path / name, kind=name) for name in ("vit", "gpt2", "llama")}


def told_from(asked: Mapping[str, Sequence[LearningZoo]], before: Learnt) -> Learnt:
    """The weights of before, as if they came from these zoos, which are too small to learn from."""
    return replace(before, zoos=tuple(zoo.name for zoo in asked["learn"]))


def test_no_zoo_of_the_kind_that_is_judged_is_learnt_from(
    zoos: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = [LearningZoo(open_zoo(folder), tmp_path) for folder in zoos.values()]
    in_use: list[tuple[str, ...]] = []

    def ours(zoo: recovery_zoos.Zoo, families: list[recovery_zoos.Family]) -> object:
        in_use.append((zoo.folder.name, *learnt().zoos))
        return scored(zoo, families)

    scored = unseen.ours
    monkeypatch.setattr(unseen, "ours", ours)
    found = unseen.judged(dict.fromkeys(LEARNING, opened), [opened[0], opened[2]])
    assert in_use[0] == ("vit", "gpt2", "llama")
    assert in_use[1] == ("vit", *shipped().zoos)
    assert in_use[2] == ("llama", "vit")
    assert [[one.architecture for one in some] for some in found["decoder"]] == [["llama"], ["llama"]]


def test_other_weights_are_in_force_for_a_while() -> None:
    before = learnt()
    other = replace(before, uneven=0.0)
    with in_force(other):
        assert learnt() is other
    assert learnt() is before


def test_the_command_writes_a_table_and_a_plot(
    zoos: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text("{}\n{}\n".format(*markers(unseen.NAME)))
    learning = [word for option in LEARNING for word in (f"--{option}", str(zoos["gpt2"]), str(zoos["vit"]))]
    options = ["--measures", str(tmp_path), "--page", str(page), "--plots", str(tmp_path / "plots"), "--write"]
    assert unseen.main([*learning, "--report", str(zoos["llama"]), *options]) == 0
    text = page.read_text()
    assert "| decoder | 1 |" in text
    assert "| all | 1 |" in text
    assert "Reported on: ft-2." in text
    assert (tmp_path / "plots" / "unseen.svg").exists()
    assert "| decoder | 1 |" in capsys.readouterr().out


def test_a_kind_that_alone_is_there_to_learn_from_is_not_judged(
    zoos: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = [LearningZoo(open_zoo(zoos[name]), tmp_path) for name in ("gpt2", "llama")]
    assert unseen.judged(dict.fromkeys(LEARNING, opened[:1]), opened[1:]) == {}
    assert "decoder: not judged, as --learn has no zoo of another kind" in capsys.readouterr().err


def test_what_is_learnt_from_is_not_reported_on(zoos: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        unseen.main(["--learn", str(zoos["vit"]), "--report", str(zoos["vit"])])
    assert "learnt from and reported on" in capsys.readouterr().err


def test_zoos_without_siblings_teach_nothing_of_absent_parents(zoos: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no group of siblings"):
        learnt_from({"absent": [LearningZoo(open_zoo(zoos["vit"]), tmp_path)]}, shipped())
