"""Named splits: forests of 1-4-16 trees whose names, dates and cards give nothing away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.zoo.spec import Architecture, Card, Node, Plan, Recipe, Task, seed_of

VIT = Architecture("vit", hidden=64, layers=4, heads=4, mlp=128)
LLAMA = Architecture("llama", hidden=64, layers=3, heads=4, mlp=128)
PRETRAIN = {
    "vit": Recipe("pretrain", 3e-3, 2000, batch=64, examples=12000, weight_decay=0.05),
    "llama": Recipe("pretrain", 4e-3, 1800, batch=24, examples=8000, weight_decay=0.05),
}
IMAGE_KINDS = {"shapes": 8, "gratings": 8, "textures": 6, "fields": 6, "digits": 10, "ramps": 6, "blobs": 5}
TEXT_KINDS = ("sentences", "markov", "arithmetic", "brackets", "echoes", "counting")
Draw = Callable[[np.random.Generator], Recipe]


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform, to three digits."""
    return float(f"{np.exp(rng.uniform(np.log(low), np.log(high))):.3g}")


def finetune(rng: np.random.Generator) -> Recipe:
    """A full fine-tune: mostly AdamW, sometimes SGD."""
    steps, decay = int(rng.integers(100, 260)), float(rng.choice([0.0, 0.01, 0.1]))
    if rng.random() < 0.2:
        return Recipe("finetune", log_uniform(rng, 5e-3, 4e-2), steps, optimiser="sgd", weight_decay=decay / 100)
    return Recipe("finetune", log_uniform(rng, 2e-4, 1.2e-3), steps, weight_decay=decay)


def lora(rng: np.random.Generator) -> Recipe:
    """A merged LoRA of varying rank, on the attention or on every linear layer."""
    rank = int(rng.choice([2, 4, 8, 12]))
    recipe = Recipe("lora", log_uniform(rng, 1e-3, 5e-3), int(rng.integers(120, 260)), weight_decay=0.0)
    return replace(recipe, rank=rank, alpha=2.0 * rank, targets="attention" if rng.random() < 0.5 else "linear")


def mixed(rng: np.random.Generator) -> Recipe:
    """One or the other, evenly."""
    return lora(rng) if rng.random() < 0.5 else finetune(rng)


def frozen(rng: np.random.Generator) -> Recipe:
    """A full fine-tune of the later half of the layers, or of three quarters of them."""
    return replace(finetune(rng), kind="frozen", frozen=float(rng.choice([0.5, 0.25])))


def halves(rng: np.random.Generator) -> Recipe:
    """Half of the full fine-tunes saved in bfloat16."""
    return replace(finetune(rng), dtype="bfloat16" if rng.random() < 0.5 else "float32")


def continued(rng: np.random.Generator) -> Recipe:
    """More pre-training at a constant, moderate rate, on the root's task with new data."""
    steps = int(rng.integers(300, 600))
    return Recipe(
        "continued", log_uniform(rng, 3e-4, 1e-3), steps, examples=6000, schedule="constant", weight_decay=0.05
    )


@dataclass(frozen=True)
class Split:
    """How the children of a split are made."""

    architecture: Architecture
    recipe: Draw
    summary: str


SPLITS: dict[str, Split] = {
    "ft": Split(VIT, finetune, "ViT, full fine-tunes"),
    "lora": Split(VIT, lora, "ViT, merged LoRA of ranks 2 to 12"),
    "mixed": Split(VIT, mixed, "ViT, full fine-tunes and LoRA"),
    "frozen": Split(VIT, frozen, "ViT, only the later layers trained"),
    "bf16": Split(VIT, halves, "ViT, full fine-tunes, half of them saved in bfloat16"),
    "continued": Split(VIT, continued, "ViT, continued pre-training"),
    "decoder-ft": Split(LLAMA, finetune, "decoder, full fine-tunes"),
    "decoder-lora": Split(LLAMA, lora, "decoder, merged LoRA"),
    "decoder-mixed": Split(LLAMA, mixed, "decoder, full fine-tunes and LoRA"),
}


def root_task(family: str, rng: np.random.Generator, variant: int) -> Task:
    """A mixture of three kinds: what a root is pre-trained on."""
    if family == "vit":
        pretraining = [kind for kind in IMAGE_KINDS if kind != "blobs"]
        return Task(tuple(rng.choice(pretraining, 3, replace=False).tolist()), 6, variant, 0.15)
    return Task(tuple(rng.choice(TEXT_KINDS, 3, replace=False).tolist()), variant=variant)


def child_task(family: str, rng: np.random.Generator, variant: int) -> Task:
    """One kind, of a variant that no other network has, and for images of any number of classes."""
    if family == "vit":
        kind = str(rng.choice(list(IMAGE_KINDS)))
        return Task((kind,), int(rng.integers(3, IMAGE_KINDS[kind] + 1)), variant, float(rng.choice([0.1, 0.15, 0.25])))
    return Task((str(rng.choice(TEXT_KINDS)),), variant=variant)


def tree(split: Split, name: str, seed: int, branch: int, depth: int) -> list[Node]:
    """One tree, generation after generation."""
    rng = np.random.default_rng(seed_of("tree", name, seed))
    family = split.architecture.family
    variants = iter(range(seed_of("variants", name, seed) % 10**6 * 1000, 10**9 + 1000))

    def named(place: int) -> str:
        return f"zoo/{family}-{seed_of('name', name, seed, place):016x}"[:20]

    top = Node(
        named(0),
        name,
        split.architecture,
        root_task(family, rng, next(variants)),
        PRETRAIN[family],
        card=Card("none"),
        verdict="root",
    )
    nodes, generation = [top], [top]
    for _ in range(depth):
        children = []
        for parent in generation:
            for _ in range(branch):
                recipe = split.recipe(rng)
                task = top.task if recipe.kind == "continued" else child_task(family, rng, next(variants))
                node = Node(named(len(nodes)), name, split.architecture, task, recipe, parent.name, Card("missing"))
                nodes.append(replace(node, verdict="undeclared"))
                children.append(node)
        generation = children
    return nodes


def split_plan(name: str, seed: int, trees: int = 5, branch: int = 4, depth: int = 2) -> Plan:
    """The plan of a named split. Raises ValueError for sizes below one."""
    if min(trees, branch, depth) < 1:
        raise ValueError("trees, branch and depth are at least 1")
    nodes = [node for place in range(trees) for node in tree(SPLITS[name], f"tree{place}", seed, branch, depth)]
    return Plan(f"{name} {trees} x {branch}^{depth}", seed, tuple(nodes))
