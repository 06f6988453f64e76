"""The fixed contract of `hublineage run`: one JSON object on stdout, exit codes, and what a second run does."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command, NewDatabase, finished, one_line, program
from small_models import LINEAGE, TRUE_EDGES, card, lineage, renamed, trained_on, write_lineage, write_model

RESULT = {"families", "duplicates", "verdicts", "failures"}
EDGE = {"parent", "child", "relation", "confidence", "decided"}
# Tables that a second run adds nothing to; `crawls` is the log of listings.
TABLES = (
    "repositories", "revisions", "files", "layouts", "tensor_specs", "declared_parents", "failures", "families",
    "family_layers", "measure_batches", "layer_measures", "runs", "clusters", "cluster_members", "edges", "duplicates",
    "verdicts",
)  # fmt: skip


def trees(result: Any) -> set[frozenset[str]]:
    return {frozenset(tree["models"]) for family in result["families"] for tree in family["trees"]}


def edges(result: Any) -> set[tuple[str, str, str]]:
    found = [edge for family in result["families"] for tree in family["trees"] for edge in tree["edges"]]
    return {(edge["parent"], edge["child"], edge["relation"]) for edge in found}


def counts(command: Command) -> dict[str, int]:
    return {table: command.rows(f"SELECT count(*) FROM {table}")[0][0] for table in TABLES}  # our own names


def check_shape(result: Any) -> None:
    """The keys and types that other programs rely on."""
    assert set(result) == RESULT
    for family in result["families"]:
        assert isinstance(family["family"], str)
        assert sorted(family["models"]) == sorted(one for tree in family["trees"] for one in tree["models"])
        for tree in family["trees"]:
            assert tree["root"] is None or tree["root"] in tree["models"]
            for edge in tree["edges"]:
                assert set(edge) >= EDGE
                assert {edge["parent"], edge["child"]} <= set(tree["models"])
                assert 0 <= edge["confidence"] <= 1
                assert isinstance(edge["decided"], bool)
    for row in result["verdicts"]:
        assert set(row) >= {"model", "declared", "inferred", "verdict", "why"}
    for row in result["failures"]:
        assert set(row) >= {"model", "file", "tensor", "reason"}


def test_the_program_prints_one_json_object_and_keeps_progress_to_stderr(models: Path, tmp_path: Path) -> None:
    arguments = ("run", "--folder", models, "--json", "--weights-only", "--data-dir", tmp_path / "data")
    answer = finished(program(*arguments, DATABASE_URL=None))
    assert answer.code == 0, answer.err
    check_shape(answer.json)
    assert "measure" in answer.err
    assert trees(answer.json) == {
        frozenset(name for name in LINEAGE if name.startswith("oak")),
        frozenset(name for name in (*LINEAGE, "fir/copy") if not name.startswith("oak")),
    }
    truth = {frozenset(edge) for edge in TRUE_EDGES} | {frozenset(("elm/child", "fir/copy"))}
    assert {frozenset(edge[:2]) for edge in edges(answer.json)} == truth
    assert answer.json["duplicates"] == [["elm/child", "fir/copy"]]
    assert answer.json["failures"] == []
    assert {row["model"] for row in answer.json["verdicts"]} == {*LINEAGE, "fir/copy"}
    assert not (tmp_path / "data/postgres/postmaster.pid").exists()
    again = finished(program(*arguments, DATABASE_URL=None))
    assert again.json == answer.json


def test_the_papers_method_answers_in_the_same_shape(command: Command, models: Path) -> None:
    for metric in ("fine-tune", "low-rank"):
        answer = command("run", "--folder", models, "--json", "--method", "mother", "--metric", metric)
        assert answer.code == 0, answer.err
        check_shape(answer.json)
        assert answer.json["families"][0]["method"] == "mother"
        assert len(trees(answer.json)) == 2


def test_more_trees_than_models_are_as_many_as_there_are_models(command: Command, models: Path) -> None:
    answer = command("run", "--folder", models, "--json", "--method", "mother", "--trees", 50)
    assert answer.code == 0, answer.err
    check_shape(answer.json)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--unknown",),
        ("--method", "magic"),
        ("--endpoint", "http://127.0.0.1:1"),
        ("--memory", "plenty"),
        ("--memory", "1K"),
        ("--trees", "0"),
        ("--metric", "miles"),
        ("--device", "abacus"),
    ],
)
def test_wrong_usage_is_exit_2_and_one_clear_line(command: Command, models: Path, arguments: tuple[str, ...]) -> None:
    answer = command("run", "--folder", models, "--json", *arguments)
    assert answer.code == 2
    assert answer.out == ""
    assert "Traceback" not in answer.err
    assert arguments[0].lstrip("-") in answer.err


def test_a_run_without_any_source_is_wrong_usage(command: Command) -> None:
    answer = command("run", "--json")
    assert answer.code == 2
    assert "--author" in one_line(answer)


def test_a_folder_that_is_missing_or_empty_is_exit_3(command: Command, tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path):
        answer = command("run", "--folder", folder, "--json")
        assert answer.code == 3
        assert str(folder) in one_line(answer)


def test_an_unreachable_hub_is_exit_3(command: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
    answer = command("run", "--endpoint", address, "--json")
    assert answer.code == 3
    assert address in one_line(answer)


@contextmanager
def wrong_addresses(url: str) -> Iterator[dict[str, str]]:
    """Addresses of databases that are none, and what the message must say."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    yield {
        "mysql://somebody@localhost/models": "not a PostgreSQL address",
        "no address": "expected postgresql://",
        "postgresql://user:secret@host:port/name": "expected postgresql://",
        f"postgresql://user:secret@127.0.0.1:{port}/models": f"127.0.0.1:{port}",
        url.replace("/command_", "/missing_"): "does not exist",
        url.replace("://postgres", "://stranger"): "stranger",
    }


