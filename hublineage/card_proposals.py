"""Which cards should name other parents, and why: from verdicts and decided edges to proposals. Pure.

Only decided edges are proposed, and only where every parent of the model is decided. The Hub knows four relations
(https://huggingface.co/docs/hub/model-cards#specifying-a-base-model), none of them for a copy: a re-upload is said to
be a finetune of its original, which is what the Hub would take it for by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_CHANGING = ("ancestor", "reversed", "sibling", "contradicted", "undeclared", "duplicate")
# How a child came of its parent, by its weights -> what the Hub calls that.
_RELATIONS = {
    "finetune": "finetune",
    "lora": "finetune",  # merged into the weights: an adapter is what holds the difference alone
    "pruned": "finetune",
    "cast": "quantized",
    "merge": "merge",
    "duplicate": "finetune",
}
_NOTES = {
    "lora": "a low-rank change that was merged into the weights",
    "pruned": "with weights set to zero",
    "cast": "the same numbers in another precision",
    "duplicate": "equal weights: the Hub has no relation for a copy and takes it for a finetune",
}


@dataclass(frozen=True)
class Parent:
    """An inferred parent."""

    name: str
    relation: str
    confidence: float
    decided: bool


@dataclass(frozen=True)
class Disagreement:
    """A model with its verdict and what it rests on."""

    model: str
    verdict: str
    why: str
    parents: Sequence[Parent]
    original: str | None = None  # the model that it is a copy of, where both dates of upload say so
    unchecked: Sequence[str] = ()  # declared parents that nothing was compared with: they may be right


@dataclass(frozen=True)
class Proposal:
    """What a card should say."""

    model: str
    parents: tuple[str, ...]
    relation: str
    confidence: float  # the least of the parents'
    verdict: str
    why: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Left:
    """A disagreement without a proposal, and the reason."""

    model: str
    verdict: str
    why: str
    reason: str


def proposal(found: Disagreement) -> Proposal | Left | None:
    """The proposal for a model; why there is none; None where its card says nothing wrong."""
    if found.verdict not in _CHANGING:
        return None
    parents = list(found.parents)
    if found.verdict == "duplicate":
        if found.original is None:
            return _left(found, "weights do not say which of two equal models came first, nor do their dates here")
        parents = [Parent(found.original, "duplicate", 1.0, decided=True)]
    objection = _objection(found, parents)
    if objection is not None:
        return _left(found, objection)
    relations = list(dict.fromkeys(parent.relation for parent in parents))
    relation = "merge" if len(parents) > 1 else _RELATIONS.get(relations[0])
    if relation is None:
        return _left(found, f"the Hub has no relation for {relations[0]!r}")
    names = tuple(parent.name for parent in sorted(parents, key=lambda one: one.name))
    notes = tuple(_NOTES[one] for one in relations if one in _NOTES)
    sure = min(parent.confidence for parent in parents)
    return Proposal(found.model, names, relation, sure, found.verdict, found.why, notes)


def _objection(found: Disagreement, parents: Sequence[Parent]) -> str | None:
    """Why these parents are not proposed; None where they are."""
    if not parents:
        return "no parent was found that could stand in its place: what is declared should be looked at"
    if found.unchecked:
        return f"not compared, so that it may be right as well: {' and '.join(found.unchecked)}"
    undecided = [parent.name for parent in parents if not parent.decided]
    return f"not decided: {' and '.join(undecided)}" if undecided else None


def _left(found: Disagreement, reason: str) -> Left:
    return Left(found.model, found.verdict, found.why, reason)


def by_child(edges: Sequence[Mapping[str, object]]) -> dict[str, list[Parent]]:
    """Inferred parents by child, without edges among copies."""
    found: dict[str, list[Parent]] = {}
    for edge in edges:
        if edge["relation"] != "duplicate":
            parent = Parent(
                str(edge["parent"]), str(edge["relation"]), float(str(edge["confidence"])), bool(edge["decided"])
            )
            found.setdefault(str(edge["child"]), []).append(parent)
    return found
