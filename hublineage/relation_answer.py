"""What the detector says of two models of the catalogue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from db import measurements
from db.engine import transaction
from db.errors import NothingToDo, UsageError
from db.models import Family, Repository, Revision
from hublineage.answers import find_model
from lineage.detector import DUPLICATES, RELATIONS, alone, compared, relations
from lineage.stored import load_measures

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from lineage.family import FamilyMeasures


def relation_of(engine: Engine, a: str, b: str, *, apart: bool = False) -> dict[str, Any]:
    """Probabilities of every relation of model `a` to model `b`, by name; `apart`: without the rest of their family.

    Raises UsageError for names that are none, or the same, and NothingToDo for a model without measures.
    """
    ids = [find_model(engine, name) for name in (a, b)]
    if ids[0][1] == ids[1][1]:
        raise UsageError(f"{a} and {b} are one model: a relation is between two")
    names = [exact for _, _, exact in ids]
    with transaction(engine) as session:
        families = [_family(session, number, exact) for _, number, exact in ids]
        if families[0][0] != families[1][0]:
            words = " and ".join(f"{name} is of {family}" for name, (_, family) in zip(names, families, strict=True))
            return _answer(
                names, {"unrelated": 1.0}, [f"not compared: {words}; models of two families share no layers"]
            )
        measures = load_measures(session, families[0][0])
        i, j = (_position(session, families[0][0], number, exact, measures) for _, number, exact in ids)
    if i == j:
        return _answer(names, {DUPLICATES: 1.0}, ["their files of weights are equal, byte for byte"])
    both, either = compared(measures, i, j)
    if apart:
        measures, i, j = alone_in_order(measures, i, j)
    likely = relations(measures, [(i, j)])[0]
    notes = [f"compared in {both} of {either} layers" + (", without their family" if apart else "")]
    if not both:
        notes = ["not compared: they have no trained layer of one name and shape in common"]
    if likely[-1] == 1:
        notes = ["all their values are equal: weights do not tell which of the two came first"]
    if measures.estimated is not None and measures.estimated[i, j]:
        notes.append("their distance is an estimate from sketches; slopes and ranks are not known")
    return _answer(names, dict(zip(RELATIONS, map(float, likely), strict=True)), notes)


def alone_in_order(measures: FamilyMeasures, i: int, j: int) -> tuple[FamilyMeasures, int, int]:
    """The measures of two members alone, the lower position first whichever is asked first, and their places there."""
    first, second = min(i, j), max(i, j)
    return alone(measures, first, second), int(i > j), int(j > i)


def _family(session: Session, repository: int, name: str) -> tuple[int, str]:
    current = session.get_one(Repository, repository).current_revision_id
    revision = session.get(Revision, current) if current is not None else None
    family = session.get(Family, revision.family_id) if revision is not None and revision.family_id else None
    if family is None:
        raise NothingToDo(f"{name} has no weights that can be compared: `hublineage show {name}` says why")
    return family.id, family.name


def _position(session: Session, family: int, repository: int, name: str, measures: FamilyMeasures) -> int:
    """The place of a model among the measured members, or that of the one whose weight files equal its own."""
    members = {one.repository_id: one for one in measurements.members(session, family)}
    own = members.get(repository)
    if own is None:
        raise NothingToDo(f"{name} is there no more, or was not described yet: `hublineage show {name}` says why")
    place = {revision: position for position, revision in enumerate(measures.members)}
    if own.revision_id in place:
        return place[own.revision_id]
    for other in members.values():
        if other.revision_id in place and own.weights_digest is not None and other.weights_digest == own.weights_digest:
            return place[other.revision_id]
    failed = measurements.failed_members(session, family).get(own.revision_id)
    why = f"its measuring failed ({failed})" if failed else "hublineage measure comes first"
    raise NothingToDo(f"{name} is not measured: {why}")


def _answer(names: list[str], probabilities: dict[str, float], notes: list[str]) -> dict[str, Any]:
    everything = {name: probabilities.get(name, 0.0) for name in RELATIONS}
    return {
        "models": names,
        "relation": max(everything, key=lambda name: everything[name]),
        "probabilities": everything,
        "notes": notes,
    }
