"""A plan becomes a folder: nodes are trained in order, each written when it is done, and truth.json at the end."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import shutil
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load

from benchmarks.zoo import cache, folder
from benchmarks.zoo.derivation import Merge
from benchmarks.zoo.derive import derived
from benchmarks.zoo.merge import merged
from benchmarks.zoo.network import Network, Weights
from benchmarks.zoo.quantise import dequantised
from benchmarks.zoo.spec import Node, Plan, seed_of
from benchmarks.zoo.training import TEST_EXAMPLES, Trained, one_thread, train
from benchmarks.zoo.truth import truth_of, truth_of_copy

GENERATOR = "benchmarks.zoo 1"


def fingerprint(plan: Plan) -> str:
    """What tells one plan, made by one version of the generator, from another."""
    return hashlib.sha256(f"{GENERATOR} {plan!r}".encode()).hexdigest()


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

    def keep_original(self, name: str, weights: Weights) -> None:
        """Keep weights that are published in another form than the one that children are trained from."""
        write_atomically(self.path(name).with_suffix(".safetensors"), folder.safetensors_bytes(weights))

    def weights(self, out: Path, name: str) -> Weights:
        """The weights that children of a finished model are made from."""
        original = self.path(name).with_suffix(".safetensors")
        return load(original.read_bytes()) if original.exists() else folder.tensors_of(out / name)


@dataclass(frozen=True)
class Work:
    """Where a plan is carried out; `store` keeps trained networks for other zoos."""

    plan: Plan
    out: Path
    store: Path | None = None


def derive(node: Node, sources: dict[str, Weights], seed: int) -> Trained:
    """Compute a node's weights from other nodes' without training, and say what they can do."""
    how = node.derived
    if how is None:
        raise ValueError(f"{node.name} is trained, not derived")
    first = sources[node.parents[0]]
    network = Network.of(node.architecture, first)
    with one_thread():
        if isinstance(how, Merge):
            base = None if how.base is None else sources[how.base]
            weights = merged(how, [sources[name] for name in how.parents], base, network)
        else:
            weights = derived(first, how, network)
        test = network.data(node.task, TEST_EXAMPLES, seed_of(seed, node.task, "test"))
        plain = {name: value.float() for name, value in dequantised(weights).items()}
        return Trained(weights, network.quality(plain, test), {}, 0.0)


def made(node: Node, sources: dict[str, Weights], seed: int) -> Trained:
    """Train or compute one node."""
    if node.derived is not None:
        return derive(node, sources, seed)
    return train(node, None if node.parent is None else sources[node.parent], seed)


def grow_node(node: Node, work: Work, key: str, count: str) -> dict[str, Any]:
    """Make one node from its parents' folders and write it, unless that was done before."""
    ledger = Ledger(work.out, work.plan)
    truth = ledger.truth(node.name)
    if truth is not None:
        say(f"{count} {node.name} is there")
        return truth
    start = time.monotonic()
    trained = None if work.store is None else cache.kept(work.store, key)
    if trained is None:
        sources = {name: ledger.weights(work.out, name) for name in node.sources}
        trained = made(node, sources, work.plan.seed)
        if work.store is not None:
            cache.keep(work.store, key, node, trained)
    if node.stored:
        ledger.keep_original(node.name, trained.weights)
    folder.put(work.out, node.name, folder.files_of(node, trained))
    truth = truth_of(node, trained.quality)
    ledger.done(node.name, truth)
    quality = f"{trained.quality['metric']} {trained.quality['value']:.2f} (chance {trained.quality['chance']:.2f})"
    say(f"{count} {node.name} {node.recipe.kind}: {quality}, {time.monotonic() - start:.1f} s")
    return truth


def grow_nodes(work: Work, jobs: int) -> dict[str, dict[str, Any]]:
    """Make all nodes, `jobs` at a time, each after its sources; their truths in the order of the plan."""
    nodes, keys = work.plan.nodes, cache.keys(work.plan, GENERATOR)
    counts = {node.name: f"[{place}/{len(nodes)}]" for place, node in enumerate(nodes, 1)}
    if jobs == 1:
        return {node.name: grow_node(node, work, keys[node.name], counts[node.name]) for node in nodes}
    models: dict[str, dict[str, Any]] = {}
    waiting, running = list(nodes), dict[Future[dict[str, Any]], str]()
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        while waiting or running:
            for node in [one for one in waiting if models.keys() >= set(one.sources)]:
                running[pool.submit(grow_node, node, work, keys[node.name], counts[node.name])] = node.name
                waiting.remove(node)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                models[running.pop(future)] = future.result()
    return {node.name: models[node.name] for node in nodes}


def finished(plan: Plan, out: Path) -> bool:
    """Whether this very plan was carried out here before."""
    path = out / "truth.json"
    return path.exists() and json.loads(path.read_bytes()).get("plan") == fingerprint(plan)


def grow(plan: Plan, out: Path, jobs: int = 1, store: Path | None = None) -> None:
    """Carry out a plan in the folder `out`; what a stopped run finished is kept.

    `jobs` networks are trained at a time, in a process each; the result does not depend on it. `store` is a folder of
    trained networks that zoos share. Raises ValueError where `out` holds a part of another plan's zoo.
    """
    if finished(plan, out):
        say(f"{out} is complete")
        return
    Ledger(out, plan)
    models = grow_nodes(Work(plan, out, store), jobs)
    by_name = {node.name: node for node in plan.nodes}
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
        "models": {name: told for name, told in models.items() if name not in plan.absent},
        "unusable": [husk.name for husk in plan.husks],
    }
    if plan.absent:
        truth["absent"] = {name: models[name] for name in plan.absent}
        for name in plan.absent:
            shutil.rmtree(out / name)
    write_atomically(out / "truth.json", folder.as_json(truth))
    shutil.rmtree(out / ".zoo")
    say(f"{len(models) - len(plan.absent)} models in {out}")
