"""Declared against inferred, for one model: the verdict and the reason for it, in words. Pure: names in, words out.

| verdict | what it says |
|---|---|
| agrees | the declared parent is the inferred one, or all of a merge's are declared (ancestors or unmeasured models may
be declared beside them) |
| ancestor | the declared parent is an ancestor: the right tree, but not the direct parent |
| reversed | the declared parent descends from this model |
| sibling | the declared parent and this model have the same inferred parent |
| contradicted | the declared parent was measured and is not related in any of these ways |
| undeclared | a parent was found that is not declared: nothing is, or not all of a merge's parents |
| unmeasured | the declared parent, or this model, has no weights here that can be compared |
| undecided | the inference is not confident enough to say |
| root | nothing is declared, and no parent was found |
| duplicate | the weights equal another model's |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Claim:
    """A declared parent: the name as declared, and the catalogue's name for it where it has one."""

    name: str
    kind: str  # "hub", "local path" or "invalid"
    model: str | None = None
    weak: bool = False  # found in prose only


@dataclass(frozen=True)
class Found:
    """What one run found, by names; a model with equal weights stands where its group's first member stands."""

    parents: Mapping[str, Mapping[str, bool]]  # child -> parent -> whether the edge is decided
    tree: Mapping[str, int]  # the tree of every model of the run
    family: Mapping[str, str]
    original: Mapping[str, str] = field(default_factory=dict)  # a duplicate -> the model it is a copy of
    stands_for: Mapping[str, str] = field(default_factory=dict)  # a duplicate -> the one that stands in the tree

    def place(self, model: str) -> str:
        """The model in whose place this one stands in its tree."""
        return self.stands_for.get(model, model)

    def ancestors(self, model: str) -> set[str]:
        """All that are above a model."""
        above: set[str] = set()
        waiting = list(self.parents.get(self.place(model), ()))
        while waiting:
            parent = waiting.pop()
            if parent not in above:
                above.add(parent)
                waiting.extend(self.parents.get(parent, ()))
        return above


@dataclass(frozen=True)
class Verdict:
    """A verdict with its reason, and the names on both sides."""

    verdict: str
    why: str
    declared: tuple[str, ...]
    inferred: tuple[str, ...]


# What several declared parents together amount to: the first of these that one of them is.
_SEVEREST = ("contradicted", "reversed", "sibling", "undecided", "ancestor", "duplicate", "unmeasured")
_BESIDE_AGREEMENT = {"agrees", "ancestor", "unmeasured", "duplicate"}


def judge(model: str, claims: Sequence[Claim], found: Found, unmeasured: str | None = None) -> Verdict:
    """The verdict on a model. `unmeasured` says why its weights could not be compared, if they could not.

    A claim of the model about itself says nothing and is passed over; claims from prose count only where nothing else
    is claimed.
    """
    claims = [claim for claim in claims if (claim.model or claim.name) != model]
    strong = [claim for claim in claims if not claim.weak] or claims
    inferred = tuple(sorted(found.parents.get(found.place(model), {})))
    declared = tuple(dict.fromkeys(claim.name for claim in strong))
    verdict, why = _judge(model, strong, found, unmeasured)
    return Verdict(verdict, why, declared, inferred)


def _judge(model: str, claims: Sequence[Claim], found: Found, unmeasured: str | None) -> tuple[str, str]:
    if unmeasured is not None:
        return "unmeasured", unmeasured
    named = [claim for claim in claims if claim.kind == "hub"]
    if not named:
        return _without_claim(model, claims, found)
    judged = [_judge_claim(model, claim, found) for claim in named]
    kinds = {verdict for verdict, _ in judged}
    reasons = "; ".join(dict.fromkeys(why for _, why in judged))
    left = _left_out(model, named, found)
    if left and kinds <= {"agrees", "ancestor", "duplicate"} and "agrees" in kinds:
        return "undeclared", f"{reasons}; a merge, whose other parents {' and '.join(left)} are not declared"
    if "agrees" in kinds and kinds <= _BESIDE_AGREEMENT:
        return "agrees", reasons
    return next(verdict for verdict in (*_SEVEREST, "agrees") if verdict in kinds), reasons


