"""Shapes of trees, and trees of networks: names, tasks and recipes, generation after generation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.zoo.recipes import PRETRAIN, Draw
from benchmarks.zoo.spec import Architecture, Card, Node, Task, seed_of

IMAGE_KINDS = {"shapes": 8, "gratings": 8, "textures": 6, "fields": 6, "digits": 10, "ramps": 6, "blobs": 5}
ORIENTED = ("digits", "fields", "textures")  # kinds whose pictures show by how much they were turned
TEXT_KINDS = ("sentences", "markov", "arithmetic", "brackets", "echoes", "counting")
Shape = Callable[[np.random.Generator, int, int], list[int]]


def balanced(_: np.random.Generator, branch: int, depth: int) -> list[int]:
    """The place of every node's parent but the root's: every inner node has `branch` children."""
    inner = sum(branch**level for level in range(depth))
    return [place for place in range(inner) for _ in range(branch)]


def chain(_: np.random.Generator, branch: int, depth: int) -> list[int]:
    """One child each, `branch` * `depth` generations."""
    return list(range(branch * depth))


def star(rng: np.random.Generator, branch: int, depth: int) -> list[int]:
    """One generation, as many children as a balanced tree has descendants."""
    return [0] * len(balanced(rng, branch, depth))


def ragged(rng: np.random.Generator, branch: int, depth: int) -> list[int]:
    """Every node hangs on any earlier one, old hubs preferred: chains, stars and all between; sizes vary."""
    size = len(balanced(rng, branch, depth))
    parents: list[int] = []
    for place in range(1, int(rng.integers(max(1, size // 3), size + 1)) + 1):
        weights = np.array([1.0 + parents.count(one) for one in range(place)])
        parents.append(int(rng.choice(place, p=weights / weights.sum())))
    return parents


def versions(rng: np.random.Generator, _branch: int, _depth: int) -> list[int]:
    """Five models as versions of one: 1 - 2 - {3, 4, 5}, or in four levels 1 - 2 - {3 - 4, 5}."""
    return [0, 1, 1, 1] if rng.random() < 0.5 else [0, 1, 2, 1]


@dataclass(frozen=True)
class Forest:
    """How the trees of a split are grown; sizes are what a split has where none are asked for.

    `objectives`: some roots learn rotations, reconstruction or denoising instead of labels. `heavy`: roots with heavy
    tails. `same`: all trees follow one recipe and tasks, and differ in their seed alone. `similar`: siblings learn
    similar data, a quarter of them samples of the very same. `heads`: other heads, and a layer more or less.
    """

    architecture: Architecture
    recipe: Draw
    shape: Shape = balanced
    trees: int = 5
    branch: int = 4
    depth: int = 2
    objectives: bool = True
    heavy: bool = False
    same: bool = False
    similar: bool = False
    heads: bool = False


def root_task(architecture: Architecture, rng: np.random.Generator, variant: int) -> Task:
    """A mixture of three kinds: what a root is pre-trained on."""
    if not architecture.text:
        pretraining = [kind for kind in IMAGE_KINDS if kind != "blobs"]
        return Task(tuple(rng.choice(pretraining, 3, replace=False).tolist()), 6, variant, 0.15)
    return Task(tuple(rng.choice(TEXT_KINDS, 3, replace=False).tolist()), variant=variant)


def child_task(architecture: Architecture, rng: np.random.Generator, variant: int) -> Task:
    """One kind, of a variant that no other network has, and for images of any number of classes."""
    if not architecture.text:
        kind = str(rng.choice(list(IMAGE_KINDS)))
        return Task((kind,), int(rng.integers(3, IMAGE_KINDS[kind] + 1)), variant, float(rng.choice([0.1, 0.15, 0.25])))
    return Task((str(rng.choice(TEXT_KINDS)),), variant=variant)


def objective(task: Task, text: bool, draw: float) -> Task:
    """The task with an objective: its own in half of all cases."""
    if text:
        return task if draw < 0.7 else replace(task, objective="denoising")
    if draw < 0.5:
        return task
    if draw < 0.75:
        return replace(task, kinds=ORIENTED, objective="rotation")
    return replace(task, objective="reconstruction")


def alike(task: Task, siblings: list[Task], rng: np.random.Generator) -> Task:
    """The kind of the first sibling's task; in a quarter of all cases its very variant: samples of one text."""
    if not siblings:
        return task
    first = siblings[0]
    return first if rng.random() < 0.25 else replace(first, variant=task.variant)


def altered(architecture: Architecture, rng: np.random.Generator, layers: int) -> Architecture:
    """Another head, or a layer more or less than the root's `layers`; in half of all cases nothing."""
    draw = rng.random()
    if draw < 0.5:
        return architecture
    if draw < 0.7 and architecture.family == "vit":
        return replace(architecture, head="mlp")
    return replace(architecture, layers=layers + int(rng.choice([-1, 1])))


def tree(forest: Forest, name: str, seed: int, branch: int, depth: int) -> list[Node]:
    """One tree, generation after generation."""
    source = "tree0" if forest.same else name
    rng, further = (np.random.default_rng(seed_of(use, source, seed)) for use in ("tree", "further"))
    architecture = forest.architecture
    variants = iter(range(seed_of("variants", source, seed) % 10**6 * 1000, 10**9 + 1000))

    def named(place: int) -> str:
        return f"zoo/{architecture.family}-{seed_of('name', name, seed, place):016x}"[:20]

    task = root_task(architecture, rng, next(variants))
    if forest.objectives:
        task = objective(task, architecture.text, np.random.default_rng(seed_of("objective", source, seed)).random())
    recipe = replace(PRETRAIN[architecture.family], heavy=forest.heavy)
    nodes = [Node(named(0), name, architecture, task, recipe, card=Card("none"), verdict="root")]
    tasks: dict[int, list[Task]] = {}
    for place, above in enumerate(forest.shape(np.random.default_rng(seed_of("shape", name, seed)), branch, depth), 1):
        parent, recipe = nodes[above], forest.recipe(rng)
        if architecture.text:  # a line of 40 characters costs as much as two pictures
            recipe = replace(recipe, batch=16)
        own = nodes[0].task if recipe.kind == "continued" else child_task(architecture, rng, next(variants))
        if forest.similar:
            own = alike(own, tasks.get(above, []), further)
            tasks.setdefault(above, []).append(own)
        shape = altered(parent.architecture, further, architecture.layers) if forest.heads else parent.architecture
        nodes.append(Node(named(place), name, shape, own, recipe, parent.name, Card("missing"), "undeclared"))
    return nodes


def grown(forest: Forest, seed: int, trees: int, branch: int, depth: int) -> list[Node]:
    """All trees."""
    return [node for place in range(trees) for node in tree(forest, f"tree{place}", seed, branch, depth)]
