"""The lineage of one model as PROV-O (https://www.w3.org/TR/prov-o/) in JSON-LD 1.1, its context inside.

Revisions are entities, inferences and training steps activities. Every inferred parent is a qualified derivation with
its confidence; the short `wasDerivedFrom` is for decided ones alone. What a card declares is an entity of its own, a
hl:Declaration attributed to the organisation, and never a derivation: it may be wrong.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import quote

from hublineage.export.forest import above, below
from hublineage.export.names import repository_iri, revision_iri

if TYPE_CHECKING:
    from hublineage.export.forest import Forest, Inference, Node

NAMESPACE = "urn:hublineage:ns:"
_CONTEXT: dict[str, Any] = {
    "@version": 1.1,
    "prov": "http://www.w3.org/ns/prov#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "hl": NAMESPACE,
    "label": "rdfs:label",
    **{
        name: {"@id": f"prov:{name}", "@type": "@id"}
        for name in (
            *("wasDerivedFrom", "qualifiedDerivation", "specializationOf", "alternateOf", "wasGeneratedBy"),
            *("wasAttributedTo", "wasAssociatedWith", "used", "hadActivity", "entity"),
        )
    },
    "endedAtTime": {"@id": "prov:endedAtTime", "@type": "xsd:dateTime"},
    **{name: {"@id": f"hl:{name}", "@type": "@id"} for name in ("child", "declaredParent", "inferredBy")},
    "confidence": {"@id": "hl:confidence", "@type": "xsd:double"},
    "decided": {"@id": "hl:decided", "@type": "xsd:boolean"},
    "evidence": {"@id": "hl:evidence", "@type": "@json"},
    "parameters": {"@id": "hl:parameters", "@type": "@json"},
    "versions": {"@id": "hl:versions", "@type": "@json"},
    "licence": {"@id": "hl:licence"},
    **{name: f"hl:{name}" for name in ("sha", "relation", "declaredIn", "method", "family", "sha256", "why")},
}


def write(file: TextIO, forest: Forest, model: int) -> None:
    """Write a model with its ancestors, descendants and their copies. Raises OSError."""
    document = {"@context": _CONTEXT, "@graph": graph(forest, model)}
    file.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def graph(forest: Forest, model: int) -> list[dict[str, Any]]:
    """The nodes of the document's graph."""
    meant = {model, *above(forest, model), *below(forest, model)}
    # Copies both ways: of one that is meant, and the one that stands for a copy that is meant.
    meant |= {copy for copy, original in forest.copies.items() if original in meant}
    meant |= {forest.copies[one] for one in meant if one in forest.copies}
    chosen = [forest.nodes[one] for one in sorted(meant)]
    found = [_repository(node) for node in chosen]
    if forest.run is not None:
        found += _inference(forest.run, chosen)
    for node in chosen:
        found += _revision(forest, node, meant)
    if forest.why is not None:
        found[-1]["why"] = forest.why
    return [*found, *_declarations(forest, meant)]


def _repository(node: Node) -> dict[str, Any]:
    return {"@id": repository_iri(node.source, node.name), "@type": "prov:Entity", "label": node.name}


def _run_iri(run: Inference) -> str:
    return uuid.uuid5(uuid.NAMESPACE_OID, run.inputs_digest.hex()).urn


def _inference(run: Inference, chosen: list[Node]) -> list[dict[str, Any]]:
    agent = f"urn:hublineage:software:{quote(str(run.versions.get('hublineage', 'unknown')))}"
    return [
        {"@id": agent, "@type": "prov:SoftwareAgent", "label": "hublineage"},
        {
            "@id": _run_iri(run),
            "@type": ["prov:Activity", "hl:Inference"],
            "label": f"run {run.number} of the family {run.family}",
            "endedAtTime": run.finished_at.isoformat(),
            "method": run.method,
            "family": run.family,
            "parameters": run.parameters,
            "versions": run.versions,
            "wasAssociatedWith": agent,
            "used": [revision_iri(node) for node in chosen],
        },
    ]


def _revision(forest: Forest, node: Node, meant: set[int]) -> list[dict[str, Any]]:
    """The entity, and the training step that made it where its parents are decided."""
    here = revision_iri(node)
    edges = [edge for edge in forest.edges if edge.child_id == node.id and edge.parent_id in meant]
    # A copy's edge says the same as alternateOf, and a copy has no training of its own.
    edges = [edge for edge in edges if edge.relation != "duplicate"]
    parents = [revision_iri(forest.nodes[edge.parent_id]) for edge in edges if edge.decided]
    training = f"{here}#training"
    entity: dict[str, Any] = {
        "@id": here,
        "@type": ["prov:Entity", "hl:Revision"],
        "label": f"{node.name}@{node.sha}",
        "sha": node.sha,
        "specializationOf": repository_iri(node.source, node.name),
    }
    if node.card.get("license"):
        entity["licence"] = node.card["license"]
    if node.files:
        entity["sha256"] = sorted({sha256 for _, sha256 in node.files})
    if node.id in forest.copies:
        entity["alternateOf"] = revision_iri(forest.nodes[forest.copies[node.id]])
    if edges and forest.run is not None:
        entity["qualifiedDerivation"] = [
            {
                "@id": f"{here}#derivation-{number}",
                "@type": ["prov:Derivation", "hl:InferredDerivation"],
                "entity": revision_iri(forest.nodes[edge.parent_id]),
                **({"hadActivity": training} if edge.decided else {}),
                "relation": edge.relation,
                "confidence": edge.confidence,
                "decided": edge.decided,
                "evidence": edge.evidence,
                "inferredBy": _run_iri(forest.run),
            }
            for number, edge in enumerate(edges)
        ]
    if not parents:
        return [entity]
    entity |= {"wasDerivedFrom": parents, "wasGeneratedBy": training}
    step = {"@id": training, "@type": ["prov:Activity", "hl:Training"], "label": f"made {node.name}", "used": parents}
    return [step, entity]


def _declarations(forest: Forest, meant: set[int]) -> list[dict[str, Any]]:
    """What cards say, each by its organisation."""
    agents: dict[str, dict[str, Any]] = {}
    found = []
    for number, one in enumerate(forest.declared):
        if one.child not in meant:
            continue
        child = forest.nodes[one.child]
        organisation = child.name.partition("/")[0]
        agent = f"{repository_iri(child.source, organisation)}#agent"
        agents[agent] = {"@id": agent, "@type": "prov:Agent", "label": organisation}
        found.append(
            {
                "@id": f"{revision_iri(child)}#declaration-{number}",
                "@type": ["prov:Entity", "hl:Declaration"],
                "label": f"{child.name} declares {one.name}",
                "child": revision_iri(child),
                "declaredParent": repository_iri(child.source, one.model or one.name),
                "relation": one.relation,
                "declaredIn": one.declared_in,
                "wasAttributedTo": agent,
            }
        )
    return [*agents.values(), *found]
