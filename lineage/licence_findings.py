"""Licences along lineage: what of an ancestor's licence does not reach the model that was made from it. Pure.

An ancestor counts where every edge on the way to it was inferred from weights and decided; what cards declare of
parents counts for nothing here. The confidence of a finding is the product of the confidences of the edges on its path,
as if they were independent: never more than the least of them.

| kind | what it says |
|---|---|
| more-permissive | the licence passes an ancestor's own terms and use restrictions not on |
| non-commercial | an ancestor forbids commercial use, the licence allows it |
| no-derivatives | an ancestor forbids sharing derivatives |
| share-alike | an ancestor's derivatives are to be shared under its licence or a compatible one; this is neither |
| attribution | an ancestor asks for its notices or its text to be kept, the licence does not |
| naming | an ancestor asks for a name that this model does not have |
| missing | no licence is declared under an ancestor that asks more than attribution |
| incompatible | the ancestors of a merge ask for what cannot be had together |
| unclear | an ancestor's licence, or the model's under one that asks something, is not known here: read it |
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from lineage.licence_kinds import KINDS, SEVERITIES
from lineage.licences import Declared, Rule, duty_words, rule

ANCESTORS_LIMIT = 200  # the surest ones; no honest lineage has more
_COPIES = frozenset(("duplicate",))
_KIND_OF = {"use-restrictions": "more-permissive"}  # duties are named as kinds are, but for this one


@dataclass(frozen=True)
class Step:
    """An inferred, decided edge to a parent."""

    parent: str
    relation: str
    confidence: float


@dataclass(frozen=True)
class Ancestor:
    """A verified ancestor, by the surest way to it."""

    path: tuple[str, ...]  # from the ancestor down to the model
    relations: tuple[str, ...]  # of the edges on it, in that order
    confidence: float  # the product of the edges' confidences

    @property
    def model(self) -> str:
        """Its name."""
        return self.path[0]


@dataclass(frozen=True)
class Finding:
    """Something that does not follow, with the path of edges that it rests on."""

    kind: str
    severity: str
    ancestor: str
    licence: str  # of the ancestor: a rule's id
    path: tuple[str, ...]  # from the ancestor down to the model
    confidence: float
    why: str
    cite: str  # the address of the licence's text


def ancestry(model: str, parents: Mapping[str, Sequence[Step]]) -> tuple[Ancestor, ...]:
    """The verified ancestors of a model, the surest first, each by the way of the greatest product of confidences."""
    waiting: list[tuple[float, tuple[str, ...], tuple[str, ...]]] = [(-1.0, (model,), ())]
    found: dict[str, Ancestor] = {}
    while waiting and len(found) <= ANCESTORS_LIMIT:
        sure, path, relations = heapq.heappop(waiting)
        here = path[0]
        if here in found:
            continue
        found[here] = Ancestor(path, relations, -sure)
        for step in parents.get(here, ()):
            if step.parent not in found:
                way = (sure * step.confidence, (step.parent, *path), (step.relation, *relations))
                heapq.heappush(waiting, way)
    return tuple(found.values())[1:]


def findings(
    model: str, declared: Declared, ancestors: Sequence[Ancestor], licences: Mapping[str, Declared]
) -> tuple[Finding, ...]:
    """What does not follow for one model, by severity, kind and ancestor.

    `licences` are those of the ancestors, by name. Of several ancestors with one licence the surest stands for all.
    """
    raised: dict[tuple[str, str], list[Finding]] = {}
    for ancestor in ancestors:
        theirs = licences.get(ancestor.model, Declared())
        for finding in _against(model, declared, ancestor, theirs):
            raised.setdefault((finding.kind, finding.licence), []).append(finding)
    for finding in _mixed(ancestors, licences):
        raised.setdefault((finding.kind, finding.licence), []).append(finding)
    found = [_first(some) for some in raised.values()]
    order = {name: place for place, name in enumerate((*SEVERITIES, *KINDS))}
    return tuple(sorted(found, key=lambda one: (order[one.severity], order[one.kind], one.ancestor, one.licence)))


def _first(some: Sequence[Finding]) -> Finding:
    """The surest of findings that say the same, with the number of the others."""
    best = max(some, key=lambda one: (one.severity == "conflict", one.confidence, -len(one.path)))
    others = len({one.ancestor for one in some} - {best.ancestor})
    more = f"; so {'does' if others == 1 else 'do'} {others} more {'ancestor' if others == 1 else 'ancestors'}"
    return replace(best, why=best.why + more) if others else best


def _against(model: str, declared: Declared, ancestor: Ancestor, theirs: Declared) -> Iterator[Finding]:
    """Findings of a model under one ancestor. A choice of the ancestor's licences is read in the model's favour."""
    if not theirs.alternatives:
        why = f"{ancestor.model} declares no licence: nothing says what may be done with it"
        yield Finding("unclear", "read", ancestor.model, "none", ancestor.path, ancestor.confidence, why, "")
        return
    choices = [
        [one for name in sorted(some) for one in _under(model, declared, ancestor, theirs, rule(name))]
        for some in theirs.together
    ]
    yield from min(choices, key=lambda some: (sum(one.severity == "conflict" for one in some), len(some)))


def _under(model: str, declared: Declared, ancestor: Ancestor, theirs: Declared, asked: Rule) -> Iterator[Finding]:
    """Findings of a model under one licence of one ancestor."""

    def finding(kind: str, severity: str, why: str) -> Finding:
        return Finding(kind, severity, ancestor.model, asked.id, ancestor.path, ancestor.confidence, why, asked.url)

    whose = f"{ancestor.model} is under {asked.name}"
    if not asked.clear:
        link = f" at {theirs.link}" if theirs.link else ""
        named = f" ({theirs.name})" if theirs.name else ""
        why = f"{ancestor.model} declares {asked.id}{named}, which is not known here: read it{link}"
        yield finding("unclear", "read", why)
        return
    copied = set(ancestor.relations) <= _COPIES
    if not asked.derivatives and not copied:
        yield finding("no-derivatives", "conflict", f"{whose}, which does not let derivatives be shared")
    if asked.name_prefix and not copied and not _is_named(model, asked.name_prefix):
        asks = f"names that begin with {asked.name_prefix!r} and pages that show {asked.shows!r}"
        yield finding("naming", "duty", f"{whose}, which asks for {asks} ({asked.duties['naming']})")
    if not declared.alternatives:
        duties = _list(duty for duty in asked.duties if duty not in ("naming", "no-derivatives"))
        if asked.restrictive:
            yield finding("missing", "conflict", f"no licence is declared, and {whose}, which asks for {duties}")
        elif asked.duties:
            words = f"{whose}, which asks to {duty_words()['attribution']} ({asked.duties['attribution']})"
            yield finding("attribution", "duty", f"no licence is declared, and {words}")
        return
    yield from (finding(kind, severity, f"{whose}; {why}") for kind, severity, why in _dropped(declared, asked))


def _dropped(declared: Declared, asked: Rule) -> Iterator[tuple[str, str, str]]:
    """The duties of a licence that a declared one does not carry: (kind, severity, why).

    Where several licences are declared to choose from, the one that carries least counts.
    """
    options = [[rule(one) for one in sorted(some)] for some in declared.alternatives]
    if asked.restrictive and any(not one.clear for option in options for one in option):
        own = f"the licence that is declared, {declared},"
        why = f"whether {own} keeps to what it asks for ({_list(asked.duties)}) is to be read"
        yield "unclear", "read", why
        return
    for duty, section in asked.duties.items():
        if duty in ("naming", "no-derivatives"):
            continue
        carried = min(_carries(option, duty, asked) for option in options)
        if carried == _YES:
            continue
        severity = "read" if carried == _MAYBE else "duty" if duty == "attribution" else "conflict"
        own = f"the licence that is declared, {declared},"
        does = f"whether {own} does is to be read" if carried == _MAYBE else f"{own} does not"
        yield _KIND_OF.get(duty, duty), severity, f"it asks to {_asks(duty)} ({section}), and {does}"


_NO, _MAYBE, _YES = range(3)


def _carries(option: Iterable[Rule], duty: str, asked: Rule) -> int:
    """Whether licences that apply together carry a duty of another on."""
    best = _NO
    for own in option:
        keeps = {
            "attribution": "attribution" in own.duties,
            "non-commercial": own.commercial is False,
            "share-alike": own.id in asked.compatible,
            "use-restrictions": own.id in asked.carried_by,
        }[duty]
        best = max(best, _YES if keeps else _MAYBE if own.id in asked.akin or not own.clear else _NO)
    return best


def _asks(duty: str) -> str:
    words = duty_words()[duty]
    return "leave commercial use out" if duty == "non-commercial" else words


def _list(duties: Iterable[str]) -> str:
    return ", ".join(duties) or "nothing"


def _is_named(model: str, prefix: str) -> bool:
    """Whether a model's name begins as it must, whatever stands between the words."""
    plain = [
        "".join(letter for letter in text.lower() if letter.isalnum()) for text in (model.rpartition("/")[2], prefix)
    ]
    return plain[0].startswith(plain[1])


