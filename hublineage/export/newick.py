"""Trees as Newick (https://phylipweb.github.io/phylip/newicktree.html), one a line, inner nodes named.

Branch lengths are distances between weights (the root of the evidence's squared distance), absent where the method has
none; a comment [&...] behind a node says of the edge above it: confidence, relation and whether it is decided. What no
tree holds, a merge's other parents, is named in a comment and handed back.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from db.models import Edge
    from hublineage.export.forest import Forest, Tree


def write(file: TextIO, forest: Forest) -> list[str]:
    """Write every tree; return in words what they leave out. Raises OSError."""
    left_out = []
    for tree in forest.trees:
        above, others = _one_parent_each(forest, tree)
        said = [
            f"{forest.nodes[edge.child_id].name} has another parent, {forest.nodes[edge.parent_id].name} "
            f"({edge.relation}, confidence {edge.confidence:.4g}), which a tree cannot hold"
            for edge in others
        ]
        left_out += said
        file.writelines(f"[{_commented(line)}]\n" for line in said)
        file.write(_drawn(forest, tree, above) + ";\n")
    return left_out


def _one_parent_each(forest: Forest, tree: Tree) -> tuple[dict[int, Edge], list[Edge]]:
    """The edge that each node hangs on, and all others.

    A node hangs on its surest parent in the same tree, decided ones first, unless that closes a circle.
    """
    members = set(tree.members)
    above: dict[int, Edge] = {}
    others = []
    edges = [edge for edge in forest.edges if edge.child_id in members]
    for edge in sorted(edges, key=lambda one: (not one.decided, -one.confidence, one.child_id, one.parent_id)):
        free = edge.child_id not in above and edge.parent_id in members and edge.child_id != tree.root
        if free and not _under(above, edge.parent_id, edge.child_id):
            above[edge.child_id] = edge
        else:
            others.append(edge)
    return above, others


def _under(above: dict[int, Edge], node: int, top: int) -> bool:
    """Whether `node` hangs somewhere under `top`, or is it."""
    while node != top and node in above:
        node = above[node].parent_id
    return node == top


def _drawn(forest: Forest, tree: Tree, above: dict[int, Edge]) -> str:
    """The tree's text without its semicolon. Without recursion: a chain of a thousand fine-tunes is a deep tree."""
    children: dict[int, list[int]] = {}
    for child, edge in above.items():
        children.setdefault(edge.parent_id, []).append(child)
    absent = {child: place for place, group in enumerate(tree.absent) for child in group}
    tops = sorted((one for one in tree.members if one not in above), key=lambda one: (one != tree.root, one))
    text: dict[int, str] = {}
    waiting = [(one, False) for one in tops]
    while waiting:
        node, done = waiting.pop()
        if not done:
            waiting.append((node, True))
            waiting += [(child, False) for child in children.get(node, ())]
            continue
        below = [text.pop(child) for child in sorted(children.get(node, ()), key=lambda one: forest.nodes[one].name)]
        inner = f"({','.join(below)})" if below else ""
        text[node] = inner + _quoted(forest.nodes[node].name) + _branch(above.get(node), absent.get(node))
    # Members that no edge reaches (their edges go to another tree) hang on a node without a name.
    return text[tops[0]] if len(tops) == 1 else f"({','.join(text[one] for one in tops)})"


def _branch(edge: Edge | None, absent: int | None) -> str:
    """The length of the branch above a node, and what else is known of it."""
    notes = [] if absent is None else [f"absent_parent={absent}"]
    if edge is None:
        return f"[&{','.join(notes)}]" if notes else ""
    squared = edge.evidence.get("squared_distance", 0.0 if edge.relation == "duplicate" else None)
    length = "" if squared is None or squared < 0 else f":{math.sqrt(squared)!r}"
    said = [f"confidence={edge.confidence!r}", f"relation={edge.relation}", f"decided={str(edge.decided).lower()}"]
    return f"{length}[&{','.join([*said, *notes])}]"


def _quoted(name: str) -> str:
    """A label in quotes, in which a quote is written twice."""
    return "'" + name.replace("'", "''") + "'"


def _commented(text: str) -> str:
    """A comment ends at a bracket, so it must hold none."""
    return text.replace("[", "(").replace("]", ")").replace("\n", " ")
