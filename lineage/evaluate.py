"""How much of a known truth was recovered. Nothing here is known to inference.

Models are named by any strings. Copies: models that are equal to the last bit cannot be told apart by their weights,
so an edge at one copy counts as an edge at any: all copies are scored as one model, and edges between copies of one
another, true or inferred, are not scored.
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
    false_parents: int  # strangers to whom a parent was given
    decided: float  # share of inferred edges that are decided
    decided_right: float  # share of decided edges that are true


def score(
    truth: Mapping[str, Collection[str]],
    trees: Sequence[Tree],
    edges: Iterable[Edge],
    *,
    undecided: Iterable[Edge] = (),
    copies: Iterable[Collection[str]] = (),
) -> Score:
    """Score inferred trees and edges against the truth.

    `truth` maps every model to its parents: none for a root or a stranger, several for a merge. True trees are what
    its edges join. `edges` are all inferred (parent, child) pairs, those of `undecided` among them. A model that is
    in no inferred tree counts as a tree of its own. Raises ValueError if an inferred edge or tree names a model that
    the truth does not.
    """
    first = {model: min(group) for group in copies for model in group}
    known = set(truth).union(*truth.values())
    inferred_trees = [(root, set(members) | ({root} if root else set())) for root, members in trees]
    edges, undecided = set(edges), set(undecided)
    named = {model for edge in edges | undecided for model in edge}.union(*(members for _, members in inferred_trees))
    if named - known:
        raise ValueError(f"the truth does not know {', '.join(sorted(named - known))}")

    def merged(pairs: Iterable[Edge]) -> set[Edge]:
        return {(a, b) for a, b in ((first.get(a, a), first.get(b, b)) for a, b in pairs) if a != b}

    models = {first.get(model, model) for model in known}
    true = merged((parent, child) for child, parents in truth.items() for parent in parents)
    inferred = merged(edges | undecided)
    decided = inferred - (merged(undecided) - merged(edges - undecided))
    found = {(a, b) for a, b in true if (a, b) in inferred or (b, a) in inferred}
    strangers = models.difference(*true)
    true_tree = components(models, true)
    roots, tree_of = _inferred(models, inferred_trees, first)
    sizes = Counter(tree_of.values())
    true_roots = sorted({parent for parent, _ in true} - {child for _, child in true})
    return Score(
        true_edges=len(true),
        inferred_edges=len(inferred),
        directed=_share(len(true & inferred), len(true)),
        undirected=_share(len(found), len(true)),
        precision=_share(len(true & inferred), len(inferred)),
        random_root_directed=_share(sum(_chance(edge, inferred) for edge in found), len(true)),
        roots=_share(sum(roots.get(tree_of[root]) == root for root in true_roots), len(true_roots)),
        random_roots=_share(sum(1 / sizes[tree_of[root]] for root in true_roots), len(true_roots)),
        adjusted_rand=adjusted_rand([true_tree[m] for m in sorted(models)], [tree_of[m] for m in sorted(models)]),
        strangers=len(strangers),
        false_parents=len(strangers & {child for _, child in inferred}),
        decided=_share(len(decided), len(inferred)),
        decided_right=_share(len(true & decided), len(decided)),
    )


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