def _mixed(ancestors: Sequence[Ancestor], licences: Mapping[str, Declared]) -> Iterator[Finding]:
    """What the ancestors of a merge ask for and cannot be had together: pairs of licences from different parents."""
    by_branch: dict[str, dict[str, tuple[Ancestor, Rule]]] = {}
    for ancestor in ancestors:
        if "merge" not in ancestor.relations:
            continue
        # The parent of the merge that this ancestor is, or is above: the last merge on the way down.
        last = len(ancestor.relations) - 1 - ancestor.relations[::-1].index("merge")
        alternatives = licences.get(ancestor.model, Declared()).together
        if len(alternatives) == 1:  # of a choice one may be taken that fits
            for name in alternatives[0]:
                by_branch.setdefault(ancestor.path[last], {}).setdefault(name, (ancestor, rule(name)))
    for (_, first), (_, second) in combinations(sorted(by_branch.items()), 2):
        for one, other in ((one, other) for one in first.values() for other in second.values()):
            clash = _clash(one[1], other[1])
            if clash is None or one[1].id in second or other[1].id in first:
                continue
            severity, why = clash
            (ancestor, asked), (beside, also) = one, other
            words = f"{ancestor.model} is under {asked.name} and {beside.model} under {also.name}: {why}"
            way = f" (the other way: {' → '.join(beside.path)})"
            sure = ancestor.confidence * beside.confidence
            yield Finding(
                "incompatible", severity, ancestor.model, asked.id, ancestor.path, sure, words + way, asked.url
            )


def _clash(one: Rule, other: Rule) -> tuple[str, str] | None:  # noqa: PLR0911  # a rule a line
    """Why two licences cannot be had together, with the severity; None where they can."""
    if one.id == other.id or not (one.clear and other.clear):
        return None
    if other.id in one.clashes or one.id in other.clashes:
        return "conflict", "works under the two cannot be combined"
    alike = [each for each in (one, other) if "share-alike" in each.duties]
    if len(alike) == 2 and not one.compatible & other.compatible:
        severity = "read" if other.id in one.akin or one.id in other.akin else "conflict"
        return severity, "each asks for derivatives under its own terms, and no licence is compatible with both"
    for free, bound in ((one, other), (other, one)):
        if "share-alike" not in free.duties:
            continue
        if "non-commercial" in bound.duties and free.commercial:
            return "conflict", f"{free.name} lets no use be forbidden that it allows, and {bound.name} forbids a use"
        if "use-restrictions" in bound.duties:
            return "conflict", f"{free.name} lets no restrictions be added, and {bound.name} asks for its own"
    if "use-restrictions" in one.duties and "use-restrictions" in other.duties:
        return "read", "both ask for their own terms to be passed on"
    return None
