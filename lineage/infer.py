"""Infers a family: from stored measures to a stored run with its trees, edges and duplicates."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from db import lineage as rows
from db import measurements
from db.engine import exclusive, transaction
from lineage.absent import distances_to_absent
from lineage.dated import oldest_first
from lineage.edges import dates, duplicate_edge
from lineage.family import LayerKind
from lineage.measure_options import METRIC_VERSION
from lineage.pair_store import AllPairs
from lineage.parameters import Parameters
from lineage.phylogeny_stored import load_sketches
from lineage.provenance import digest, versions
from lineage.recover import heritage, in_pieces
from lineage.stored import load_measures
from lineage.stored_pairs import load_pair_store
from lineage.trees import Heritage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from db.measurements import Member
    from lineage.family import FamilyMeasures
    from lineage.pair_store import PairStore


def infer_family(engine: Engine, family_id: int, parameters: Parameters, *, weights_only: bool) -> int:
    """Infer the trees of a family and return the run's id; a run of equal inputs is not computed again.

    With `weights_only` nothing but weights is evidence; without it, dates of creation may be, and say so in the edges.
    """
    with exclusive(engine, f"infer family {family_id}"), transaction(engine) as session:
        members = {member.revision_id: member for member in measurements.members(session, family_id)}
        store = load_pair_store(session, family_id, equal=parameters.detector)
        large = in_pieces(store.family, parameters)
        measures = store.family if large else load_measures(session, family_id)
        created = {} if weights_only else _created(members)
        twins = _twins(members, measures.members, created)
        values = _provenance(session, family_id, parameters, weights_only, members, measures)
        run = rows.known_run(session, family_id, values["inputs_digest"])
        if run is None:
            sketches = load_sketches(session, family_id, measures) if parameters.method == "phylogeny" else None
            store.family, measures = (
                replace(one, members=tuple(twins.stands[member] for member in one.members))
                for one in (store.family, measures)
            )
            dated = {place: created[one] for place, one in enumerate(measures.members) if one in created}
            found = heritage(store if large else measures, parameters, dated, sketches)
            run = rows.add_run(session, {**values, "notes": list(found.notes)})
            _store(session, run.id, _with_twins(found, twins, created), store if large else AllPairs(measures))
        rows.set_current(session, run)
        return run.id


def is_measured(engine: Engine, family_id: int) -> bool:
    """Whether a family has measures of this version: without, a run would put an empty answer in place of an older."""
    with transaction(engine) as session:
        return any(batch.finished_at for batch in measurements.batches(session, family_id, METRIC_VERSION))


@dataclass(frozen=True)
class _Twins:
    """Members whose weight files are equal by their hashes, of whom one was measured: whichever came first to be.

    Who stands for them in the tree must not depend on that.
    """

    stands: Mapping[int, int]  # each that was measured -> who stands for it: the oldest by its date, or the first
    original: Mapping[int, int]  # each of the others -> who stands for it


def _twins(members: Mapping[int, Member], measured: Sequence[int], created: Mapping[int, float]) -> _Twins:
    place = {one: number for number, one in enumerate(members)}  # in the order of their repositories
    copies: dict[bytes, list[int]] = {}
    for one in members.keys() - set(measured):
        if (equal := members[one].weights_digest) is not None:
            copies.setdefault(equal, []).append(one)
    stands: dict[int, int] = {}
    original: dict[int, int] = {}
    for one in measured:
        group = [one, *copies.pop(members[one].weights_digest or b"", ())]
        first, *others = oldest_first(sorted(group, key=place.__getitem__), created)
        stands[one] = first
        original |= dict.fromkeys(others, first)
    return _Twins(stands, original)


def _created(members: dict[int, Member]) -> dict[int, float]:
    """Seconds since 1970 at which members were created, where that is known."""
    found = {one: member.created_at for one, member in members.items()}
    return {one: moment.timestamp() for one, moment in found.items() if moment is not None}


def _provenance(
    session: Session,
    family_id: int,
    parameters: Parameters,
    weights_only: bool,
    members: dict[int, Member],
    measures: FamilyMeasures,
) -> dict[str, Any]:
    """All that a run comes from, and the hash of it."""
    settings = {**parameters.relevant(), "weights_only": weights_only}
    batches = [batch.id for batch in measurements.batches(session, family_id, METRIC_VERSION) if batch.finished_at]
    inputs = {
        "metric_version": METRIC_VERSION,
        "batches": batches,
        "revisions": {members[one].name: members[one].sha for one in members},
        "measured": [members[one].name for one in measures.members],
    }
    if not weights_only:
        inputs["created"] = {members[one].name: value for one, value in _created(members).items()}
    everything = {"parameters": settings, "versions": versions(), "inputs": inputs}
    return {"family_id": family_id, "method": parameters.method, **everything, "inputs_digest": digest(everything)}


def _with_twins(found: Heritage, twins: _Twins, created: Mapping[int, float]) -> Heritage:
    """Attach members with equal weight files to the one of them that stands for them."""
    trees = []
    for tree in found.trees:
        copies = [(original, copy) for copy, original in twins.original.items() if original in tree.members]
        edges = [duplicate_edge(original, copy, dates(original, copy, created)) for original, copy in copies]
        members = (*tree.members, *(copy for _, copy in copies))
        trees.append(replace(tree, members=members, edges=(*tree.edges, *edges)))
    groups = {group[0]: list(group) for group in found.duplicates}
    stands_for = {copy: group[0] for group in found.duplicates for copy in group}
    for copy, original in twins.original.items():
        first = stands_for.get(original, original)
        groups.setdefault(first, [first]).append(copy)
    return replace(found, trees=tuple(trees), duplicates=tuple(tuple(group) for group in groups.values()))


def distances(measures: FamilyMeasures, siblings: Sequence[int]) -> dict[int, float | None]:
    """The squared distance of each sibling to the absent parent, over the trunk's layers that all of them have."""
    at = np.array([measures.members.index(one) for one in siblings])
    trunk = np.array([place for place, layer in enumerate(measures.layers) if layer.kind is LayerKind.TRUNK], dtype=int)
    pairs = measures.squared_distance[np.ix_(trunk, at, at)]
    squared = pairs[np.isfinite(pairs).all(axis=(1, 2))].sum(axis=0)
    if len(siblings) < 3 or not squared.any():
        return dict.fromkeys(siblings)
    return dict(zip(siblings, map(float, distances_to_absent(squared)), strict=True))


def _store(session: Session, run_id: int, found: Heritage, store: PairStore) -> None:
    place = {member: position for position, member in enumerate(store.family.members)}
    siblings = store.pieces([[place[one] for one in group] for tree in found.trees for group in tree.absent])
    for position, tree in enumerate(found.trees):
        edges = []
        for edge in tree.edges:
            row = asdict(edge)
            row["parent_id"], row["child_id"] = row.pop("parent"), row.pop("child")
            # A constant tensor has no kurtosis: what is no number is no evidence, and JSON does not hold it.
            row["evidence"] = {name: value for name, value in edge.evidence.items() if math.isfinite(value)}
            edges.append(row)
        absent = [distances(next(siblings), group) for group in tree.absent]
        rows.add_cluster(session, run_id, position, (tree.root, tree.root_confidence), tree.members, edges, absent)
    rows.add_duplicates(session, run_id, found.duplicates)