def test_a_wrong_database_url_is_exit_3_and_tells_no_password(command: Command, models: Path) -> None:
    with wrong_addresses(command.url) as wrong:
        for address, said in wrong.items():
            answer = Command(address)("run", "--folder", models, "--json")
            assert (answer.code, answer.out) == (3, ""), address
            assert said in one_line(answer)
            assert "secret" not in answer.err


def test_the_program_itself_ends_with_3_without_a_traceback(models: Path) -> None:
    answer = finished(program("run", "--folder", models, "--json", DATABASE_URL="mysql://x@y/z"))
    assert (answer.code, answer.out) == (3, "")
    assert "not a PostgreSQL address" in one_line(answer)


def test_twice_in_a_row_is_the_same_answer_and_adds_no_rows(command: Command, models: Path) -> None:
    for arguments in (("--weights-only",), (), ("--method", "mother")):
        first = command("run", "--folder", models, "--json", *arguments)
        before, times = counts(command), command.rows("SELECT layer_id, measured_at FROM layer_measures ORDER BY 1")
        described = command.rows("SELECT id, described_at FROM revisions ORDER BY 1")
        second = command("run", "--folder", models, "--json", *arguments)
        assert (second.code, second.json) == (0, first.json)
        assert counts(command) == before
        assert command.rows("SELECT layer_id, measured_at FROM layer_measures ORDER BY 1") == times
        assert command.rows("SELECT id, described_at FROM revisions ORDER BY 1") == described


def test_measures_of_an_older_version_are_not_mistaken_for_none_at_all(command: Command, models: Path) -> None:
    assert command("run", "--folder", models).code == 0
    edges = command.rows("SELECT * FROM hublineage.inferred_parents ORDER BY 1, 2")
    command.execute("UPDATE measure_batches SET metric_version = metric_version - 1")
    answer = command("infer", "--folder", models)
    assert answer.code == 0
    assert "has no measures of this version: `hublineage measure` takes them" in answer.err
    assert command.rows("SELECT * FROM hublineage.inferred_parents ORDER BY 1, 2") == edges != []


def test_names_do_not_change_what_weights_say(
    populated: tuple[Command, Any], new_database: NewDatabase, models: Path, tmp_path: Path
) -> None:
    names = sorted([*LINEAGE, "fir/copy"])
    shuffled = np.random.default_rng(3).permutation(len(names))
    mapping = {name: f"z{place % 3}/model-{place}" for name, place in zip(names, shuffled, strict=True)}
    answer = Command(new_database())(
        "run", "--folder", renamed(models, tmp_path / "renamed", mapping), "--json", "--weights-only"
    )
    original = populated[1]

    def structure(result: Any, rename: dict[str, str]) -> tuple[Any, ...]:
        # Which of two equal models stands in the tree is left to the order in which they came.
        twins = {frozenset(rename.get(one, one) for one in group) for group in result["duplicates"]}
        stands = {one: min(twin) for twin in twins for one in twin}

        def place(name: str) -> str:
            return stands.get(rename.get(name, name), rename.get(name, name))

        found = {(place(parent), place(child), kind) for parent, child, kind in edges(result) if kind != "duplicate"}
        return twins, found, {frozenset(map(place, tree)) for tree in trees(result)}

    assert structure(answer.json, {}) == structure(original, mapping)


