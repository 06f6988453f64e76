"""Which members of a family a batch measures: those that have no measures, and whom they are measured against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from db import measurements
from db.errors import Transient

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.orm import Session

    from db.measurements import Member
    from db.models import MeasureBatch


@dataclass(frozen=True)
class Batch:
    """A batch in progress: its new members come first."""

    id: int
    new: int
    members: tuple[Member, ...]
    lost: frozenset[int]  # revisions that failed before this process took the batch up


def of_row(session: Session, row: MeasureBatch) -> Batch:
    """The batch of a row, with its members as the catalogue knows them."""
    members = tuple(measurements.member(session, revision) for revision in [*row.members, *row.against])
    return Batch(row.id, len(row.members), members, frozenset(row.lost))


def waiting(
    session: Session, family_id: int, batches: Sequence[MeasureBatch], retry_failed: bool, tried: Collection[int]
) -> tuple[list[int], list[int]]:
    """The members that are to be measured now, and those that have been in one of the batches.

    Of those that failed, passing failures are tried again, the others with `retry_failed`; none of those in `tried` is.
    """
    members = {member.revision_id: member for member in measurements.members(session, family_id)}
    failed = measurements.failed_members(session, family_id)
    old = {revision for batch in batches for revision in batch.members if revision not in batch.lost}
    old -= failed.keys()  # one that was lost while others were measured against it is to be measured again
    out = {one for one, kind in failed.items() if not (retry_failed or kind == Transient.__name__)}
    copied = {members[one].weights_digest for one in old & members.keys()}
    new = _without_copies([m for m in members.values() if m.revision_id not in out | old | set(tried)], copied)
    return new, sorted((old & members.keys()) - set(new))


def _without_copies(members: list[Member], known: set[bytes | None]) -> list[int]:
    """Of several members whose weight files are equal by their hashes, the first; none whose hash is known."""
    chosen = []
    seen = known - {None}
    for member in members:
        if member.weights_digest not in seen:
            seen |= {member.weights_digest} - {None}
            chosen.append(member.revision_id)
    return chosen
