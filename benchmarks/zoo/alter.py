"""What is done to a forest after it was planned: storage forms, casts, copies, strangers, missing models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from benchmarks.zoo.derivation import Backbone, Cast, Form, Prune
from benchmarks.zoo.forest import objective, root_task
from benchmarks.zoo.spec import Card, Copy, Kind, Node, Plan, Recipe, seed_of

Alteration = Callable[[Plan], Plan]
MISSING = Card("missing")
FORMS: tuple[Form, ...] = ("float16", "bfloat16", "int8")


def generator(plan: Plan, *use: object) -> np.random.Generator:
    """A generator of an alteration's own."""
    return np.random.default_rng(seed_of("alter", plan.seed, *use))


def fresh(plan: Plan, use: str, place: int) -> str:
    """A name that gives nothing away for a node that an alteration adds."""
    return f"zoo/{plan.nodes[0].architecture.family}-{seed_of('name', use, plan.seed, place):016x}"[:20]


def unaltered(plan: Plan) -> Plan:
    """The plan as it is."""
    return plan


def pruning(plan: Plan, node: Node, sparsity: float) -> Prune:
    """How a network is pruned: in one tree all per tensor, in another all as a whole."""
    by_tensor = generator(plan, "scope", node.tree).random() < 0.7
    return Prune(sparsity, "tensor" if by_tensor else "network")


def stored_pruned(sparsity: float, share: float) -> Alteration:
    """A share of the children (of all models, if it is 1) pruned as they are stored."""

    def alter(plan: Plan) -> Plan:
        rng = generator(plan, "pruned")
        nodes = []
        for node in plan.nodes:
            how = pruning(plan, node, sparsity)
            chosen = rng.random() < share and (node.parents or share == 1)
            nodes.append(replace(node, stored=(how,)) if chosen else node)
        return replace(plan, nodes=tuple(nodes))

    return alter


def stored_cast(*forms: Form) -> Alteration:
    """Half of all models stored in one of the forms, roots among them."""

    def alter(plan: Plan) -> Plan:
        rng = generator(plan, "cast")
        nodes = []
        for node in plan.nodes:
            form = forms[int(rng.integers(len(forms)))]
            nodes.append(replace(node, stored=(Cast(form),)) if rng.random() < 0.5 else node)
        return replace(plan, nodes=tuple(nodes))

    return alter


def backbones(plan: Plan) -> Plan:
    """A sixth of all models stored without their heads."""
    rng = generator(plan, "backbone")
    return replace(
        plan, nodes=tuple(replace(n, stored=(Backbone(),)) if rng.random() < 1 / 6 else n for n in plan.nodes)
    )


def derived_node(plan: Plan, node: Node, how: Prune | Cast, place: int) -> Node:
    """A repository whose weights are computed from `node`'s."""
    kind: Kind = "pruned" if isinstance(how, Prune) else "quantised" if how.form == "int8" else "cast"
    return Node(
        fresh(plan, "derived", place),
        node.tree,
        node.architecture,
        node.task,
        Recipe(kind, 0.0, 0),
        node.name,
        MISSING,
        "undeclared",
        derived=how,
    )


def with_derived(plan: Plan, how: Callable[[Node, np.random.Generator], Prune | Cast], share: float) -> Plan:
    """Derived copies of a share of the nodes, at once after them; half of a copied node's children descend from it.

    Such a child of a pruned model keeps its zeros; of casts half save in bfloat16, and none can be told from its
    parent's grid otherwise.
    """
    rng = generator(plan, "derived")
    inner = {node.parent for node in plan.nodes}
    nodes: list[Node] = []
    copies: dict[str, Node] = {}
    for node in plan.nodes:
        copy = copies.get(node.parent or "")
        if copy is not None and rng.random() < 0.5:
            masked = isinstance(copy.derived, Prune)
            dtype = "bfloat16" if not masked and rng.random() < 0.5 else node.recipe.dtype
            recipe = replace(node.recipe, masked=masked, dtype=dtype)
            nodes.append(replace(node, parent=copy.name, recipe=recipe))
        else:
            nodes.append(node)
        if rng.random() < (2 * share if node.name in inner else share):
            copies[node.name] = derived_node(plan, nodes[-1], how(node, rng), len(nodes))
            nodes.append(copies[node.name])
    return replace(plan, nodes=tuple(nodes))


def casts(plan: Plan) -> Plan:
    """bfloat16 and float16 copies, and children of them."""
    return with_derived(plan, lambda _, rng: Cast("bfloat16" if rng.random() < 0.7 else "float16"), 0.3)


def quantised_copies(plan: Plan) -> Plan:
    """int8 copies beside their originals, and children of them."""
    return with_derived(plan, lambda *_: Cast("int8"), 0.2)


def pruned_copies(sparsity: float) -> Alteration:
    """Pruned copies beside their originals, and children of them that keep the zeros."""
    return lambda plan: with_derived(plan, lambda node, _: pruning(plan, node, sparsity), 0.2)


def copies(plan: Plan) -> Plan:
    """Exact re-uploads and re-sharded copies of a quarter of all models."""
    rng = generator(plan, "copies")
    made = []
    for place, node in enumerate(plan.nodes):
        for again in range(int(rng.choice([0, 1, 2], p=[0.75, 0.17, 0.08]))):
            name = fresh(plan, f"copy {again}", place)
            made.append(Copy(name, node.name, MISSING, "duplicate", node.created, int(rng.choice([0, 0, 1, 2, 3, 5]))))
    return replace(plan, copies=tuple(made))


def thinned(plan: Plan) -> Plan:
    """Half of the leaves gone, and a quarter of the inner nodes with all that descends from them."""
    rng = generator(plan, "thinned")
    inner = {node.parent for node in plan.nodes}
    kept: dict[str, Node] = {}
    for node in plan.nodes:
        stays = rng.random() < (0.75 if node.name in inner else 0.5)
        if node.parent is None or (stays and node.parent in kept):
            kept[node.name] = node
    return replace(plan, nodes=tuple(kept.values()))


def rootless(plan: Plan) -> Plan:
    """No tree shows its root."""
    return replace(plan, absent=tuple(node.name for node in plan.nodes if node.parent is None))


def strangers(count: int) -> Alteration:
    """Networks of no family mixed in: other data, other seeds, a shorter pre-training."""

    def alter(plan: Plan) -> Plan:
        first = plan.nodes[0]
        rng = generator(plan, "strangers")
        alone = []
        for place in range(count):
            task = objective(root_task(first.architecture, rng, 10**9 + place), first.architecture.text, rng.random())
            recipe = replace(first.recipe, steps=first.recipe.steps // 3, examples=6000)
            name = fresh(plan, "stranger", place)
            node = replace(first, name=name, tree=f"stranger{place}", task=task, recipe=recipe, stranger=True)
            alone.append(node)
        return replace(plan, nodes=plan.nodes + tuple(alone))

    return alter


def folds(plan: Plan) -> Plan:
    """Every root becomes as many folds of one cross-validation as it has children, each with one of these."""
    nodes: list[Node] = []
    for root in [node for node in plan.nodes if node.parent is None]:
        children = [node for node in plan.nodes if node.parent == root.name]
        for place, child in enumerate(children):
            recipe = replace(root.recipe, kind="fold", fold=place, folds=len(children), steps=root.recipe.steps // 2)
            name = fresh(plan, f"fold {root.name}", place)
            fold = replace(root, name=name, initialisation=root.name, recipe=recipe)
            nodes += [fold, replace(child, parent=fold.name)]
    return replace(plan, nodes=tuple(nodes))
