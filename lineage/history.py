"""Two runs of a family compared: what became of edges and members, and what differs in what the runs came from.

Pure: runs in, differences out. Models are told apart by the id of their repository, so that a renamed one has neither
left nor joined; names are only shown. Of an edge each run keeps its own; here it is said what changed between the two,
and which recorded change goes with it: a member that joined or left, a new revision, other parameters, methods, code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

TOLERANCE = 0.005  # of a confidence: what rounds to the same two digits has not changed


@dataclass(frozen=True)
class Seen:
    """An edge as a run saw it."""

    relation: str
    confidence: float
    decided: bool


@dataclass(frozen=True)
class RunRecord:
    """A stored run, as far as it is compared. Models are ids of repositories, edges go from parent to child."""

    number: int
    method: str
    parameters: Mapping[str, Any]
    versions: Mapping[str, Any]
    metric_version: int | None
    batches: tuple[int, ...]  # the measures that it rests on
    revisions: Mapping[int, str]  # of every member of its trees
    names: Mapping[int, str]
    roots: Mapping[int, int | None]  # member -> the root of its tree
    edges: Mapping[tuple[int, int], Seen]
    duplicates: frozenset[frozenset[int]] = frozenset()
    absent: frozenset[frozenset[int]] = frozenset()  # groups of siblings whose parent is not here


@dataclass(frozen=True)
class EdgeChange:
    """What became of the parents of one model. `kind` is one of KINDS; the edges are those that differ, by parent."""

    kind: str
    child: int
    before: Mapping[int, Seen] = field(default_factory=dict)
    after: Mapping[int, Seen] = field(default_factory=dict)
    because: tuple[str, ...] = ()


# What an `EdgeChange` says of a child and its parents; of a reversed edge the child is the one that it has now.
KINDS = {
    "added": "has a parent, or one more",
    "removed": "lost a parent",
    "reversed": "parent and child changed places",
    "re-parented": "has another parent",
    "changed": "the same edge with another confidence, relation or decision",
}


@dataclass(frozen=True)
class Difference:
    """All that differs between two runs; models by id."""

    before: RunRecord
    after: RunRecord
    joined: tuple[int, ...]
    left: tuple[int, ...]
    new_revision: tuple[int, ...]
    renamed: tuple[int, ...]
    rerooted: tuple[int, ...]  # members of both whose tree has another root
    edges: tuple[EdgeChange, ...]
    settings: tuple[tuple[str, Any, Any], ...]  # what differs of method, parameters, versions and measures
    new_duplicates: tuple[frozenset[int], ...]
    lost_duplicates: tuple[frozenset[int], ...]
    new_absent: tuple[frozenset[int], ...]
    lost_absent: tuple[frozenset[int], ...]

    @property
    def same(self) -> bool:
        """Whether the two runs answer the same, whatever they came from."""
        answers = (self.joined, self.left, self.rerooted, self.edges, self.new_duplicates, self.lost_duplicates)
        return not any((*answers, self.new_absent, self.lost_absent))

    def name(self, model: int) -> str:
        """The model's name, the newer one where it changed."""
        return self.after.names.get(model) or self.before.names[model]


def difference(before: RunRecord, after: RunRecord, tolerance: float = TOLERANCE) -> Difference:
    """What differs between two runs of a family. Confidences that differ by no more than `tolerance` are the same."""
    joined = set(after.revisions) - set(before.revisions)
    left = set(before.revisions) - set(after.revisions)
    both = set(before.revisions) & set(after.revisions)
    renewed = {one for one in both if before.revisions[one] != after.revisions[one]}
    settings = _settings(before, after)
    changes = [
        EdgeChange(kind, child, lost, found, _because(before, after, {child, *lost, *found}, settings))
        for kind, child, lost, found in _edge_changes(before.edges, after.edges, tolerance)
    ]

    def listed(models: Iterable[int]) -> tuple[int, ...]:
        return tuple(sorted(models, key=lambda one: (after.names.get(one) or before.names[one], one)))

    order = {one: place for place, one in enumerate(listed(set(before.names) | set(after.names)))}
    kinds = list(KINDS)
    return Difference(
        before,
        after,
        joined=listed(joined),
        left=listed(left),
        new_revision=listed(renewed),
        renamed=listed(one for one in both if before.names[one] != after.names[one]),
        rerooted=listed(one for one in both if before.roots.get(one) != after.roots.get(one)),
        edges=tuple(sorted(changes, key=lambda one: (kinds.index(one.kind), order[one.child]))),
        settings=settings,
        new_duplicates=_groups(after.duplicates - before.duplicates, order),
        lost_duplicates=_groups(before.duplicates - after.duplicates, order),
        new_absent=_groups(after.absent - before.absent, order),
        lost_absent=_groups(before.absent - after.absent, order),
    )


