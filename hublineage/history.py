"""What runs saw, one after another: lists of them, two of them compared, and which are kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from db import measurements, runs
from db.engine import transaction
from db.errors import NothingToDo, UsageError
from lineage.batches import waiting
from lineage.history import Difference, RunRecord, Seen, difference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from db.models import Run


@dataclass(frozen=True)
class Policy:
    """Which runs stay, besides those that answer now, are pinned or have verdicts that rest on them."""

    keep_runs: int = 10  # the newest of each family ...
    keep_days: float | None = None  # ... and of these only those that are younger; None: of any age


@dataclass(frozen=True)
class Removed:
    """What retention removed, or would."""

    runs: tuple[int, ...]
    batches: tuple[int, ...]  # of measures of earlier versions


def listed(engine: Engine, family: str | None = None) -> list[dict[str, Any]]:
    """The runs of a family, or of all, the newest first. Raises NothingToDo where there is none, and says why."""
    with transaction(engine) as session:
        found = runs.listed(session, family)
        if not found and family is not None:
            _refuse_family(session, family)
    if not found:
        raise NothingToDo("no family was inferred yet: hublineage infer does it")
    return [{**asdict(row), "finished_at": row.finished_at.isoformat(timespec="seconds")} for row in found]


def compared(engine: Engine, before: str, after: str | None = None) -> Difference:
    """What differs between two runs by their numbers, between a run and the one before it, or of a family's last two.

    Raises UsageError for runs of different families and for what is neither a run nor a family.
    """
    with transaction(engine) as session:
        first, second = _chosen(session, before, after)
        if first.family_id != second.family_id:
            raise UsageError(f"runs {first.id} and {second.id} are of different families, and have nothing in common")
        return difference(_record(session, first), _record(session, second))


def pin(engine: Engine, number: int, *, pinned: bool) -> None:
    """Keep a run whatever its age, or no more. Raises UsageError for one that is not there."""
    with transaction(engine) as session:
        if not runs.pin(session, number, pinned=pinned):
            raise UsageError(_unknown_run(session, str(number)))


def apply_retention(engine: Engine, policy: Policy, *, dry_run: bool = False) -> Removed:
    """Remove runs beyond what the policy keeps, and measures of earlier versions of families that were measured anew.

    A family is a transaction of its own; what is done twice changes nothing.
    """
    oldest = None if policy.keep_days is None else datetime.now(UTC) - timedelta(days=policy.keep_days)
    gone: list[int] = []
    with transaction(engine) as session:
        families = runs.removable(session)
    for found in families.values():
        numbers = [
            number
            for place, (number, finished) in enumerate(found)
            if place >= policy.keep_runs or (oldest is not None and finished < oldest)
        ]
        gone += numbers
        if numbers and not dry_run:
            with transaction(engine) as session:
                runs.remove(session, numbers)
    return Removed(tuple(sorted(gone)), tuple(_outdated(engine, dry_run=dry_run)))


def _outdated(engine: Engine, *, dry_run: bool) -> list[int]:
    from lineage.measure_options import METRIC_VERSION  # noqa: PLC0415  # torch takes seconds, and only pruning asks

    removed: list[int] = []
    with transaction(engine) as session:
        families = runs.outdated_batches(session, METRIC_VERSION)
    for family, batches in families.items():
        with transaction(engine) as session:
            if not _measured_anew(session, family, METRIC_VERSION):
                continue
            removed += batches
            if not dry_run:
                runs.remove_batches(session, batches)
    return sorted(removed)


def _measured_anew(session: Session, family: int, version: int) -> bool:
    """Whether nobody of a family waits for measures of a version."""
    batches = measurements.batches(session, family, version)
    if not batches or any(batch.finished_at is None for batch in batches):
        return False
    new, _ = waiting(session, family, batches, False, ())
    return not new


def _chosen(session: Session, before: str, after: str | None) -> tuple[Run, Run]:
    if after is not None:
        return _run(session, before), _run(session, after)
    if not before.isdecimal():
        last = runs.listed(session, before)[:2]
        if not last:
            _refuse_family(session, before)
        if len(last) < 2:
            raise NothingToDo(f"{before} was inferred only once, by run {last[0].number}: there is nothing to compare")
        return _run(session, str(last[1].number)), _run(session, str(last[0].number))
    run = _run(session, before)
    earlier = runs.before(session, run)
    if earlier is None:
        raise NothingToDo(f"run {run.id} is the first of its family: there is nothing to compare")
    return earlier, run


def _run(session: Session, number: str) -> Run:
    found = runs.find(session, int(number)) if number.isdecimal() and int(number) < 1 << 63 else None
    if found is None:
        raise UsageError(_unknown_run(session, number))
    return found


_SHOWN = 10


def _unknown_run(session: Session, number: str) -> str:
    known = [str(row.number) for row in runs.listed(session)]
    if not known:
        return f"there is no run {number}, and no other yet: hublineage infer makes them"
    rest = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    return f"there is no run {number}; there are {', '.join(known[:_SHOWN])}{rest} (hublineage runs lists them)"


def _refuse_family(session: Session, family: str) -> None:
    known = runs.families(session)
    if family in known:
        raise NothingToDo(f"{family} was not inferred yet: hublineage infer does it")
    near = ", ".join(nearest(family, known))
    raise UsageError(
        f"there is no family {family!r}" + (f"; the nearest are {near}" if near else ", nor any other yet")
    )


def nearest(name: str, known: Sequence[str]) -> list[str]:
    """The three names that are most like one."""
    from rapidfuzz import process  # noqa: PLC0415  # only where an error asks for it

    return [found for found, _, _ in process.extract(name, known, limit=3)]


def _record(session: Session, run: Run) -> RunRecord:
    """A stored run as it is compared."""
    found = runs.content(session, run)
    groups: dict[int, set[int]] = {}
    for copy, original in found.duplicates:
        groups.setdefault(original, {original}).add(copy)
    absent: dict[tuple[int, int], set[int]] = {}
    for tree, number, child in found.absent:
        absent.setdefault((tree, number), set()).add(child)
    return RunRecord(
        number=run.id,
        method=run.method,
        parameters=run.parameters,
        versions=run.versions,
        metric_version=run.inputs.get("metric_version"),
        batches=tuple(run.inputs.get("batches", ())),
        revisions={model: sha for model, _, sha, _ in found.members},
        names={model: name for model, name, _, _ in found.members},
        roots={model: root for model, _, _, root in found.members},
        edges={(parent, child): Seen(*seen) for (parent, child), seen in found.edges.items()},
        duplicates=frozenset(frozenset(group) for group in groups.values()),
        absent=frozenset(frozenset(group) for group in absent.values()),
    )
