"""A plan becomes a folder: nodes are trained in order, each written when it is done, and truth.json at the end."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

from benchmarks.zoo import folder
from benchmarks.zoo.spec import RELATION, STAGE, Copy, Node, Plan
from benchmarks.zoo.training import train

if TYPE_CHECKING:
    from pathlib import Path

GENERATOR = "benchmarks.zoo 1"


def fingerprint(plan: Plan) -> str:
    """What tells one plan, made by one version of the generator, from another."""
    return hashlib.sha256(f"{GENERATOR} {plan!r}".encode()).hexdigest()


def truth_of(node: Node, quality: dict[str, Any]) -> dict[str, Any]:
    """What truth.json says of a trained node."""
    weights_shown = node.layout != "adapter" and node.gated is None
    return {
        "tree": node.tree,
        "family": node.architecture.family,
        "parents": [] if node.parent is None else [node.parent],
        "relation": "adapter" if node.layout == "adapter" else RELATION[node.recipe.kind],
        "stage": STAGE.get(node.recipe.kind, "specialisation"),
        "measured": weights_shown,
        "task": node.task.name,
        "recipe": node.recipe.described(),
        "quality": quality,
        "card": node.card.truth,
        "verdict": node.verdict,
    }


def truth_of_copy(copy: Copy, original: Node, quality: dict[str, Any]) -> dict[str, Any]:
    """What truth.json says of a re-upload."""
    own = {"parents": [copy.original], "relation": "duplicate", "recipe": {"kind": "duplicate"}}
    return truth_of(original, quality) | own | {"card": copy.card.truth, "verdict": copy.verdict}


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


def write_atomically(path: Path, content: bytes) -> None:
    """A file that is there whole or not at all."""
    fresh = path.with_name(f".{path.name}.unfinished")
    fresh.write_bytes(content)
    fresh.replace(path)


class Ledger:
    """What is already done of a plan in a folder, kept in .zoo/ until the whole is finished."""

    def __init__(self, out: Path, plan: Plan) -> None:
        self.place = out / ".zoo"
        self.place.mkdir(parents=True, exist_ok=True)
        mark, own = self.place / "plan", fingerprint(plan)
        if mark.exists() and mark.read_text() != own:
            raise ValueError(f"{out} holds an unfinished zoo of another plan")
        write_atomically(mark, own.encode())

    def path(self, name: str) -> Path:
        """Where the truth of one model waits."""
        return self.place / (name.replace("/", "__") + ".json")

    def truth(self, name: str) -> dict[str, Any] | None:
        """The truth of a model that is done."""
        path = self.path(name)
        return json.loads(path.read_bytes()) if path.exists() else None

    def done(self, name: str, truth: dict[str, Any]) -> None:
        """Note that a model's folder is complete."""
        write_atomically(self.path(name), folder.as_json(truth))


def grow_node(node: Node, plan: Plan, out: Path, ledger: Ledger, count: str) -> dict[str, Any]:
    """Train one node from its parent's folder and write it, unless that was done before."""
    truth = ledger.truth(node.name)
    if truth is not None:
        say(f"{count} {node.name} is there")
        return truth
    start = time.monotonic()
    parent = None if node.parent is None else folder.tensors_of(out / node.parent)
    trained = train(node, parent, plan.seed)
    folder.put(out, node.name, folder.files_of(node, trained))
    truth = truth_of(node, trained.quality)
    ledger.done(node.name, truth)
    quality = f"{trained.quality['metric']} {trained.quality['value']:.2f} (chance {trained.quality['chance']:.2f})"
    say(f"{count} {node.name} {node.recipe.kind}: {quality}, {time.monotonic() - start:.1f} s")
    return truth


def finished(plan: Plan, out: Path) -> bool:
    """Whether this very plan was carried out here before."""
    path = out / "truth.json"
    return path.exists() and json.loads(path.read_bytes()).get("plan") == fingerprint(plan)


def grow(plan: Plan, out: Path) -> None:
    """Carry out a plan in the folder `out`; what a stopped run finished is kept.

    Raises ValueError where `out` holds a part of another plan's zoo.
    """
    if finished(plan, out):
        say(f"{out} is complete")
        return
    ledger = Ledger(out, plan)
    by_name = {node.name: node for node in plan.nodes}
    models: dict[str, dict[str, Any]] = {}
    for place, node in enumerate(plan.nodes, 1):
        models[node.name] = grow_node(node, plan, out, ledger, f"[{place}/{len(plan.nodes)}]")
    for copy in plan.copies:
        original = by_name[copy.original]
        folder.put(out, copy.name, folder.files_of_copy(copy, out / copy.original, original.architecture.family))
        models[copy.name] = truth_of_copy(copy, original, models[copy.original]["quality"])
    for husk in plan.husks:
        folder.put(out, husk.name, folder.files_of_husk(husk))
    truth = {
        "seed": plan.seed,
        "generator": GENERATOR,
        "zoo": plan.name,
        "plan": fingerprint(plan),
        "models": models,
        "unusable": [husk.name for husk in plan.husks],
    }
    write_atomically(out / "truth.json", folder.as_json(truth))
    shutil.rmtree(out / ".zoo")
    say(f"{len(models)} models in {out}")
