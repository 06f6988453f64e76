"""Runs through time: listed, compared, pinned and removed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import Command
from small_models import write_model

from hublineage.cli_runs import variant


@pytest.fixture
def twice(command: Command, models: Path) -> Command:
    """A catalogue whose family was inferred by two methods; the second answers."""
    assert command("run", "--folder", models, "--json").code == 0
    assert command("infer", "--method", "mother", "--json").code == 0
    return command


def test_runs_are_listed_with_the_one_that_answers(twice: Command) -> None:
    found = twice("runs", "--json").json["runs"]
    assert [row["method"] for row in found] == ["mother", "recover"]
    assert [row["is_current"] for row in found] == [True, False]
    assert all(row["members"] > 0 and row["trees"] > 0 for row in found)
    assert found[0]["parameters"]["metric"] == "fine-tune"
    assert "mother" in twice("runs", "--family", found[0]["family"]).out


def test_variants_of_a_method_are_told_apart_in_the_list() -> None:
    assert variant("recover", {"whole": 1000}) == "recover"
    assert variant("recover", {"detector": True}) == "recover (detector)"
    phylogeny = {"clustering": "dbscan", "initialisation": "centroid", "trees": None}
    assert variant("phylogeny", phylogeny) == "phylogeny (dbscan, centroid)"
    assert variant("mother", {"metric": "low-rank", "trees": 2}) == "mother (low-rank, 2 trees)"


def test_two_runs_of_a_family_are_told_apart_by_what_they_came_from(twice: Command) -> None:
    newest, oldest = (row["number"] for row in twice("runs", "--json").json["runs"])
    found = twice("diff", oldest, newest, "--json").json
    assert {"what": "method", "before": "recover", "after": "mother"} in found["settings"]
    assert found["joined"] == found["left"] == []
    assert twice("diff", newest, "--json").json == found
    family = twice("runs", "--json").json["runs"][0]["family"]
    assert twice("diff", family, "--json").json == found
    words = twice("diff", family).out
    assert "  method: recover -> mother" in words
    assert "parameter method" not in words


def test_a_run_against_itself_answers_the_same(twice: Command) -> None:
    assert twice("diff", 1, 1, "--json").json["same"]
    assert "they answer the same" in twice("diff", 1, 1).out


def test_a_member_that_joined_is_named_with_the_edges_it_changed(
    command: Command, models: Path, tmp_path: Path
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    folders = sorted(path for path in models.glob("*/*") if path.is_dir())
    for folder in folders[:-1]:
        (few / folder.parent.name).mkdir(exist_ok=True)
        (few / folder.parent.name / folder.name).symlink_to(folder, target_is_directory=True)
    assert command("run", "--folder", few, "--json").code == 0
    last = folders[-1]
    (few / last.parent.name).mkdir(exist_ok=True)
    (few / last.parent.name / last.name).symlink_to(last, target_is_directory=True)
    assert command("run", "--folder", few, "--json").code == 0
    family = next(row["family"] for row in command("runs", "--json").json["runs"] if row["is_current"])
    found = command("diff", family, "--json").json
    assert found["joined"] == [f"{last.parent.name}/{last.name}"]
    assert any(found["joined"][0] + " joined" in change["because"] for change in found["edges"])


def test_old_runs_go_but_those_that_answer_are_pinned_or_have_verdicts(twice: Command) -> None:
    # The verdicts still rest on the first run.
    assert twice("runs", "prune", "--keep", 0, "--json").json == {"runs": [], "batches": [], "dry_run": False}
    assert twice("compare", "--json").code == 0
    assert twice("runs", "pin", 1).code == 0
    assert twice("runs", "prune", "--keep", 0, "--json").json["runs"] == []
    assert twice("runs", "unpin", 1).code == 0
    assert twice("runs", "prune", "--keep", 1, "--json").json["runs"] == []
    assert twice("runs", "prune", "--keep", 0, "--dry-run", "--json").json["runs"] == [1]
    assert len(twice("runs", "--json").json["runs"]) == 2
    verdicts = twice.rows("SELECT count(*) FROM verdicts")
    assert twice("runs", "prune", "--keep", 0, "--json").json["runs"] == [1]
    assert [row["number"] for row in twice("runs", "--json").json["runs"]] == [2]
    assert twice.rows("SELECT count(*) FROM verdicts") == verdicts


def test_measures_of_earlier_versions_go_once_they_were_taken_anew(twice: Command) -> None:
    twice.execute(
        "INSERT INTO measure_batches (family_id, metric_version, members, against, finished_at)"
        " SELECT family_id, 1, members, against, finished_at FROM measure_batches"
    )
    removed = twice("runs", "prune", "--json").json["batches"]
    assert len(removed) == 1
    assert twice.rows("SELECT count(*) FROM measure_batches WHERE metric_version = 1") == [(0,)]
    twice.execute("UPDATE measure_batches SET metric_version = 1")
    assert twice("runs", "prune", "--json").json["batches"] == []


def test_what_is_not_there_gets_an_answer_that_says_why(command: Command, models: Path, tmp_path: Path) -> None:
    assert "no family was inferred yet" in command("runs").err
    assert command("runs").code == 3
    assert "no other yet" in command("diff", 7).err
    assert command("run", "--folder", models, "--json").code == 0
    family = command("runs", "--json").json["runs"][0]["family"]
    assert "there is no run 99; there are 1" in command("diff", 1, 99).err
    assert f"the nearest are {family}" in command("diff", family[:-1]).err
    assert "inferred only once" in command("diff", family).err
    assert "the first of its family" in command("diff", 1).err
    assert command("runs", "pin", 99).code == 2
    other = tmp_path / "other"
    write_model(other, "a/one", {"deep.weight": np.arange(64, dtype=np.float32).reshape(8, 8)})
    assert command("run", "--folder", other, "--json").code == 0
    numbers = [row["number"] for row in command("runs", "--json").json["runs"]]
    assert "different families" in command("diff", min(numbers), max(numbers)).err


def test_the_history_of_edges_keeps_those_that_a_later_run_does_not_have(twice: Command) -> None:
    rows = twice.rows("SELECT method, first_run, last_run, is_current FROM hublineage.edge_history")
    assert {row[:3] for row in rows} == {("recover", 1, 1), ("mother", 2, 2)}
    assert all(current == (method == "mother") for method, _, _, current in rows)
