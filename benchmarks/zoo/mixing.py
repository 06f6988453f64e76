"""Plans of merges: networks of one root merged, networks of two roots averaged, and fine-tunes of merges."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np

from benchmarks.zoo.alter import MISSING, fresh, generator
from benchmarks.zoo.derivation import Merge
from benchmarks.zoo.forest import child_task
from benchmarks.zoo.recipes import finetune
from benchmarks.zoo.spec import Node, Plan, Recipe


def drawn(rng: np.random.Generator, method: str, root: Node, among: list[Node]) -> Merge:
    """One merge of two or three of the nodes."""
    count = 3 if method in ("average", "task arithmetic") and len(among) > 2 and rng.random() < 0.4 else 2
    parents = tuple(among[int(place)].name for place in rng.permutation(len(among))[:count])
    if method == "slerp":
        share = round(float(rng.uniform(0.2, 0.8)), 2)
        return Merge("slerp", parents, (round(1 - share, 2), share))
    if method == "task arithmetic":
        weights = tuple(round(float(rng.uniform(0.4, 1.0)), 2) for _ in parents)
        return Merge("task arithmetic", parents, weights, base=root.name)
    if method == "layer ranges":
        return Merge("layer ranges", parents, starts=(0, int(rng.integers(1, root.architecture.layers))))
    if rng.random() < 0.4:
        return Merge("average", parents, tuple([1 / count] * count))
    first = rng.dirichlet(np.full(count, 4.0)).round(2)[:-1]
    return Merge("average", parents, (*first.tolist(), round(1 - float(first.sum()), 2)))


def merged_node(plan: Plan, like: Node, how: Merge, place: int) -> Node:
    """The repository of a merge: `like` is its first parent."""
    return replace(
        like,
        name=fresh(plan, "merge", place),
        parent=how.parents[0],
        recipe=Recipe("merge", 0.0, 0),
        derived=how,
        card=MISSING,
        verdict="undeclared",
    )


def merges(plan: Plan) -> Plan:
    """In each tree a merge of every method (as many rounds as fit) and one fine-tune of a merge; some across trees."""
    rng = generator(plan, "merges")
    by_name = {node.name: node for node in plan.nodes}
    roots = [node for node in plan.nodes if node.parent is None]
    made: list[Node] = []
    for root in roots:
        tuned = [node for node in plan.nodes if node.tree == root.tree and node.parent is not None]
        if len(tuned) < 2:
            continue
        first = len(made)
        for method in ("average", "slerp", "task arithmetic", "layer ranges", "average", "slerp"):
            how = drawn(rng, method, root, tuned)
            made.append(merged_node(plan, by_name[how.parents[0]], how, len(made)))
        parent = made[first + int(rng.integers(6))]
        task = child_task(root.architecture, rng, 10**9 + len(made))
        name = fresh(plan, "tuned merge", len(made))
        made.append(replace(parent, name=name, parent=parent.name, task=task, recipe=finetune(rng), derived=None))
    for one, other in pairwise(roots):
        pair = [next(node for node in plan.nodes if node.parent == root.name) for root in (one, other)]
        share = round(float(rng.uniform(0.15, 0.5)), 2)
        how = Merge("average", (pair[0].name, pair[1].name), (round(1 - share, 2), share))
        made.append(merged_node(plan, pair[0], how, len(made)))
    return replace(plan, nodes=plan.nodes + tuple(made))
