"""What truth.json says of the models of a zoo."""

from __future__ import annotations

from typing import Any

from benchmarks.zoo.derivation import Cast, Merge, Prune
from benchmarks.zoo.merge import truth_of_merge
from benchmarks.zoo.spec import RELATION, STAGE, Copy, Node


def truth_of(node: Node, quality: dict[str, Any]) -> dict[str, Any]:
    """What truth.json says of a trained or derived node."""
    kind = node.recipe.kind
    told: dict[str, Any] = {
        "tree": node.tree,
        "family": node.architecture.family,
        "parents": list(node.parents),
        "relation": _relation(node),
        "stage": STAGE.get(kind, "specialisation"),
        "measured": node.layout != "adapter" and node.gated is None,
        "task": node.task.name,
        "recipe": node.recipe.described(),
        "quality": quality,
        "card": node.card.truth,
        "verdict": node.verdict,
    }
    if isinstance(node.derived, Merge):
        told["recipe"] = {"kind": "merge"}
        told["merge"] = truth_of_merge(node.derived, node.architecture.layers)
    elif isinstance(node.derived, Prune | Cast):
        told["recipe"] = {"kind": kind, "form": node.derived.name}
    if node.stored:
        told["stored"] = [how.name for how in node.stored]
    if node.initialisation:
        told["initialisation"] = node.initialisation
    return told


def _relation(node: Node) -> str:
    if node.layout == "adapter":
        return "adapter"
    return "stranger" if node.stranger else RELATION.get(node.recipe.kind, node.recipe.kind)


def truth_of_copy(copy: Copy, original: Node, quality: dict[str, Any]) -> dict[str, Any]:
    """What truth.json says of a re-upload."""
    own = {"parents": [copy.original], "relation": "duplicate", "recipe": {"kind": "duplicate"}}
    told = truth_of(original, quality) | own | {"card": copy.card.truth, "verdict": copy.verdict}
    told.pop("merge", None)
    return told | ({"shards": copy.shards} if copy.shards else {})
