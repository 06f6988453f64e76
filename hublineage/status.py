"""What the command `status` answers, read from the database."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from db import crawls, failures, measurements, quotas, verdicts
from db import lineage as rows
from db.engine import transaction
from db.models import (
    Crawl,
    DeclaredProblem,
    MeasureBatch,
    Repository,
    Revision,
    SourceRow,
)
from hublineage.jobs import listing
from hublineage.result import failures_of

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.orm import Session


def read_status(engine: Engine) -> dict[str, Any]:
    """Per source: counts, what is pending, and failures; then the Hub's quotas and the queue."""
    with transaction(engine) as session:
        sources = session.execute(select(SourceRow.name, SourceRow.id).order_by(SourceRow.name)).all()
        return {
            "sources": [{"source": name, **_source_status(session, number)} for name, number in sources],
            "quotas": [_quota(row) for row in quotas.status_rows(session)],
            "queue": listing.summary(session),
        }


def _source_status(session: Session, source_id: int) -> dict[str, Any]:
    here = Repository.source_id == source_id
    there = here & Repository.removed_at.is_(None)
    current = (
        select(func.count())
        .select_from(Repository)
        .join(Revision, (Revision.id == Repository.current_revision_id) & (Revision.weights != "unread"))
    )
    families = measurements.families(session, source_id)
    runs = rows.current_runs(session, source_id)
    failed = failures_of(session, source_id)
    kinds = Counter(row.kind for _, row in failures.unresolved(session, source_id))

    def count(query: Any) -> int:
        return int(session.scalar(query) or 0)

    repositories = count(select(func.count()).select_from(Repository).where(there))
    described = count(current.where(there))
    comparable = count(current.where(there, Revision.family_id.is_not(None)))
    pending = {
        "repositories to describe": repositories - described,
        "newer commits to describe": count(
            current.where(there, Repository.head_sha.is_not(None), Repository.head_sha != Revision.sha)
        ),
        "models to measure": sum(len(_unmeasured(session, family.id)) for family in families),
        "families to infer": len({family.id for family in families} - {family.id for family, _ in runs}),
    }
    return {
        "counts": {
            "repositories": repositories,
            "removed": count(select(func.count()).select_from(Repository).where(here, ~there)),
            "described": described,
            "comparable": comparable,
            "families": len(families),
            "inferred_edges": sum(len(rows.edges(session, run.id)) for _, run in runs),
            "verdicts": len(verdicts.of_source(session, source_id)),
        },
        "pending": {name: number for name, number in pending.items() if number},
        "crawls": [_crawl(crawl) for crawl in crawls.newest(session, source_id)],
        "declared_problems": _problems(session, source_id),
        "failures_by_reason": dict(kinds.most_common()),
        "failures": failed,
    }


def _quota(row: quotas.QuotaStatus) -> dict[str, Any]:
    """A Hub that told no quota has none."""
    none = {"quota": None, "allowed": None} if row.quota >= quotas.UNLIMITED else {}
    return {**asdict(row), **none}


def _problems(session: Session, source_id: int) -> dict[str, int]:
    """How many models have each kind of problem in what they declare."""
    counted = (
        select(DeclaredProblem.kind, func.count(DeclaredProblem.revision_id.distinct()))
        .join(Repository, Repository.current_revision_id == DeclaredProblem.revision_id)
        .where(Repository.source_id == source_id, Repository.removed_at.is_(None))
        .group_by(DeclaredProblem.kind)
        .order_by(DeclaredProblem.kind)
    )
    return {row[0]: row[1] for row in session.execute(counted)}


def _crawl(crawl: Crawl) -> dict[str, Any]:
    return {
        "query": {name: value for name, value in crawl.query.items() if value},
        "kind": crawl.kind,
        "started": crawl.started_at.isoformat(timespec="seconds"),
        "finished": crawl.finished_at.isoformat(timespec="seconds") if crawl.finished_at else None,
        "pages": crawl.pages,
        "listed": crawl.listed,
        "described": crawl.described_at is not None,
    }


def _unmeasured(session: Session, family_id: int) -> set[int]:
    """Members of a family that wait to be measured: not measured, not failed, and not a copy of a measured one."""
    from lineage.measure_options import METRIC_VERSION  # noqa: PLC0415  # torch takes seconds, and only counting asks

    members = measurements.members(session, family_id)
    finished = select(MeasureBatch).where(
        MeasureBatch.family_id == family_id,
        MeasureBatch.metric_version == METRIC_VERSION,
        MeasureBatch.finished_at.is_not(None),
    )
    measured = {one for batch in session.scalars(finished) for one in batch.members}
    copies = {member.weights_digest for member in members if member.revision_id in measured} - {None}
    done = measured | measurements.failed_members(session, family_id).keys()
    return {one.revision_id for one in members if one.revision_id not in done and one.weights_digest not in copies}
