"""Exports of what was really inferred, from a folder of models."""

from __future__ import annotations

import json
from typing import Any

import pytest
from commands import Command
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from dendropy import Tree
from rdflib import Graph
from small_models import TRUE_EDGES

# rdflib's own reader of JSON-LD makes a graph of a class that rdflib gives up.
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")


def exported(command: Command, form: str, model: str) -> str:
    answer = command("export", "--format", form, "--model", model)
    assert answer.code == 0, answer.err
    return str(answer.out)


def test_a_recovered_tree_is_the_true_one_in_newick(populated: tuple[Command, Any]) -> None:
    written = exported(populated[0], "newick", "oak/left")
    tree = Tree.get(data=written, schema="newick", suppress_internal_node_taxa=True, suppress_leaf_node_taxa=True)
    found = {(node.label, child.label): child for node in tree for child in node.child_node_iter()}
    assert found.keys() == {edge for edge in TRUE_EDGES if edge[0].startswith("oak")}
    assert all(child.edge.length > 0 for child in found.values())


def test_a_folder_s_models_have_documents_too(populated: tuple[Command, Any]) -> None:
    written = exported(populated[0], "cyclonedx", "elm/child")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(written) is None
    component = json.loads(written)["metadata"]["component"]
    assert component["bom-ref"].startswith("file:///")
    assert "purl" not in component
    assert "copy" in [one["name"] for one in component["pedigree"]["variants"]]
    graph = Graph().parse(data=exported(populated[0], "prov", "oak/left"), format="json-ld")
    rows: Any = graph.query(
        "PREFIX prov: <http://www.w3.org/ns/prov#> SELECT ?one WHERE { ?one prov:wasDerivedFrom ?other }"
    )
    assert len(rows) == 3
