"""CycloneDX and PROV of one model: valid, and read back by other libraries."""

from __future__ import annotations

import json
from typing import Any

import pytest
from commands import Command, one_line
from cyclonedx.model.bom import Bom
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from exported_catalogue import CHILD, COPY, EDGES, FAMILY, FIRST_TREE, GRANDCHILD, LISTED, MERGE, OTHER, ROOT, UNSURE
from rdflib import Graph
from sqlalchemy import Engine

# rdflib's own reader of JSON-LD makes a graph of a class that rdflib gives up.
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")

Catalogue = tuple[Command, Engine]
PREFIXES = (
    "PREFIX prov: <http://www.w3.org/ns/prov#> PREFIX hl: <urn:hublineage:ns:> "
    "PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#> "
)


def exported(catalogue: Catalogue, form: str, model: str) -> str:
    answer = catalogue[0]("export", "--format", form, "--model", model)
    assert answer.code == 0, answer.err
    return str(answer.out)


def asked(catalogue: Catalogue, model: str, query: str) -> set[tuple[Any, ...]]:
    graph = Graph().parse(data=exported(catalogue, "prov", model), format="json-ld")
    rows: Any = graph.query(PREFIXES + query)
    return {tuple(value.toPython() for value in row) for row in rows}


def named(component: dict[str, Any]) -> str:
    (name,) = (one["value"] for one in component["properties"] if one["name"] == "hublineage:model")
    return str(name)


@pytest.mark.parametrize("model", [*FIRST_TREE, OTHER, LISTED])
def test_a_bill_of_materials_is_valid(catalogue: Catalogue, model: str) -> None:
    written = exported(catalogue, "cyclonedx", model)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(written) is None
    assert written == exported(catalogue, "cyclonedx", model)
    document = json.loads(written)
    document["metadata"]["component"].pop("modelCard", None)
    bom: Any = Bom.from_json(document)  # type: ignore[attr-defined]
    assert named(document["metadata"]["component"]) == model
    assert bom.metadata.component.purl.version == bom.metadata.component.version


def test_a_bill_nests_ancestors_and_descendants(catalogue: Catalogue) -> None:
    component = json.loads(exported(catalogue, "cyclonedx", CHILD))["metadata"]["component"]
    assert component["type"] == "machine-learning-model"
    pedigree = component["pedigree"]
    assert [named(one) for one in pedigree["ancestors"]] == [ROOT]
    assert {named(one) for one in pedigree["descendants"]} == {GRANDCHILD, MERGE}
    assert [named(one) for one in pedigree["variants"]] == [COPY]
    said = {one["name"]: one["value"] for one in pedigree["ancestors"][0]["properties"]}
    assert (said["hublineage:confidence"], said["hublineage:decided"]) == ("0.97", "true")
    assert component["components"][0]["hashes"] == pedigree["variants"][0]["components"][0]["hashes"]
    assert pedigree["ancestors"][0]["licenses"] == [{"license": {"id": "Apache-2.0"}}]
    assert component["licenses"] == [{"license": {"name": "llama2"}}]
    deep = json.loads(exported(catalogue, "cyclonedx", GRANDCHILD))["metadata"]["component"]
    (parent,) = deep["pedigree"]["ancestors"]
    assert named(parent["pedigree"]["ancestors"][0]) == ROOT
    assert deep["licenses"] == [{"license": {"name": "my own licence", "url": "https://hub.example/licence"}}]


def test_a_bill_tells_what_is_undecided_and_declared_apart(catalogue: Catalogue) -> None:
    component = json.loads(exported(catalogue, "cyclonedx", UNSURE))["metadata"]["component"]
    assert "ancestors" not in component["pedigree"]
    (variant,) = component["pedigree"]["variants"]
    assert named(variant) == ROOT
    assert {"name": "hublineage:variant", "value": "undecided parent"} in variant["properties"]
    declared = [one["value"] for one in component["properties"] if one["name"] == "hublineage:declared_parent"]
    assert declared == [f"{OTHER} (finetune, in card)"]


