"""How much of a known truth was recovered. Nothing here is known to inference.

Models are named by any strings. Copies: models that are equal to the last bit cannot be told apart by their weights,
so an edge at one copy counts as an edge at any: all copies are scored as one model, and edges between copies of one
another, true or inferred, are not scored. Absent models are known to the truth and not among those that were looked at:
edges to them cannot be found and are not scored, but they hold trees together. A model that has absent parents only is
an orphan: whatever parent it is given is false.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import comb, nan

Edge = tuple[str, str]  # parent, child
Tree = tuple[str | None, Collection[str]]  # root if one was given, and all members with it


@dataclass(frozen=True)
class Score:
    """What was recovered of a truth; shares are within 0 .. 1, NaN where there was nothing to find."""

    true_edges: int
    inferred_edges: int
    directed: float  # share of true edges that were inferred
    undirected: float  # the same without direction
    precision: float  # share of inferred edges that are true
    random_root_directed: float  # what `directed` would be on average, were each inferred tree rooted at random
    roots: float  # share of true roots (of trees of two or more) that are the root of their inferred tree
    random_roots: float  # what `roots` would be on average, were each inferred tree rooted at random
    adjusted_rand: float  # of the inferred trees against the true ones: 1 if equal, 0 by chance
    strangers: int  # models without parent and child
    false_parents: int  # strangers to whom a parent was given, decided or not
    decided: float  # share of inferred edges that are decided
    decided_right: float  # share of decided edges that are true
    orphans: int  # models all of whose parents are absent
    orphans_decided: int  # orphans to whom a parent was given by a decided edge


def score(
    truth: Mapping[str, Collection[str]],
    trees: Sequence[Tree],
    edges: Iterable[Edge],
    *,
    undecided: Iterable[Edge] = (),
    copies: Iterable[Collection[str]] = (),
    absent: Collection[str] = (),
) -> Score:
    """Score inferred trees and edges against the truth.

    `truth` maps every model to its parents: none for a root or a stranger, several for a merge, all of which are to be
    found. True trees are what its edges join (`true_trees` says how merges count). `edges` are all inferred (parent,
    child) pairs, those of `undecided` among them. `copies` are the groups of models that are equal, `absent` the models
    that may be named as parents and are not to be recovered. A model that is in no inferred tree counts as a tree of
    its own. Raises ValueError if an inferred edge or tree names a model that the truth does not, or that is absent.
    """
    first = _first(copies)
    known = set(truth).union(*truth.values()) - set(absent)
    inferred_trees = [(root, set(members) | ({root} if root else set())) for root, members in trees]
    edges, undecided = set(edges), set(undecided)
    named = {model for edge in edges | undecided for model in edge}.union(*(members for _, members in inferred_trees))
    if named - known:
        raise ValueError(f"the truth does not know {', '.join(sorted(named - known))}")

    models = {first.get(model, model) for model in known}
    every = _merged(((parent, child) for child, parents in truth.items() for parent in parents), first)
    true = {(parent, child) for parent, child in every if {parent, child} <= models}
    inferred = _merged(edges | undecided, first)
    decided = inferred - (_merged(undecided, first) - _merged(edges - undecided, first))
    found = {(a, b) for a, b in true if (a, b) in inferred or (b, a) in inferred}
    orphans = (models & {child for _, child in every}) - {child for _, child in true}
    strangers = models.difference(*true) - orphans
    true_tree = true_trees(models, every)
    roots, tree_of = _inferred(models, inferred_trees, first)
    sizes = Counter(tree_of.values())
    true_roots = sorted({parent for parent, _ in true} - {child for _, child in every})
    return Score(
        true_edges=len(true),
        inferred_edges=len(inferred),
        directed=_share(len(true & inferred), len(true)),
        undirected=_share(len(found), len(true)),
        precision=_share(len(true & inferred), len(inferred)),
        random_root_directed=_share(sum(_chance(edge, inferred) for edge in found), len(true)),
        roots=_share(sum(roots.get(tree_of[root]) == root for root in true_roots), len(true_roots)),
        random_roots=_share(sum(1 / sizes[tree_of[root]] for root in true_roots), len(true_roots)),
        adjusted_rand=adjusted_rand([true_tree[m] for m in sorted(true_tree)], [tree_of[m] for m in sorted(true_tree)]),
        strangers=len(strangers),
        false_parents=len(strangers & {child for _, child in inferred}),
        decided=_share(len(decided), len(inferred)),
        decided_right=_share(len(true & decided), len(decided)),
        orphans=len(orphans),
        orphans_decided=len(orphans & {child for _, child in decided}),
    )


def verdicts(
    truth: Mapping[str, Collection[str]], edges: Iterable[Edge], *, copies: Iterable[Collection[str]] = ()
) -> dict[Edge, str]:
    """What each inferred edge is: "right", "reversed" or "wrong". Edges between copies of one another are left out."""
    first = _first(copies)
    true = _merged(((parent, child) for child, parents in truth.items() for parent in parents), first)
    found = {}
    for edge in edges:
        parent, child = (first.get(model, model) for model in edge)
        if parent != child:
            backwards = "reversed" if (child, parent) in true else "wrong"
            found[edge] = "right" if (parent, child) in true else backwards
    return found


@dataclass(frozen=True)
class MergeScore:
    """How many merges were recovered. A merge has two parents or more."""

    merges: int
    parents: int  # merges whose inferred parents are the true ones, all of them and no other
    weights: int  # of these, those all of whose weights are near the true ones
    false: int  # models with several inferred parents that are no merges


def score_merges(
    truth: Mapping[str, Mapping[str, float]],
    inferred: Mapping[str, Mapping[str, float]],
    *,
    bases: Mapping[str, str] | None = None,
    copies: Iterable[Collection[str]] = (),
    within: float = 0.05,
) -> MergeScore:
    """Score inferred merges; both map a merge to its parents and their weights (NaN: not stated).

    `bases` are the bases of task arithmetic, which are neither asked for as parents nor wrong as such.
    """
    first = _first(copies)
    true = {first.get(merge, merge): _weights(weights, first) for merge, weights in truth.items()}
    base = {first.get(merge, merge): first.get(model, model) for merge, model in (bases or {}).items()}
    given = {first.get(merge, merge): _weights(weights, first) for merge, weights in inferred.items()}
    found = [
        merge
        for merge, weights in true.items()
        if set(given.get(merge, ())) - ({base.get(merge, "")} - set(weights)) == set(weights)
    ]
    near = [merge for merge in found if all(abs(given[merge][p] - w) <= within for p, w in true[merge].items())]
    several = {merge for merge, weights in given.items() if len(weights) > 1}
    return MergeScore(len(true), len(found), len(near), len(several - set(true)))


def equal_groups(true: Iterable[Collection[str]], inferred: Iterable[Collection[str]]) -> tuple[int, int, int]:
    """The number of true groups of copies, of those that were given exactly, and of given groups that are not true."""
    wanted, given = ({frozenset(group) for group in groups} for groups in (true, inferred))
    return len(wanted), len(wanted & given), len(given - wanted)


def true_trees(models: Collection[str], edges: Collection[Edge]) -> dict[str, int]:
    """Return the number of the true tree of each of `models`; edges may pass through models that are not among them.

    A merge belongs to its parents' tree. One of several trees belongs to none of them: it and its descendants have no
    number.
    """
    parents: defaultdict[str, set[str]] = defaultdict(set)
    for parent, child in edges:
        parents[child].add(parent)
    everyone = set(models).union(*edges)
    joined = {(next(iter(mine)), child) for child, mine in parents.items() if len(mine) == 1}
    merges = {child: mine for child, mine in parents.items() if len(mine) > 1}
    while True:
        tree = components(everyone, joined)
        within = [child for child, mine in merges.items() if len({tree[one] for one in mine}) == 1]
        fresh = {(parent, child) for child in within for parent in merges[child]} - joined
        if not fresh:
            break
        joined |= fresh
    across = {tree[child] for child, mine in merges.items() if len({tree[one] for one in mine}) > 1}
    return {model: tree[model] for model in models if tree[model] not in across}


def adjusted_rand(first: Sequence[int], second: Sequence[int]) -> float:
    """Return the adjusted Rand index of two clusterings given as labels (Hubert and Arabie, 1985, equation 5).

    1 for equal clusterings, 0 on average for random ones. Raises ValueError if they label different numbers of
    models.
    """
    pairs = sum(comb(n, 2) for n in Counter(zip(first, second, strict=True)).values())
    in_first = sum(comb(n, 2) for n in Counter(first).values())
    in_second = sum(comb(n, 2) for n in Counter(second).values())
    every = comb(len(first), 2)
    expected = in_first * in_second / every if every else 0.0
    most = (in_first + in_second) / 2
    return 1.0 if most == expected else (pairs - expected) / (most - expected)


def components(models: Iterable[str], edges: Iterable[Edge]) -> dict[str, int]:
    """Return for each model the number of the group that the edges, seen without direction, join it into."""
    neighbours = _neighbours(edges)
    label: dict[str, int] = {}
    for model in sorted(models):
        if model not in label:
            number = len(set(label.values()))
            label.update(dict.fromkeys(_reached(model, neighbours), number))
    return label


def _first(copies: Iterable[Collection[str]]) -> dict[str, str]:
    """The copy that stands for each."""
    return {model: min(group) for group in copies for model in group}


def _merged(pairs: Iterable[Edge], first: Mapping[str, str]) -> set[Edge]:
    return {(a, b) for a, b in ((first.get(a, a), first.get(b, b)) for a, b in pairs) if a != b}


def _weights(weights: Mapping[str, float], first: Mapping[str, str]) -> dict[str, float]:
    found: defaultdict[str, float] = defaultdict(float)
    for model, weight in weights.items():
        found[first.get(model, model)] += weight
    return dict(found)


def _inferred(
    models: set[str], trees: Sequence[tuple[str | None, set[str]]], first: Mapping[str, str]
) -> tuple[dict[int, str], dict[str, int]]:
    """The root of each numbered inferred tree, and the tree of each model."""
    roots: dict[int, str] = {}
    tree_of: dict[str, int] = {}
    for number, (root, members) in enumerate(trees):
        for member in members:
            tree_of.setdefault(first.get(member, member), number)
        if root is not None:
            roots[number] = first.get(root, root)
    for number, model in enumerate(sorted(models - set(tree_of)), start=len(trees)):
        tree_of[model], roots[number] = number, model
    return roots, tree_of


def _chance(edge: Edge, inferred: set[Edge]) -> float:
    """How likely a random root gives the edge its direction: the share of its tree that lies on the parent's side."""
    parent, child = edge
    neighbours = _neighbours(inferred - {(parent, child), (child, parent)})
    above, below = _reached(parent, neighbours), _reached(child, neighbours)
    return 0.5 if child in above else len(above) / (len(above) + len(below))


def _neighbours(edges: Iterable[Edge]) -> defaultdict[str, list[str]]:
    neighbours: defaultdict[str, list[str]] = defaultdict(list)
    for a, b in edges:
        neighbours[a].append(b)
        neighbours[b].append(a)
    return neighbours


def _reached(start: str, neighbours: Mapping[str, list[str]]) -> set[str]:
    reached, pending = {start}, [start]
    while pending:
        beyond = [model for model in neighbours.get(pending.pop(), ()) if model not in reached]
        reached.update(beyond)
        pending.extend(beyond)
    return reached


def _share(part: float, whole: int) -> float:
    return part / whole if whole else nan
