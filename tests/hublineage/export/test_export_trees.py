"""GraphML and Newick: read back by networkx and dendropy."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import dendropy
import networkx as nx
import pytest
from commands import Command, one_line
from exported_catalogue import (
    CHILD,
    COPY,
    DECLARED,
    EDGES,
    FAMILY,
    FIRST_TREE,
    GRANDCHILD,
    LEFT,
    LISTED,
    MERGE,
    OTHER,
    RIGHT,
    ROOT,
    SECOND_TREE,
    UNSURE,
)  # fmt: skip
from sqlalchemy import Engine

Catalogue = tuple[Command, Engine]


def exported(catalogue: Catalogue, out: Path, *arguments: object) -> str:
    answer = catalogue[0]("export", "--out", out, *arguments)
    assert answer.code == 0, answer.err
    return str(answer.err)


def named(graph: Any) -> list[tuple[str, str, dict[str, Any]]]:
    name = dict(graph.nodes(data="name"))
    return [(name[parent], name[child], values) for parent, child, values in graph.edges(data=True)]


def test_graphml_holds_every_edge_of_a_family_with_its_evidence(catalogue: Catalogue, tmp_path: Path) -> None:
    exported(catalogue, tmp_path / "a.graphml", "--format", "graphml", "--family", FAMILY)
    graph = nx.read_graphml(tmp_path / "a.graphml", force_multigraph=True)
    assert graph.is_directed()
    edges = named(graph)
    inferred = {(parent, child): values for parent, child, values in edges if values["kind"] == "inferred"}
    assert inferred.keys() == EDGES.keys()
    for edge, (relation, confidence, decided, squared) in EDGES.items():
        values = inferred[edge]
        assert (values["relation"], values["confidence"], values["decided"]) == (relation, confidence, decided)
        assert values.get("squared_distance") == squared
        assert json.loads(values["evidence"])["scatter"] == 0.5
    assert {(parent, child) for parent, child, values in edges if values["kind"] == "declared"} == {
        (parent, child) for child, parents in DECLARED.items() for parent, _ in parents
    }
    assert {(parent, child) for parent, child, values in edges if values["kind"] == "absent"} == {
        ("absent parent 0", LEFT), ("absent parent 0", RIGHT),
    }  # fmt: skip
    nodes = {values["name"]: values for _, values in graph.nodes(data=True)}
    assert {name for name, values in nodes.items() if values["kind"] == "model"} == {*FIRST_TREE, *SECOND_TREE}
    assert nodes[COPY]["duplicate_of"] == CHILD
    assert [name for name, values in nodes.items() if values.get("root")] == [ROOT, OTHER]
    assert nodes[ROOT]["licence"] == "apache-2.0"


def test_graphml_of_a_model_is_its_tree_with_a_merge_s_other_parents(catalogue: Catalogue, tmp_path: Path) -> None:
    exported(catalogue, tmp_path / "a.graphml", "--format", "graphml", "--model", GRANDCHILD)
    graph = nx.read_graphml(tmp_path / "a.graphml", force_multigraph=True)
    models = {values["name"] for _, values in graph.nodes(data=True) if values["kind"] == "model"}
    assert models == {*FIRST_TREE, OTHER}
    assert (OTHER, MERGE) in {(parent, child) for parent, child, _ in named(graph)}


def test_newick_keeps_names_lengths_and_says_what_no_tree_holds(catalogue: Catalogue, tmp_path: Path) -> None:
    said = exported(catalogue, tmp_path / "a.nwk", "--format", "newick", "--family", FAMILY)
    assert f"{MERGE} has another parent, {OTHER}" in said
    assert OTHER in (tmp_path / "a.nwk").read_text().splitlines()[0]
    trees = dendropy.TreeList.get(
        path=tmp_path / "a.nwk", schema="newick", suppress_internal_node_taxa=True, suppress_leaf_node_taxa=True
    )
    found: dict[tuple[str, str], Any] = {}
    labels = []
    for tree in trees:
        for node in tree.preorder_node_iter():
            labels.append(node.label)
            for child in node.child_node_iter():
                found[node.label, child.label] = child
    assert {label for label in labels if label} == {*FIRST_TREE, *SECOND_TREE}
    in_trees = {edge for edge in EDGES if edge != (OTHER, MERGE)}
    assert {edge for edge in found if edge[0]} == in_trees
    for edge in in_trees:
        squared = EDGES[edge][3]
        assert found[edge].edge.length == (None if squared is None else math.sqrt(squared))
        assert float(found[edge].annotations.get_value("confidence")) == EDGES[edge][1]


def test_newick_of_a_model_goes_to_stdout(catalogue: Catalogue) -> None:
    answer = catalogue[0]("export", "--format", "newick", "--model", LEFT)
    assert answer.code == 0, answer.err
    assert answer.out.startswith("('elm/left':1.0[&confidence=0.6,relation=finetune,decided=true,absent_parent=0],")
    assert answer.out.endswith(")'elm/other_root';\n")
    assert UNSURE not in answer.out


@pytest.mark.parametrize("form", ["graphml", "newick"])
def test_what_cannot_be_written_is_said(catalogue: Catalogue, tmp_path: Path, form: str) -> None:
    command, _ = catalogue
    for arguments, code, said in (
        (["--model", "org/copi"], 2, "did you mean org/copy"),
        (["--family", "nothing"], 2, FAMILY),
        (["--family", "never inferred"], 3, "was never inferred"),
        ([], 2, "--model ORG/NAME or --family NAME"),
        (["--model", COPY, "--family", FAMILY], 2, "one of them"),
        (["--model", COPY, "--out", tmp_path], 2, "is a folder"),
        (["--model", COPY, "--out", "/dev/null", "--replace"], 2, "is no file"),
        (["--model", COPY, "--endpoint", "https://elsewhere.example"], 2, "was not crawled"),
    ):
        answer = command("export", "--format", form, *arguments)
        assert (answer.code, answer.out) == (code, ""), arguments
        assert said in one_line(answer)


def test_a_model_without_a_tree_says_why(catalogue: Catalogue) -> None:
    newick = catalogue[0]("export", "--format", "newick", "--model", LISTED)
    assert newick.code == 3
    assert "its family never inferred was not inferred" in one_line(newick)
    graph = catalogue[0]("export", "--format", "graphml", "--model", LISTED)
    assert "was not inferred" in graph.err
    assert [name for _, name in nx.parse_graphml(graph.out).nodes(data="name")] == [LISTED]


def test_a_file_that_is_there_is_kept(catalogue: Catalogue, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    refused = catalogue[0]("export", "--format", "newick", "--model", LEFT, "--out", tmp_path / "a")
    assert refused.code == 2
    assert (tmp_path / "a").read_text() == "mine"
    exported(catalogue, tmp_path / "a", "--format", "newick", "--model", LEFT, "--replace")
    assert {one.name for one in tmp_path.iterdir()} == {"a"}
    assert "elm/left" in (tmp_path / "a").read_text()
