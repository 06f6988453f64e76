"""Every command once, on a real small catalogue: what it prints for people, its JSON, and its exit codes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
from commands import Answer, Command, one_line
from small_models import LINEAGE

from db import embedded

COMMANDS = (
    "run", "crawl", "measure", "infer", "compare", "tree", "show", "status", "db", "db start", "db stop", "db upgrade",
    "db url", "db psql", "hub", "hub serve", "export", "relation", "runs", "runs pin", "runs unpin", "runs prune",
    "diff", "enqueue", "licences", "worker", "schedule", "jobs", "config",
)  # fmt: skip


def as_json(answer: Answer) -> Any:
    assert answer.code == 0, answer.err
    return answer.json


def plain(answer: Answer) -> str:
    assert answer.code == 0, answer.err
    return answer.out


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_says_what_a_command_does(command: Command, name: str) -> None:
    text = plain(command(*name.split(), "--help"))
    assert "Usage" in text
    assert len(text.splitlines()) > 4


def test_unknown_commands_and_options_are_wrong_usage(command: Command) -> None:
    for arguments in (["walk"], ["tree"], ["tree", "a/b", "--unknown"], ["db", "fly"], ["crawl", "--limit", "0"]):
        answer = command(*arguments)
        assert (answer.code, answer.out) == (2, ""), arguments
        assert "Traceback" not in answer.err


def test_tree_draws_the_tree_of_a_model(populated: tuple[Command, Any]) -> None:
    command, result = populated
    drawn = plain(command("tree", "oak/left-a"))
    assert all(name in drawn for name in LINEAGE if name.startswith("oak"))
    assert "elm" not in drawn
    assert "both" in drawn
    (family,) = result["families"]
    assert as_json(command("tree", "OAK/left-a", "--json")) == next(
        tree for tree in family["trees"] if "oak/left-a" in tree["models"]
    )


def test_show_says_all_that_is_known_of_a_model(populated: tuple[Command, Any]) -> None:
    command, result = populated
    shown = plain(command("show", "oak/left-b"))
    assert "oak/left" in shown
    assert "evidence" in shown or "direction" in shown
    found = as_json(command("show", "oak/left", "--json"))
    assert found["model"] == "oak/left"
    assert [(row["name"], row["source"], row["kind"]) for row in found["declared"]] == [("oak/root", "card", "hub")]
    around = {row["model"] for row in [*found["parents"], *found["children"]]}
    assert around == {"oak/root", "oak/left-a", "oak/left-b"}
    assert found["verdict"] == next(row for row in result["verdicts"] if row["model"] == "oak/left")
    assert as_json(command("show", "fir/copy", "--json"))["duplicates"] == ["elm/child"]


def test_status_counts_what_there_is(populated: tuple[Command, Any], models: Path) -> None:
    command, _ = populated
    (source,) = as_json(command("status", "--json"))["sources"]
    assert source["source"] == models.as_uri()
    assert source["counts"]["repositories"] == len(LINEAGE) + 1
    assert source["counts"]["inferred_edges"] == len(LINEAGE) + 1 - 2
    assert source["pending"] == {}
    assert source["failures"] == []
    assert re.search(r"repositories\s+10", plain(command("status")))


def test_an_unknown_model_is_answered_with_the_nearest_names(populated: tuple[Command, Any]) -> None:
    command, _ = populated
    for name in ("oak/lefft", "left"):
        for asked in ("tree", "show"):
            answer = command(asked, name, "--json")
            assert (answer.code, answer.out) == (2, "")
            assert "oak/left" in one_line(answer)
    assert "status" in one_line(command("show", "zzzzzzzz"))


def test_the_stages_one_by_one_make_what_run_makes(
    command: Command, populated: tuple[Command, Any], models: Path
) -> None:
    assert as_json(command("crawl", "--folder", models, "--json")) == {
        "kind": "full",
        "listed": 10,
        "described": 10,
        "removed": 0,
    }
    (source,) = as_json(command("status", "--json"))["sources"]
    assert source["pending"] == {"models to measure": 10, "families to infer": 1}
    assert "not described" not in plain(command("show", "oak/root"))
    assert "oak/root is in no tree: its family" in one_line(command("tree", "oak/root"))
    assert one_line(command("tree", "oak/root")).endswith("was never measured")
    assert as_json(command("measure", "--json"))["layers"] == 11
    assert "0 layers" in plain(command("measure", "--folder", models))
    assert len(as_json(command("infer", "--weights-only", "--json"))["runs"]) == 1
    verdicts = as_json(command("compare", "--json"))["verdicts"]
    assert verdicts == populated[1]["verdicts"]
    assert "agrees" in plain(command("compare"))
    assert "described 0" in plain(command("crawl", "--folder", models))
    assert plain(command("infer", "--method", "mother")).startswith("runs")


def test_stages_on_an_empty_catalogue_have_nothing_to_do(command: Command, models: Path) -> None:
    for stage in ("measure", "infer", "compare"):
        answer = command(stage)
        assert answer.code == 3
        assert "crawl comes first" in one_line(answer)
        answer = command(stage, "--folder", models)
        assert answer.code == 2
        assert "was not crawled yet" in one_line(answer)
    nothing = {"sources": [], "quotas": [], "queue": {"jobs": {}, "given_up": []}}
    assert as_json(command("status", "--json")) == nothing
    assert "empty" in plain(command("status"))


def test_run_prints_trees_and_a_table_for_people(command: Command, models: Path) -> None:
    printed = plain(command("run", "--folder", models, "--weights-only"))
    for word in ("family tiny", "oak/left-a", "duplicates", "declared against inferred", "agrees"):
        assert word in printed


def test_db_commands_speak_of_the_server_that_database_url_names(
    command: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    assert plain(command("db", "url")).strip() == command.url
    assert re.fullmatch(r"\w+\n", plain(command("db", "upgrade")))
    assert command("db", "psql", "-tAc", "SELECT 40 + 2").code == 0
    assert capfd.readouterr().out == "42\n"
    assert command("db", "psql", "-c", "SELECT nonsense").code == 1
    for refused in ("start", "stop"):
        answer = command("db", refused)
        assert answer.code == 2
        assert "DATABASE_URL" in one_line(answer)


def test_the_embedded_server_runs_from_start_to_stop(tmp_path: Path, models: Path) -> None:
    own = Command(None)
    data = ("--data-dir", tmp_path / "data")
    answer = own("db", "url", *data)
    assert answer.code == 2
    assert "db start" in one_line(answer)
    try:
        url = plain(own("db", "start", *data)).strip()
        assert plain(own("db", "url", *data)).strip() == url
        assert plain(own("crawl", "--folder", models, *data)).startswith("listed 10")
        with psycopg.connect(url) as connection:  # it is still there after a command that used it
            assert connection.execute("SELECT count(*) FROM hublineage.models").fetchone() == (10,)
        assert plain(own("db", "stop", *data)).strip() == "stopped"
        assert plain(own("db", "stop", *data)).strip() == "was not running"
    finally:
        embedded.stop(tmp_path / "data")
