"""Pairs of zoos with their true relations, for the detector: labels from truth.json, features from measures."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.recovery_zoos import Zoo, measured, truth_of
from lineage.cluster import duplicates
from lineage.detector_features import FeatureTable, PairFeatures, comparable
from lineage.detector_network import EXCHANGED
from lineage.family import FamilyMeasures

UNRELATED, PARENT, SIBLINGS, ANCESTOR_2, ANCESTOR_3, RELATIVES = 0, 1, 3, 4, 6, 8
# The most pairs of each class and zoo that are kept: parents and children all, of the many others a sample.
MOST = {UNRELATED: 150, PARENT: 400, SIBLINGS: 200, ANCESTOR_2: 200, ANCESTOR_3: 150, RELATIVES: 150}


@dataclass(frozen=True)
class LabelledPairs:
    """Pairs of one family of a zoo."""

    zoo: str
    architecture: str
    features: PairFeatures
    label: NDArray[np.intp]  # (p,) index into `lineage.detector_network.CLASSES`
    roots: tuple[tuple[str, str], ...]  # of both models: what must not be on two sides of a split
    optimisers: tuple[frozenset[str], ...] = ()  # by which either of a pair, or an ancestor of either, was trained

    def take(self, rows: NDArray[np.intp]) -> LabelledPairs:
        """Some of the pairs."""
        roots = tuple(self.roots[row] for row in rows)
        optimisers = tuple(self.optimisers[row] for row in rows) if self.optimisers else ()
        return LabelledPairs(self.zoo, self.architecture, self.features.take(rows), self.label[rows], roots, optimisers)


def relations(parents: Mapping[str, Sequence[str]]) -> dict[str, dict[str, int]]:
    """Of every model the ancestors with their least distance, itself at 0. Parents that are not shown count."""
    found: dict[str, dict[str, int]] = {}

    def above(name: str) -> dict[str, int]:
        if name not in found:
            found[name] = {name: 0}
            for parent in parents.get(name, ()):
                for one, distance in above(parent).items():
                    found[name][one] = min(distance + 1, found[name].get(one, distance + 1))
        return found[name]

    for name in parents:
        above(name)
    return found


def relation(above: Mapping[str, Mapping[str, int]], a: str, b: str) -> int:
    """The class of (a, b), as an index into CLASSES."""
    for upper, lower, flip in ((a, b, False), (b, a, True)):
        if upper in above[lower]:
            distance = above[lower][upper]
            found = PARENT if distance == 1 else ANCESTOR_2 if distance == 2 else ANCESTOR_3
            return EXCHANGED[found] if flip else found
    shared = above[a].keys() & above[b].keys()
    if not shared:
        return UNRELATED
    return SIBLINGS if any(above[a][one] == above[b][one] == 1 for one in shared) else RELATIVES


def root_name(above: Mapping[str, int], family: str) -> str:
    """The farthest ancestor, by its number alone: networks of two architectures may come from one."""
    top = max(above.items(), key=lambda item: (item[1], item[0]))[0]
    return top.rsplit("/", 1)[-1].removeprefix(f"{family}-").removeprefix("initialisation ")[:9]


@dataclass(frozen=True)
class ChosenPairs:
    """Pairs of one family of a zoo that are looked at, before any feature is computed."""

    measures: FamilyMeasures
    pairs: tuple[tuple[int, int], ...]  # positions of members
    label: NDArray[np.intp]  # (p,) index into `lineage.detector_network.CLASSES`
    roots: tuple[tuple[str, str], ...]
    optimisers: tuple[frozenset[str], ...]


def labelled(zoo: Zoo, cache: Path, *, whole: bool = False) -> list[LabelledPairs]:
    """The pairs of a zoo's families: sampled by MOST, or all of them if `whole`. The same each time."""
    return [
        LabelledPairs(
            zoo.name,
            zoo.architecture,
            FeatureTable(one.measures).features(one.pairs),
            one.label,
            one.roots,
            one.optimisers,
        )
        for one in chosen_pairs(zoo, cache, whole=whole)
    ]


def chosen_pairs(zoo: Zoo, cache: Path, *, whole: bool = False) -> list[ChosenPairs]:
    """Which pairs `labelled` takes of each family, and what they are: all that a split needs, in no time."""
    truth = truth_of(zoo)
    parents = {name: tuple(found) for name, found in truth.parents.items()}
    for name, one in zoo.models.items():
        parents.setdefault(name, tuple(one["parents"]))
    # A copy to the last bit is its original: nothing in weights tells their children apart.
    same = {
        name: parents[name][0] for name, one in zoo.models.items() if one["relation"] == "duplicate" and parents[name]
    }
    parents = {name: tuple(same.get(one, one) for one in found) for name, found in parents.items() if name not in same}
    above = relations(parents)
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(zoo.name.encode()).digest()[:4], "big"))
    return [_of_family(zoo, measures, names, above, same, rng, whole=whole) for measures, names in measured(zoo, cache)]


def _of_family(
    zoo: Zoo,
    measures: FamilyMeasures,
    names: Sequence[str],
    above: Mapping[str, Mapping[str, int]],
    same: Mapping[str, str],
    rng: np.random.Generator,
    *,
    whole: bool,
) -> ChosenPairs:
    known = [same.get(name, name) for name in names]
    again = {one for group in duplicates(measures) for one in group[1:]}
    shown = [place for place in range(len(names)) if place not in again]
    can = comparable(measures)
    by_class: defaultdict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for at, i in enumerate(shown):
        for j in shown[at + 1 :]:
            if can[i, j] and known[i] != known[j]:
                label = relation(above, known[i], known[j])
                by_class[min(label, EXCHANGED[label])].append((i, j, label))
    chosen: list[tuple[int, int, int]] = []
    for kind, some in sorted(by_class.items()):
        keep = len(some) if whole else min(len(some), MOST[kind])
        chosen += [some[place] for place in sorted(rng.choice(len(some), keep, replace=False).tolist())]
    roots = [root_name(above[known[place]], zoo.models[names[place]]["family"]) for place in range(len(names))]
    used = [optimisers(zoo.models, above[one]) for one in known]
    return ChosenPairs(
        measures,
        tuple((i, j) for i, j, _ in chosen),
        np.array([label for _, _, label in chosen], dtype=np.intp),
        tuple((roots[i], roots[j]) for i, j, _ in chosen),
        tuple(used[i] | used[j] for i, j, _ in chosen),
    )


def optimisers(models: Mapping[str, Mapping[str, Any]], above: Iterable[str]) -> frozenset[str]:
    """The optimisers that any of some models was trained with; copies and merges have none of their own."""
    recipes = [models[name].get("recipe") or {} for name in above if name in models]
    return frozenset(recipe["optimiser"] for recipe in recipes if recipe.get("optimiser"))
