"""The register of failures: what could not be used, why, and whether a later try succeeded."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert

from db.models import FailureRow, Repository

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

    from db.errors import Failure

log = logging.getLogger(__name__)


def record(
    session: Session, failure: Failure, *, stage: str, repository_id: int, revision_id: int | None = None
) -> None:
    """Store a failure; the same one again counts as another attempt."""
    about = {"stage": stage, "model": failure.model, "file": failure.file, "tensor": failure.tensor}
    said = {name: value for name, value in about.items() if value}
    log.info("%s: %s", type(failure).__name__, failure.reason, extra=said)
    statement = insert(FailureRow).values(
        repository_id=repository_id,
        revision_id=revision_id,
        stage=stage,
        kind=type(failure).__name__,
        file=failure.file,
        tensor=failure.tensor,
        reason=failure.reason,
    )
    session.execute(
        statement.on_conflict_do_update(
            constraint="uq_failures_repository_id_revision_id_stage_file_tensor",
            set_={
                "kind": statement.excluded.kind,
                "reason": statement.excluded.reason,
                "attempts": FailureRow.attempts + 1,
                "last_at": func.now(),
                "resolved_at": None,
            },
        )
    )


def to_describe(session: Session, repositories: Sequence[int]) -> dict[int, dict[str, datetime]]:
    """Per repository the kinds of its unresolved failures of being described, and when they last happened."""
    query = select(FailureRow.repository_id, FailureRow.kind, FailureRow.last_at).where(
        FailureRow.repository_id.in_(repositories),
        FailureRow.stage.in_(("card", "describe")),
        FailureRow.resolved_at.is_(None),
    )
    kinds: dict[int, dict[str, datetime]] = {}
    for repository, kind, last_at in session.execute(query):
        kinds.setdefault(repository, {})[kind] = last_at
    return kinds


def resolve(session: Session, repository_id: int, stages: Sequence[str]) -> int:
    """Mark the failures of a repository in these stages as overcome; return their number."""
    statement = (
        update(FailureRow)
        .where(
            FailureRow.repository_id == repository_id,
            FailureRow.stage.in_(stages),
            FailureRow.resolved_at.is_(None),
        )
        .values(resolved_at=func.now())
        .returning(FailureRow.id)
    )
    return len(session.scalars(statement).all())


def unresolved(session: Session, source_id: int) -> list[tuple[str, FailureRow]]:
    """Failures of a source's repositories at their current revisions that no later try overcame, by name."""
    query = (
        select(Repository.name, FailureRow)
        .join(Repository, Repository.id == FailureRow.repository_id)
        .where(
            Repository.source_id == source_id,
            Repository.removed_at.is_(None),
            FailureRow.resolved_at.is_(None),
            func.coalesce(FailureRow.revision_id, Repository.current_revision_id, 0)
            == func.coalesce(Repository.current_revision_id, 0),
        )
        .order_by(Repository.name, FailureRow.stage, FailureRow.file, FailureRow.tensor)
    )
    return [(name, row) for name, row in session.execute(query)]
