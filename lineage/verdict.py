"""Declared against inferred, for one model: the verdict and the reason for it, in words. Pure: names in, words out.

docs/verdicts.md defines each verdict, with examples and the order in which several declared parents are weighed.

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
from functools import cached_property

LISTED = 5  # names that a reason spells out


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
    siblings: Mapping[str, Sequence[str]] = field(default_factory=dict)  # -> all who share an absent parent with it
    missing: Mapping[str, str] = field(default_factory=dict)  # a model in no tree -> why, in words

    def place(self, model: str) -> str:
        """The model in whose place this one stands in its tree."""
        return self.stands_for.get(model, model)

    def ancestors(self, model: str, *, decided: bool = False) -> set[str]:
        """All that are above a model; only by decided edges where that is asked."""
        above: set[str] = set()
        waiting = [self.place(model)]
        while waiting:
            for parent, sure in self.parents.get(waiting.pop(), {}).items():
                if parent not in above and (sure or not decided):
                    above.add(parent)
                    waiting.append(parent)
        return above

    @cached_property
    def children(self) -> Mapping[str, Mapping[str, bool]]:
        """Parent -> child -> whether the edge is decided."""
        below: dict[str, dict[str, bool]] = {}
        for child, parents in self.parents.items():
            for parent, decided in parents.items():
                below.setdefault(parent, {})[child] = decided
        return below

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """How many models each family has in trees."""
        counted: dict[str, int] = {}
        for family in self.family.values():
            counted[family] = counted.get(family, 0) + 1
        return counted


@dataclass(frozen=True)
class Verdict:
    """A verdict with its reason, and the names on both sides."""

    verdict: str
    why: str
    declared: tuple[str, ...]
    inferred: tuple[str, ...]


# What several declared parents together amount to: the first of these that one of them is.
SEVEREST = ("contradicted", "reversed", "sibling", "undecided", "ancestor", "duplicate", "unmeasured")
_BESIDE_AGREEMENT = {"agrees", "ancestor", "unmeasured", "duplicate"}


def judge(
    model: str, claims: Sequence[Claim], found: Found, unmeasured: str | None = None, problems: Sequence[str] = ()
) -> Verdict:
    """The verdict on a model. `unmeasured` says why its weights could not be compared, if they could not.

    A claim of the model about itself says nothing and is passed over; claims from prose count only where nothing else
    is claimed. `problems` are what is wrong with the claims themselves (a circle, say): they are added to the reason
    and change no verdict, because each claim is judged by the weights alone.
    """
    of_others = [claim for claim in claims if (claim.model or claim.name) != model]
    strong = [claim for claim in of_others if not claim.weak] or of_others
    inferred = tuple(sorted(found.parents.get(found.place(model), {})))
    declared = tuple(dict.fromkeys(claim.name for claim in strong))
    verdict, why = _judge(model, strong, found, unmeasured)
    return Verdict(verdict, "; ".join((why, *problems)), declared, inferred)


def _judge(model: str, claims: Sequence[Claim], found: Found, unmeasured: str | None) -> tuple[str, str]:
    if unmeasured is not None:
        declares = listed(list(dict.fromkeys(claim.name for claim in claims)))
        return "unmeasured", f"{unmeasured}; what it declares ({declares}) is not checked" if claims else unmeasured
    named = [claim for claim in claims if claim.kind == "hub"]
    if not named:
        return _without_claim(model, claims, found)
    judged = [_judge_claim(model, claim, found) for claim in named]
    kinds = {verdict for verdict, _ in judged}
    reasons = "; ".join(dict.fromkeys(why for _, why in judged))
    left = _left_out(model, named, found)
    if left and kinds <= {"agrees", "ancestor", "duplicate"} and "agrees" in kinds:
        others = f"parent {left[0]} is" if len(left) == 1 else f"parents {listed(left)} are"
        return "undeclared", f"{reasons}; a merge, whose other {others} not declared"
    if "agrees" in kinds and kinds <= _BESIDE_AGREEMENT:
        return "agrees", reasons
    return next(verdict for verdict in (*SEVEREST, "agrees") if verdict in kinds), reasons


def listed(names: Sequence[str]) -> str:
    """Names for a sentence: the first few, and how many more there are."""
    shown = [*names[:LISTED], *([f"{len(names) - LISTED} more"] if len(names) > LISTED else [])]
    return " and ".join((", ".join(shown[:-1]), shown[-1])) if len(shown) > 1 else "".join(shown)


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
    if parents:
        verdict = "undeclared" if any(parents.values()) else "undecided"
        return verdict, f"declares no parent; {_inferred(model, found)}"
    return _without_parent(model, found)


def _without_parent(model: str, found: Found) -> tuple[str, str]:
    """Nothing is declared and nothing was found: a root, unless its own place is not decided."""
    if _shown(model, found):
        return "undecided", f"declares no parent; {_inferred(model, found)}"
    below = found.children.get(found.place(model), {})
    if below and not any(below.values()):
        return (
            "undecided",
            f"declares no parent and none was found, but whether {listed(sorted(below))} descends from it or it from "
            "that is not decided",
        )
    others = found.sizes.get(found.family.get(model, ""), 1) - 1
    among = f"the {others} models that it is comparable to" if others > 1 else "what it is comparable to"
    kin = f"; {len(below)} of them {'was' if len(below) == 1 else 'were'} made from it" if below else ""
    return "root", f"declares no parent, and none was found among {among}{kin}"


def _shown(model: str, found: Found) -> list[str]:
    """The siblings that show, together with a model, a parent that is absent."""
    here = found.place(model)
    return sorted(one for one in found.siblings.get(here, ()) if one != here)


def _inferred(model: str, found: Found) -> str:
    parents = found.parents.get(found.place(model), {})
    siblings = _shown(model, found)
    if siblings and not any(parents.values()):
        return f"it and its siblings {listed(siblings)} show a parent that is not in the catalogue"
    if not parents:
        return "no parent was found"
    return ("the inferred parent is " if len(parents) == 1 else "the inferred parents are ") + " and ".join(
        name if decided else f"{name} (not decided)" for name, decided in sorted(parents.items())
    )


def _called(claimed: str, found: Found) -> str:
    """A claimed model, and the one in whose place it stands where that is another."""
    there = found.place(claimed)
    return claimed if there == claimed else f"{claimed} (whose weights equal {there})"


def _judge_claim(model: str, claim: Claim, found: Found) -> tuple[str, str]:  # noqa: PLR0911  # a case a line
    if claim.model is None:
        siblings = _shown(model, found)
        if siblings:
            maybe = f"and may be the parent that it shares with its siblings {listed(siblings)}"
            return "unmeasured", f"declares {claim.name}, which is not in the catalogue {maybe}"
        return "unmeasured", f"declares {claim.name}, which is not in the catalogue; {_inferred(model, found)}"
    if claim.model not in found.tree:
        missing = found.missing.get(claim.model)
        reason = f": {missing}" if missing else ""
        why = f"declares {claim.model}, which has no comparable weights here{reason}; {_inferred(model, found)}"
        return "unmeasured", why
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
    called = _called(claimed, found)
    if there in parents:
        if parents[there]:
            return "agrees", f"declares {called}, which is {'the' if len(parents) == 1 else 'an'} inferred parent"
        return "undecided", f"declares {called}, the likeliest parent, but the evidence does not decide it"
    if not all(parents.values()) or not all(found.parents.get(there, {}).values()):
        return (
            "undecided",
            f"declares {called}; {_inferred(model, found)}, and the evidence does not decide between them",
        )
    return _elsewhere(model, claimed, found)


def _elsewhere(model: str, claimed: str, found: Found) -> tuple[str, str]:
    """The claim names a model of the same tree that is not the parent."""
    here, there = found.place(model), found.place(claimed)
    called = _called(claimed, found)
    for above, below, verdict, words in (
        (there, here, "ancestor", f"an ancestor but not the parent; {_inferred(model, found)}"),
        (here, there, "reversed", "which descends from this model"),
    ):
        if above in found.ancestors(below, decided=True):
            return verdict, f"declares {called}, {words}"
        if above in found.ancestors(below):
            return "undecided", f"declares {called}; an edge on the way between them is not decided"
    if found.parents.get(here, {}).keys() & found.parents.get(there, {}).keys():
        return "sibling", f"declares {called}, a sibling; {_inferred(model, found)}"
    return "contradicted", f"declares {called}, of the same tree but not above this model; {_inferred(model, found)}"