def _groups(groups: Iterable[frozenset[int]], order: Mapping[int, int]) -> tuple[frozenset[int], ...]:
    return tuple(sorted(groups, key=lambda group: sorted(order[one] for one in group)))


_Parents = dict[int, Seen]


def _edge_changes(
    before: Mapping[tuple[int, int], Seen], after: Mapping[tuple[int, int], Seen], tolerance: float
) -> list[tuple[str, int, _Parents, _Parents]]:
    """(kind, child, parents that differ before, and after) of every edge that differs, each in one of them."""
    # Only where each run has one of the two directions: a run that has both has neither in place of the other.
    turned = {(a, b) for a, b in after.keys() - before.keys() if (b, a) in before.keys() - after.keys()}
    found: list[tuple[str, int, _Parents, _Parents]] = []
    lost: dict[int, _Parents] = {}
    new: dict[int, _Parents] = {}
    for (parent, child), seen in before.items():
        now = after.get((parent, child))
        if now is None and (child, parent) not in turned:
            lost.setdefault(child, {})[parent] = seen
        elif now is not None and _differs(seen, now, tolerance):
            found.append(("changed", child, {parent: seen}, {parent: now}))
    for (parent, child), seen in after.items():
        if (parent, child) in before:
            continue
        if (parent, child) in turned:
            found.append(("reversed", child, {parent: before[child, parent]}, {parent: seen}))
        else:
            new.setdefault(child, {})[parent] = seen
    for child in sorted(lost.keys() | new.keys()):
        parents = lost.get(child, {}), new.get(child, {})
        kind = "re-parented" if all(parents) else "removed" if parents[0] else "added"
        found.append((kind, child, *parents))
    return found


def _differs(before: Seen, after: Seen, tolerance: float) -> bool:
    named = (before.relation, before.decided) != (after.relation, after.decided)
    return named or abs(before.confidence - after.confidence) > tolerance


def _settings(before: RunRecord, after: RunRecord) -> tuple[tuple[str, Any, Any], ...]:
    """What differs of all that a run comes from but its members; a name that one of them lacks is None there."""
    pairs: list[tuple[str, Any, Any]] = [("method", before.method, after.method)]
    for title, old, new in (
        ("parameter", before.parameters, after.parameters),
        ("version of", before.versions, after.versions),
    ):
        names = sorted({*old, *new} - {"method"})  # which comes first
        pairs += [(f"{title} {name}", old.get(name), new.get(name)) for name in names]
    pairs.append(("version of measures", before.metric_version, after.metric_version))
    pairs.append(("batches of measures", list(before.batches), list(after.batches)))
    return tuple((name, old, new) for name, old, new in pairs if old != new)


def _because(
    before: RunRecord, after: RunRecord, touched: set[int], settings: tuple[tuple[str, Any, Any], ...]
) -> tuple[str, ...]:
    """The recorded changes that go with the change of an edge: of the models it touches, else of their trees, else all.

    What goes with a change need not be its cause; but where nothing was recorded, nothing is made up.
    """
    own = _member_changes(before, after, touched)
    if own:
        return own
    trees = {run.roots.get(one) for run in (before, after) for one in touched} - {None}
    kin = {one for run in (before, after) for one, root in run.roots.items() if root in trees}
    around = _member_changes(before, after, kin)
    shown = (*around[:_SHOWN], f"and {len(around) - _SHOWN} more of the tree") if len(around) > _SHOWN else around
    # What only one of two methods knows goes with the method.
    apart = before.method != after.method
    named = tuple(
        f"another {name}"
        for name, old, new in settings
        if name != "batches of measures" and not (apart and (old is None or new is None))
    )
    again = any(name == "batches of measures" for name, _, _ in settings) and not around
    return (*shown, *named, *(("other measures",) if again else ()))


_SHOWN = 3


def _member_changes(before: RunRecord, after: RunRecord, models: Iterable[int]) -> tuple[str, ...]:
    found = []
    for model in models:
        old, new = before.revisions.get(model), after.revisions.get(model)
        name = after.names.get(model) or before.names.get(model)
        if old is None and new is not None:
            found.append(f"{name} joined")
        elif new is None and old is not None:
            found.append(f"{name} left")
        elif old != new:
            found.append(f"{name} has a new revision")
    return tuple(sorted(found))
