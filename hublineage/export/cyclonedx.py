"""The lineage of one model as a CycloneDX 1.6 ML-BOM (https://cyclonedx.org/docs/1.6/json/).

Decided parents are `ancestors` and decided children `descendants` in pedigrees that nest; copies and undecided
relatives are `variants`. Of each the edge's confidence, relation and decision are properties. Every model occurs once,
with its hashed files as components of its own. What the card declares is a property: a claim, not a pedigree.
"""

from __future__ import annotations

import json
import uuid
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TextIO

from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType, Pedigree
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.model.tool import ToolRepository
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.spdx import fixup_id

from hublineage.export.names import is_hub, package_url, repository_iri, revision_iri

if TYPE_CHECKING:
    from db.models import Edge
    from hublineage.export.forest import Forest, Node

_DEEPEST = 32  # nested pedigrees; readers of JSON give up on very deep ones
_UNNAMED = {"other", "unknown"}


def write(file: TextIO, forest: Forest, model: int) -> None:
    """Write the bill of materials of one model, equal for equal runs. Raises OSError."""
    outputter = make_outputter(bill(forest, model), OutputFormat.JSON, SchemaVersion.V1_6)
    document = json.loads(outputter.output_as_string())
    if forest.run is None:
        document["metadata"].pop("timestamp", None)  # nothing happened at a time that we know
    card = model_card(forest.nodes[model])
    if card:
        document["metadata"]["component"]["modelCard"] = card  # the library has no class for it
    file.write(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def bill(forest: Forest, model: int) -> Bom:
    """The bill of materials, without the model card."""
    inputs = forest.run.inputs_digest.hex() if forest.run is not None else ""
    component = _Pedigrees(forest, model).component()
    made = BomMetaData(
        component=component,
        tools=ToolRepository(
            components=[
                Component(
                    name="hublineage",
                    type=ComponentType.APPLICATION,
                    version=version("hublineage"),
                    bom_ref="hublineage",
                )
            ]
        ),
        timestamp=forest.run.finished_at if forest.run is not None else None,
    )
    serial = uuid.uuid5(uuid.NAMESPACE_OID, f"{revision_iri(forest.nodes[model])} {inputs}")
    bom = Bom(metadata=made, serial_number=serial)
    bom.register_dependency(component)
    return bom


def licences(card: dict[str, Any]) -> list[DisjunctiveLicense]:
    """What the card declares: by its SPDX id where there is one, else by its own name."""
    declared = card.get("license")
    link = card.get("license_link")
    url = XsUri(link) if isinstance(link, str) and is_hub(link) else None
    found = []
    for one in declared if isinstance(declared, list) else [declared]:
        if not isinstance(one, str) or not one:
            continue
        known = fixup_id(one)
        own = card.get("license_name")
        name = own if one in _UNNAMED and isinstance(own, str) and own else one
        found.append(DisjunctiveLicense(id=known, url=url) if known else DisjunctiveLicense(name=name, url=url))
    return found


def model_card(node: Node) -> dict[str, Any]:
    """The modelCard object as far as card and configuration tell it; empty where they do not."""
    parameters: dict[str, Any] = {}
    task = node.pipeline or node.card.get("pipeline_tag")
    family = node.model_type or node.config.get("model_type")
    if isinstance(task, str):
        parameters["task"] = task
    if isinstance(family, str):
        parameters["architectureFamily"] = family
    if node.architectures:
        parameters["modelArchitecture"] = node.architectures[0]
    datasets = node.card.get("datasets")
    datasets = [datasets] if isinstance(datasets, str) else datasets
    if isinstance(datasets, list) and (names := [one for one in datasets if isinstance(one, str) and one]):
        parameters["datasets"] = [{"type": "dataset", "name": name} for name in names]
    metrics = _metrics(node.card.get("model-index"))
    return {
        **({"modelParameters": parameters} if parameters else {}),
        **({"quantitativeAnalysis": {"performanceMetrics": metrics}} if metrics else {}),
    }


def _metrics(index: Any) -> list[dict[str, str]]:
    """The results of a card's model-index; whatever does not look like one is left out."""

    def listed(value: Any, name: str) -> list[dict[str, Any]]:
        found = value.get(name) if isinstance(value, dict) else None
        return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []

    found = []
    for model in listed({"index": index}, "index"):
        for result in listed(model, "results"):
            dataset = result.get("dataset")
            part = dataset.get("name") if isinstance(dataset, dict) else None
            for metric in listed(result, "metrics"):
                if metric.get("type") is not None and isinstance(metric.get("value"), int | float | str):
                    said = {"type": str(metric["type"]), "value": str(metric["value"])}
                    found.append({**said, **({"slice": part} if isinstance(part, str) else {})})
    return found


class _Pedigrees:
    """Components of one bill, each model once: a second path to it has no second component."""

    def __init__(self, forest: Forest, model: int) -> None:
        self._forest = forest
        self._model = model
        self._seen = {model}
        self._up: dict[int, list[Edge]] = {}
        self._down: dict[int, list[Edge]] = {}
        for edge in forest.edges:
            if edge.relation != "duplicate":
                self._up.setdefault(edge.child_id, []).append(edge)
                self._down.setdefault(edge.parent_id, []).append(edge)

    def component(self) -> Component:
        """The model itself, with all relatives in its pedigree."""
        model, forest = self._model, self._forest
        ancestors = self._relatives(model, up=True, depth=1)
        descendants = self._relatives(model, up=False, depth=1)
        variants = []
        original = forest.copies.get(model, model)
        group = {original, *(copy for copy, of in forest.copies.items() if of == original)} - self._seen
        variants += [self._component(one, [Property(name="hublineage:variant", value="copy")]) for one in sorted(group)]
        self._seen |= group
        for edges, end in ((self._up, "parent"), (self._down, "child")):
            for edge in edges.get(model, ()):
                other = edge.parent_id if end == "parent" else edge.child_id
                if not edge.decided and other not in self._seen:
                    self._seen.add(other)
                    why = Property(name="hublineage:variant", value=f"undecided {end}")
                    variants.append(self._component(other, [why, *_said(edge)]))
        said = [
            Property(
                name="hublineage:declared_parent",
                value=f"{one.name} ({one.relation}, in {one.declared_in})",
            )
            for one in forest.declared
            if one.child == model
        ]
        if forest.run is not None:
            said += [
                Property(name="hublineage:family", value=forest.run.family),
                Property(name="hublineage:method", value=forest.run.method),
            ]
        if forest.why is not None:
            said.append(Property(name="hublineage:not_inferred", value=forest.why))
        return self._component(model, said, Pedigree(ancestors=ancestors, descendants=descendants, variants=variants))

    def _relatives(self, node: int, *, up: bool, depth: int) -> list[Component]:
        """Components of decided parents (or children) with theirs inside."""
        found = []
        for edge in (self._up if up else self._down).get(node, ()):
            other = edge.parent_id if up else edge.child_id
            if not edge.decided or other in self._seen:
                continue
            self._seen.add(other)
            more = self._relatives(other, up=up, depth=depth + 1) if depth < _DEEPEST else []
            nested = Pedigree(ancestors=more if up else (), descendants=() if up else more) if more else None
            if depth == _DEEPEST and any(one.decided for one in (self._up if up else self._down).get(other, ())):
                nested = Pedigree(notes=f"its own relatives are left out: deeper than {_DEEPEST}")
            found.append(self._component(other, _said(edge), nested))
        return found

    def _component(self, number: int, said: list[Property], pedigree: Pedigree | None = None) -> Component:
        node = self._forest.nodes[number]
        organisation, _, name = node.name.rpartition("/")
        here = revision_iri(node)
        page = repository_iri(node.source, node.name)
        return Component(
            name=name,
            group=organisation or None,
            type=ComponentType.MACHINE_LEARNING_MODEL,
            version=node.sha,
            bom_ref=here,
            licenses=licences(node.card),
            purl=package_url(node),
            external_references=(
                [ExternalReference(type=ExternalReferenceType.WEBSITE, url=XsUri(page))] if is_hub(node.source) else ()
            ),
            properties=[Property(name="hublineage:model", value=node.name), *said],
            pedigree=pedigree,
            components=[
                Component(
                    name=path,
                    type=ComponentType.FILE,
                    bom_ref=f"{here}#{path}",
                    hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)],
                )
                for path, sha256 in node.files
            ],
        )


def _said(edge: Edge) -> list[Property]:
    return [
        Property(name="hublineage:relation", value=edge.relation),
        Property(name="hublineage:confidence", value=repr(edge.confidence)),
        Property(name="hublineage:decided", value=str(edge.decided).lower()),
    ]