def _left_out(model: str, claims: Sequence[Claim], found: Found) -> list[str]:
    """The decided parents of a model that no claim names."""
    named = {found.place(claim.model) for claim in claims if claim.model is not None}
    parents = found.parents.get(found.place(model), {})
    return sorted(parent for parent, decided in parents.items() if decided and parent not in named)


def _without_claim(model: str, claims: Sequence[Claim], found: Found) -> tuple[str, str]:
    if model in found.original:
        return "duplicate", f"declares no parent; its weights equal those of {found.original[model]}"
    if claims:
        text = ", ".join(dict.fromkeys(f"{claim.name!r} ({claim.kind})" for claim in claims))
        return "unmeasured", f"declares {text}, which names no repository; {_inferred(model, found)}"
    parents = found.parents.get(found.place(model), {})
    if not parents:
        return "root", "declares no parent, and none was found among the models that it is comparable to"
    verdict = "undeclared" if any(parents.values()) else "undecided"
    return verdict, f"declares no parent; {_inferred(model, found)}"


def _inferred(model: str, found: Found) -> str:
    parents = found.parents.get(found.place(model), {})
    if not parents:
        return "no parent was found"
    return ("the inferred parent is " if len(parents) == 1 else "the inferred parents are ") + " and ".join(
        name if decided else f"{name} (not decided)" for name, decided in sorted(parents.items())
    )


def _judge_claim(model: str, claim: Claim, found: Found) -> tuple[str, str]:
    if claim.model is None:
        return "unmeasured", f"declares {claim.name}, which is not in the catalogue; {_inferred(model, found)}"
    if claim.model not in found.tree:
        return "unmeasured", f"declares {claim.model}, which has no comparable weights here; {_inferred(model, found)}"
    here, there = found.place(model), found.place(claim.model)
    if here == there:
        return "duplicate", f"declares {claim.model}, and its weights equal that model's"
    if found.family[model] != found.family[claim.model]:
        return (
            "unmeasured",
            f"declares {claim.model}, of another architecture ({found.family[claim.model]}), which cannot be compared; "
            f"{_inferred(model, found)}",
        )
    if found.tree[model] != found.tree[claim.model] and there not in found.parents.get(here, {}):
        return "contradicted", f"declares {claim.model}, which is unrelated by its weights; {_inferred(model, found)}"
    return _within_tree(model, claim.model, found)


def _within_tree(model: str, claimed: str, found: Found) -> tuple[str, str]:
    here, there = found.place(model), found.place(claimed)
    parents = found.parents.get(here, {})
    if there in parents:
        if parents[there]:
            return "agrees", f"declares {claimed}, which is {'the' if len(parents) == 1 else 'an'} inferred parent"
        return "undecided", f"declares {claimed}, the likeliest parent, but the evidence does not decide it"
    if not all(parents.values()) or not all(found.parents.get(there, {}).values()):
        return (
            "undecided",
            f"declares {claimed}; {_inferred(model, found)}, and the evidence does not decide between them",
        )
    return _elsewhere(model, claimed, found)


def _elsewhere(model: str, claimed: str, found: Found) -> tuple[str, str]:
    """The claim names a model of the same tree that is not the parent."""
    here, there = found.place(model), found.place(claimed)
    if there in found.ancestors(model):
        return "ancestor", f"declares {claimed}, an ancestor but not the parent; {_inferred(model, found)}"
    if here in found.ancestors(claimed):
        return "reversed", f"declares {claimed}, which descends from this model"
    if found.parents.get(here, {}).keys() & found.parents.get(there, {}).keys():
        return "sibling", f"declares {claimed}, a sibling; {_inferred(model, found)}"
    return "contradicted", f"declares {claimed}, of the same tree but not above this model; {_inferred(model, found)}"