def test_weights_only_takes_no_date_as_evidence(command: Command, tmp_path: Path) -> None:
    folder = write_lineage(tmp_path)
    for number, name in enumerate(reversed(LINEAGE)):
        (folder / name / ".hub.json").write_text(json.dumps({"created_at": f"2024-01-{number + 1:02d}T00:00:00Z"}))
    with_dates = command("run", "--folder", folder, "--json").json
    without = command("run", "--folder", folder, "--json", "--weights-only").json
    assert "metadata: created before" in json.dumps(with_dates)
    assert "metadata" not in json.dumps(without)


def test_a_changed_model_an_added_and_a_removed_one(command: Command, tmp_path: Path) -> None:
    folder = write_lineage(tmp_path / "models")
    run = ("run", "--folder", folder, "--json", "--weights-only")
    command(*run)
    before = dict(command.rows("SELECT batch_id * 10000 + layer_id, measured_at FROM layer_measures"))
    weights = lineage()
    write_model(folder, "oak/new", trained_on(weights["oak/right"], 99), {"README.md": card("oak/right")})
    write_model(folder, "elm/other", trained_on(weights["elm/root"], 98))
    shutil.rmtree(folder / "oak/left-b")
    answer = command(*run)
    assert answer.code == 0
    shown = {row["model"] for row in answer.json["verdicts"]}
    assert shown == ({*LINEAGE, "fir/copy", "oak/new"} - {"oak/left-b"})
    assert {frozenset(edge[:2]) for edge in edges(answer.json)} >= {
        frozenset(("oak/right", "oak/new")), frozenset(("elm/root", "elm/other")),
    }  # fmt: skip
    assert "oak/left-b" not in json.dumps(answer.json)
    # Nothing is measured again: one more batch, of the two new revisions against the old ones.
    after = dict(command.rows("SELECT batch_id * 10000 + layer_id, measured_at FROM layer_measures"))
    assert before.items() <= after.items()
    (sizes,) = command.rows(
        "SELECT cardinality(members), cardinality(against) FROM measure_batches ORDER BY id DESC LIMIT 1"
    )
    assert sizes == (2, 7)
    assert len(command.rows("SELECT 1 FROM measure_batches")) == 2
    # The history stays: both revisions of the changed model, the removed one with its old edges.
    assert command.rows(
        "SELECT count(*) FROM revisions JOIN repositories r ON r.id = repository_id WHERE r.name = 'elm/other'"
    ) == [(2,)]
    assert command.rows(
        "SELECT removed_at IS NOT NULL, count(DISTINCT run_id) FROM repositories"
        " JOIN revisions ON repository_id = repositories.id JOIN cluster_members m ON m.revision_id = revisions.id"
        " WHERE name = 'oak/left-b' GROUP BY 1"
    ) == [(True, 1)]


def test_an_interrupted_measurement_never_mixes_two_versions_of_a_model(command: Command, tmp_path: Path) -> None:
    folder = write_lineage(tmp_path)
    assert command("crawl", "--folder", folder).code == 0
    kept = (folder / "oak/left/model.safetensors").read_bytes()
    write_model(folder, "oak/left", trained_on(lineage()["oak/root"], 77))
    assert command("measure", "--folder", folder).code == 0  # without the crawl that would have told
    (failure,) = command("status", "--json").json["sources"][0]["failures"]
    assert failure["model"] == "oak/left"
    assert "changed since" in failure["reason"]
    (folder / "oak/left/model.safetensors").write_bytes(kept)
    answer = command("run", "--folder", folder, "--json", "--weights-only")
    assert answer.json["failures"] == []
    assert ("oak/left", "oak/left-b", "lora") in edges(answer.json)