def test_a_bill_carries_the_model_card(catalogue: Catalogue) -> None:
    card = json.loads(exported(catalogue, "cyclonedx", ROOT))["metadata"]["component"]["modelCard"]
    assert card["modelParameters"]["datasets"] == [{"type": "dataset", "name": "org/data"}]
    assert card["modelParameters"]["modelArchitecture"] == "TinyForImageClassification"
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [
        {"type": "accuracy", "value": "0.91", "slice": "GLUE"}
    ]


def test_prov_answers_a_query_for_all_derivations_with_their_confidence(catalogue: Catalogue) -> None:
    found = asked(
        catalogue,
        ROOT,
        """SELECT ?parent ?child ?relation ?confidence ?decided WHERE {
        ?revision prov:qualifiedDerivation ?how ; prov:specializationOf/rdfs:label ?child .
        ?how prov:entity/prov:specializationOf/rdfs:label ?parent ; hl:relation ?relation ;
             hl:confidence ?confidence ; hl:decided ?decided ; hl:inferredBy ?run .
        ?run a prov:Activity ; prov:endedAtTime ?when }""",
    )
    below_root = {edge: rest for edge, rest in EDGES.items() if edge[0] in {ROOT, CHILD}}
    assert found == {
        (*edge, relation, confidence, decided) for edge, (relation, confidence, decided, _) in below_root.items()
    }


def test_prov_says_was_derived_from_of_decided_parents_alone(catalogue: Catalogue) -> None:
    query = """SELECT ?parent ?child WHERE {
        ?one prov:wasDerivedFrom+ ?other ; prov:specializationOf/rdfs:label ?child ; prov:wasGeneratedBy/prov:used [] .
        ?other prov:specializationOf/rdfs:label ?parent }"""
    assert asked(catalogue, MERGE, query) == {(CHILD, MERGE), (OTHER, MERGE), (ROOT, MERGE), (ROOT, CHILD)}
    assert asked(catalogue, UNSURE, query) == set()


def test_prov_keeps_declarations_apart_and_copies_as_alternates(catalogue: Catalogue) -> None:
    declared = """SELECT ?child ?label WHERE { ?claim a hl:Declaration ; rdfs:label ?label ;
        hl:child/prov:specializationOf/rdfs:label ?child ; prov:wasAttributedTo/rdfs:label ?who }"""
    assert asked(catalogue, MERGE, declared) == {
        (MERGE, f"{MERGE} declares {CHILD}"),
        (MERGE, f'{MERGE} declares gone/away "x"'),
        (CHILD, f"{CHILD} declares {ROOT}"),
    }
    alternates = """SELECT ?one ?other WHERE { ?a prov:alternateOf ?b . ?a prov:specializationOf/rdfs:label ?one .
        ?b prov:specializationOf/rdfs:label ?other }"""
    assert asked(catalogue, COPY, alternates) == {(COPY, CHILD)}


def test_a_model_without_a_tree_is_written_with_the_reason(catalogue: Catalogue) -> None:
    assert asked(catalogue, LISTED, "SELECT ?why WHERE { ?one hl:why ?why }").pop()[0].startswith(LISTED)
    answer = catalogue[0]("export", "--format", "cyclonedx", "--model", LISTED)
    assert answer.code == 0
    assert "was not inferred" in answer.err


@pytest.mark.parametrize("form", ["cyclonedx", "prov"])
def test_a_document_is_of_one_known_model(catalogue: Catalogue, command: Command, form: str) -> None:
    for arguments, said in (
        (["--model", "org/copi"], "did you mean org/copy"),
        (["--family", FAMILY], "is of one model"),
        ([], "is of one model"),
    ):
        answer = catalogue[0]("export", "--format", form, *arguments)
        assert (answer.code, answer.out) == (2, "")
        assert said in one_line(answer)
    empty = command("export", "--format", form, "--model", "a/b")
    assert empty.code == 3
    assert "the catalogue is empty" in one_line(empty)
