"""Parents that are not in the catalogue, on networks that were really trained from one that is taken away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import Command, NewDatabase
from safetensors.numpy import load_file
from trained_siblings import DECLARED, LOST, SIBLINGS, write_rootless


@pytest.fixture(scope="module")
def rootless(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> tuple[Command, Any, Path]:
    """The command on the siblings, the result of its run, and where the root's weights are."""
    out = tmp_path_factory.mktemp("grove")
    zoo = write_rootless(out)
    gated = zoo / "grove/gated-root"
    gated.mkdir()
    (gated / "README.md").write_text("# Gated\n")
    (gated / ".hub.json").write_text(json.dumps({"gated": "manual"}))
    command = Command(new_database())
    answer = command("run", "--folder", zoo, "--json", "--weights-only")
    assert answer.code == 0, answer.err
    return command, answer.json, out / "lost"


def trees(result: Any) -> list[Any]:
    return [tree for family in result["families"] for tree in family["trees"]]


def test_siblings_without_their_parent_show_one_unnamed_node(rootless: tuple[Command, Any, Path]) -> None:
    (tree,) = trees(rootless[1])
    (node,) = tree["missing"]
    assert [child["model"] for child in node["children"]] == sorted(SIBLINGS)
    assert node["below"] is None
    assert node["family"] == rootless[1]["families"][0]["family"]
    assert tree["absent"] == [sorted(SIBLINGS)]


def test_the_distance_to_an_absent_parent_is_that_to_the_one_that_was_taken_away(
    rootless: tuple[Command, Any, Path],
) -> None:
    _, result, lost = rootless
    root = load_file(lost / "model.safetensors")
    (node,) = trees(result)[0]["missing"]
    for child in node["children"]:
        theirs = load_file(lost.parent / "zoo" / child["model"] / "model.safetensors")
        shared = [name for name, values in root.items() if values.ndim > 1 and theirs[name].shape == values.shape]
        true = np.sqrt(sum(np.square(theirs[name] - root[name]).sum() for name in shared))
        assert child["distance"] == pytest.approx(true, rel=0.25)


def test_names_that_it_may_have_are_what_its_children_declare_and_nobody_compared(
    rootless: tuple[Command, Any, Path],
) -> None:
    (node,) = trees(rootless[1])[0]["missing"]
    lost, gated = node["candidates"]
    assert (lost["name"], lost["state"], len(lost["named_by"])) == (LOST, "not in the catalogue", 3)
    assert (gated["name"], gated["state"]) == ("grove/gated-root", "gated")
    assert gated["named_by"] == [SIBLINGS[3]]


def test_tree_draws_the_unnamed_node_above_its_children(rootless: tuple[Command, Any, Path]) -> None:
    drawn = rootless[0]("tree", SIBLINGS[0]).out.splitlines()
    assert drawn[0].startswith("?")
    assert "shown by 4 siblings" in " ".join(drawn[:3])
    assert LOST in " ".join(drawn[:3])
    children = [line for line in drawn if line.startswith(("├", "└")) and "distance" in line]
    assert [line.split()[1] for line in children] == sorted(SIBLINGS)
    (below,) = [line for line in drawn if "grandchild" in line]
    assert not below.startswith(("├", "└"))
    assert rootless[0]("tree", SIBLINGS[0], "--json").json["missing"] == trees(rootless[1])[0]["missing"]


def test_show_tells_of_the_parent_and_of_what_it_may_be(rootless: tuple[Command, Any, Path]) -> None:
    command, _, _ = rootless
    assert f"maybe {LOST} (not in the catalogue, declared by 3 of 4)" in command("show", SIBLINGS[1]).out
    (node,) = command("show", SIBLINGS[1], "--json").json["missing"]
    assert len(node["children"]) == 4
    assert command("show", "grove/grandchild", "--json").json["missing"] == []


def test_the_view_says_the_same(rootless: tuple[Command, Any, Path]) -> None:
    command, result, _ = rootless
    (row,) = command.rows("SELECT node, children, distances, candidates, below FROM hublineage.missing_ancestors")
    (node,) = trees(result)[0]["missing"]
    assert row[0] == node["node"]
    assert list(row[1]) == [child["model"] for child in node["children"]]
    assert [round(distance, 4) for distance in row[2]] == [child["distance"] for child in node["children"]]
    assert (row[3], row[4]) == (node["candidates"], None)


def test_verdicts_say_that_the_declared_parent_may_be_the_missing_one(rootless: tuple[Command, Any, Path]) -> None:
    verdicts = {row["model"]: row for row in rootless[1]["verdicts"]}
    for name, declared in zip(SIBLINGS[:3], DECLARED[:3], strict=True):
        assert verdicts[name]["verdict"] == "unmeasured"
        assert f"declares {declared}, which is not in the catalogue and may be the parent" in verdicts[name]["why"]
    gated = verdicts[SIBLINGS[3]]
    assert gated["verdict"] == "unmeasured"
    assert "show a parent that is not in the catalogue" in gated["why"]
    assert verdicts["grove/grandchild"]["verdict"] == "undeclared"


def test_licences_say_why_there_is_no_ancestor(rootless: tuple[Command, Any, Path]) -> None:
    found = rootless[0]("licences", SIBLINGS[0], "--json").json
    assert found["findings"] == []
    assert "not in the catalogue" in found["why"] or "decided" in found["why"]
