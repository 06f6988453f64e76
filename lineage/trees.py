"""What inference gives: model trees with their edges, and groups of duplicates."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class InferredEdge:
    """One parent of one child. Members are named by the ids that the measures carry."""

    parent: int
    child: int
    relation: (
        str  # "finetune", "lora" (a low-rank difference), "cast", "pruned", "merge" (one of several) or "duplicate"
    )
    confidence: float  # probability that this edge is there and has this direction
    decided: bool
    evidence: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Tree:
    """One cluster of related models. A model alone is a tree with a root and no edges.

    A merge belongs to the tree of its heaviest parent; edges from its other parents may come from other trees.
    """

    members: tuple[int, ...]
    root: int
    root_confidence: float
    edges: tuple[InferredEdge, ...]
    absent: tuple[tuple[int, ...], ...] = ()  # groups of siblings whose common parent is not among the members


@dataclass(frozen=True)
class Heritage:
    """All trees of a family. A group of duplicates names first the member that stands for it in its tree."""

    trees: tuple[Tree, ...]
    duplicates: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...] = ()  # what was left out, in words
