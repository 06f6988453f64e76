"""Trees as GraphML (http://graphml.graphdrawing.org/specification.html): all edges, inferred and declared."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from hublineage.export.forest import Forest

_XMLNS = "http://graphml.graphdrawing.org/xmlns"
_NODE = {
    "name": "string",
    "kind": "string",  # model, absent parent or declared (a name that is outside of these trees)
    "source": "string",
    "revision": "string",
    "tree": "int",
    "root": "boolean",
    "root_confidence": "double",
    "duplicate_of": "string",
    "licence": "string",
}
_EDGE = {
    "kind": "string",  # inferred, declared or absent
    "relation": "string",
    "confidence": "double",
    "decided": "boolean",
    "squared_distance": "double",
    "evidence": "string",
    "declared_in": "string",
}


def write(file: TextIO, forest: Forest) -> None:
    """Write a directed graph, parent to child; `evidence` is JSON. Raises OSError."""
    root = ET.Element("graphml", {"xmlns": _XMLNS})
    for kind, columns in (("node", _NODE), ("edge", _EDGE)):
        for name, column in columns.items():
            key = {"id": f"{kind}_{name}", "for": kind, "attr.name": name, "attr.type": column}
            ET.SubElement(root, "key", key)
    graph = ET.SubElement(root, "graph", {"id": "lineage", "edgedefault": "directed"})
    if forest.run is not None:
        said = f"run {forest.run.number} of the family {forest.run.family} by the method {forest.run.method}"
        _child(graph, "desc", said)
    known = _nodes(graph, forest)
    edges = [*_inferred(forest), *_absent(forest), *_declared(graph, forest, known)]
    for number, (parent, child, values) in enumerate(edges):
        edge = ET.SubElement(graph, "edge", {"id": f"e{number}", "source": parent, "target": child})
        _data(edge, "edge", values)
    ET.indent(root)
    file.write('<?xml version="1.0" encoding="UTF-8"?>\n')
    file.write(ET.tostring(root, encoding="unicode") + "\n")


def _nodes(graph: ET.Element, forest: Forest) -> dict[str, str]:
    """The ids of the nodes by the models' names."""
    tree_of = {member: tree for tree in forest.trees for member in tree.members}
    for number, node in sorted(forest.nodes.items()):
        tree = tree_of.get(number)
        original = forest.copies.get(number)
        values: dict[str, Any] = {
            "name": node.name,
            "kind": "model",
            "source": node.source,
            "revision": node.sha,
            "licence": _licence(node.card.get("license")),
            "duplicate_of": forest.nodes[original].name if original is not None else None,
        }
        if tree is not None:
            is_root = tree.root == number
            values |= {"tree": tree.position, "root": is_root}
            values["root_confidence"] = tree.root_confidence if is_root else None
        _data(ET.SubElement(graph, "node", {"id": f"n{number}"}), "node", values)
    for tree in forest.trees:
        for place in range(len(tree.absent)):
            element = ET.SubElement(graph, "node", {"id": f"t{tree.position}a{place}"})
            said = {"name": f"absent parent {place}", "kind": "absent parent", "tree": tree.position}
            _data(element, "node", said)
    return {node.name: f"n{number}" for number, node in forest.nodes.items()}


def _licence(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _inferred(forest: Forest) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (
            f"n{edge.parent_id}",
            f"n{edge.child_id}",
            {
                "kind": "inferred",
                "relation": edge.relation,
                "confidence": edge.confidence,
                "decided": edge.decided,
                "squared_distance": edge.evidence.get("squared_distance"),
                "evidence": json.dumps(edge.evidence, sort_keys=True),
            },
        )
        for edge in forest.edges
    ]


def _absent(forest: Forest) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (f"t{tree.position}a{place}", f"n{child}", {"kind": "absent"})
        for tree in forest.trees
        for place, group in enumerate(tree.absent)
        for child in group
    ]


def _declared(graph: ET.Element, forest: Forest, known: dict[str, str]) -> list[tuple[str, str, dict[str, Any]]]:
    """The declared edges; names that are no node yet become one."""
    found = []
    for one in forest.declared:
        name = one.model or one.name
        if name not in known:
            known[name] = f"d{len(known)}"
            _data(ET.SubElement(graph, "node", {"id": known[name]}), "node", {"name": name, "kind": "declared"})
        values = {"kind": "declared", "relation": one.relation, "declared_in": one.declared_in}
        found.append((known[name], f"n{one.child}", values))
    return found


def _data(element: ET.Element, kind: str, values: dict[str, Any]) -> None:
    for name, value in values.items():
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            _child(element, "data", text).set("key", f"{kind}_{name}")


def _child(element: ET.Element, tag: str, text: str) -> ET.Element:
    """A child with a text; of the control characters that XML 1.0 has no way to write, U+FFFD stands for each."""
    child = ET.SubElement(element, tag)
    child.text = "".join(one if one >= " " or one in "\t\n\r" else "\ufffd" for one in text)
    return child
