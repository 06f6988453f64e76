"""A zoo whose root is not shown: four networks that were really trained from one, and a child of one of them."""

from __future__ import annotations

from pathlib import Path

from benchmarks.zoo import growing
from benchmarks.zoo.spec import Architecture, Card, Node, Plan, Recipe, Task

MLP = Architecture("mlp", hidden=64, layers=3, heads=1, mlp=1)
ROOT = Recipe("pretrain", 3e-3, 300, examples=1024)
TUNE = Recipe("finetune", 1e-3, 120, examples=512)
TASKS = ("shapes", "gratings", "textures", "ramps")
SIBLINGS = tuple(f"grove/{task}" for task in TASKS)
LOST = "grove/lost-root"
# What the cards of the siblings declare: most of them the root, which is not there.
DECLARED = (LOST, LOST, "Grove/Lost-Root", "grove/gated-root")


def write_rootless(out: Path, seed: int = 3) -> Path:
    """Train them (a few seconds) and write them as a folder of models; the root stands beside it, as `lost`."""
    nodes = [Node(LOST, "grove", MLP, Task(("shapes", "gratings", "textures"), 4), ROOT)]
    for place, (name, task, declared) in enumerate(zip(SIBLINGS, TASKS, DECLARED, strict=True)):
        card = Card("right", declared)
        nodes.append(Node(name, "grove", MLP, Task((task,), 4, variant=place + 1), TUNE, LOST, card))
    nodes.append(Node("grove/grandchild", "grove", MLP, Task(("ramps",), 3, variant=9), TUNE, SIBLINGS[0]))
    growing.grow(Plan("rootless", seed, tuple(nodes)), out / "zoo")
    (out / "zoo" / LOST).rename(out / "lost")
    return out / "zoo"
