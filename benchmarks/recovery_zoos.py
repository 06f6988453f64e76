"""Zoos for the recovery benchmark: grown where they are missing, measured once, and their truth as scoring needs it."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.measured import measure_folder
from benchmarks.zoo.folder import raw_tensors
from benchmarks.zoo.growing import grow
from benchmarks.zoo.splits import split_plan
from lineage.detector_network import network
from lineage.family import FamilyMeasures
from lineage.learnt import learnt
from lineage.measure_options import METRIC_VERSION

Family = tuple[FamilyMeasures, tuple[str, ...]]  # measures, and the names of their members
TUNED_SEED = 1  # of all zoos on which anything was chosen by hand


@dataclass(frozen=True)
class Truth:
    """Who comes from whom, by names. None of it is known to inference."""

    parents: Mapping[str, tuple[str, ...]]  # of every model that can be read
    absent: frozenset[str] = frozenset()  # parents that cannot: not shown, not readable, or a shared initialisation
    copies: tuple[tuple[str, ...], ...] = ()  # groups of models that are equal to the last bit
    merges: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # weight of each parent
    bases: Mapping[str, str] = field(default_factory=dict)  # of merges by task arithmetic
    generalisation: frozenset[str] = frozenset()  # models that were pre-trained, continued or not


@dataclass(frozen=True)
class Zoo:
    """A zoo on the disk. Its split and its seed are what truth.json says, whatever the folder is called."""

    folder: Path
    split: str
    seed: int
    content: Mapping[str, Any] = field(repr=False)  # of truth.json

    @property
    def name(self) -> str:
        """Split and seed."""
        return f"{self.split}-{self.seed}"

    @property
    def models(self) -> Mapping[str, Mapping[str, Any]]:
        """What truth.json says of each model."""
        models: Mapping[str, Mapping[str, Any]] = self.content["models"]
        return models

    @property
    def architecture(self) -> str:
        """The family of networks, or several."""
        return ", ".join(sorted({str(one["family"]) for one in self.models.values()}))

    @property
    def tuned_on(self) -> bool:
        """Whether anything was learnt from it or chosen on it."""
        learnt_from = {*learnt().zoos, *network().provenance["zoos"]}
        return self.seed == TUNED_SEED or bool({self.name, self.folder.name} & learnt_from)

    @cached_property
    def prints(self) -> dict[str, tuple[str, str]]:
        """Of every readable model a hash of its files, and one of its values whatever file they are in."""
        readable = [name for name, one in self.models.items() if one["measured"]]
        return {name: _prints(self.folder / name) for name in readable}


def open_zoo(folder: Path) -> Zoo:
    """The zoo in a folder. Raises ValueError if it is none, or not finished."""
    path = folder / "truth.json"
    if not path.exists():
        raise ValueError(f"{folder} is no finished zoo: it has no truth.json")
    content = json.loads(path.read_text())
    return Zoo(folder.resolve(), str(content["zoo"]).split()[0], int(content["seed"]), content)


def grown(name: str, seed: int, where: Path, store: Path | None, jobs: int, sizes: Collection[int | None]) -> Zoo:
    """The zoo of a split and a seed under `where`, trained now unless it is there. `sizes`: trees, branch, depth."""
    out = where / f"{name}-{seed}"
    if not (out / "truth.json").exists():
        grow(split_plan(name, seed, *sizes), out, jobs, store)
    return open_zoo(out)


def truth_of(zoo: Zoo) -> Truth:
    """What scoring needs of truth.json. Folds of one initialisation are its children, which is never shown."""
    parents, absent = {}, set(zoo.content.get("absent", ()))
    for name, one in zoo.models.items():
        if not one["measured"]:
            absent.add(name)
            continue
        parents[name] = tuple(one["parents"])
        if one.get("initialisation") and not one["parents"]:
            parents[name] = (f"initialisation {one['initialisation']}",)
            absent.update(parents[name])
    told = {name: one["merge"] for name, one in zoo.models.items() if "merge" in one and name in parents}
    return Truth(
        parents,
        frozenset(absent),
        _groups((values, name) for name, (_, values) in zoo.prints.items()),
        {name: one["weights"] for name, one in told.items()},
        {name: one["base"] for name, one in told.items() if one.get("base")},
        frozenset(name for name in parents if zoo.models[name]["stage"] == "generalisation"),
    )


def twins(zoo: Zoo, families: Iterable[Family]) -> dict[str, str]:
    """Models that were not measured as their files equal those of one that was: copy -> original."""
    placed = {name for _, names in families for name in names}
    measured = {zoo.prints[name][0]: name for name in sorted(placed) if name in zoo.prints}
    return {n: measured[files] for n, (files, _) in zoo.prints.items() if n not in placed and files in measured}


def measured(zoo: Zoo, cache: Path) -> list[Family]:
    """The measures of a zoo's families, by the main job; kept in the folder `cache`, where they are looked for first.

    What was measured from other weights, otherwise, or without some of the fields of now, is measured anew.
    """
    path = kept_at(zoo, cache)
    if path.exists() and path.stat().st_mtime >= (zoo.folder / "truth.json").stat().st_mtime:
        kept: list[Family] = pickle.loads(path.read_bytes())  # noqa: S301  # written below, by whoever runs this
        if all(_fits(zoo, family) for family in kept):
            return kept
    with tempfile.TemporaryDirectory() as scratch:
        families = measure_folder(zoo.folder, Path(scratch))
    cache.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    fresh.write_bytes(pickle.dumps(families))
    fresh.replace(path)
    return families


def kept_at(zoo: Zoo, cache: Path, what: str = "") -> Path:
    """Where the measures of a zoo are kept, `what` besides: those of this version."""
    return cache / f"{zoo.folder.name}{what}.v{METRIC_VERSION}.pkl"


def _fits(zoo: Zoo, family: Family) -> bool:
    measures, names = family
    return set(names) <= set(zoo.models) and set(vars(measures)) == set(FamilyMeasures.__dataclass_fields__)


def _groups(keyed: Iterable[tuple[str, str]]) -> tuple[tuple[str, ...], ...]:
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for key, name in keyed:
        groups[key].append(name)
    return tuple(tuple(sorted(group)) for group in groups.values() if len(group) > 1)


def _prints(repository: Path) -> tuple[str, str]:
    files, values = hashlib.sha256(), hashlib.sha256()
    for path in sorted(repository.glob("model*.safetensors")):
        files.update(hashlib.sha256(path.read_bytes()).digest())
    for name, tensor in raw_tensors(repository).items():
        exact = tensor.double() if tensor.is_floating_point() else tensor
        values.update(f"{name} {tuple(tensor.shape)}".encode())
        values.update(exact.contiguous().numpy().tobytes())
    return files.hexdigest(), values.hexdigest()
