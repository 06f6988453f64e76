"""Queries of the comparison of declared and inferred parents: what it reads, and the verdicts that it stores."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from db.models import File, Repository, Verdict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.orm import Session


def of_source(session: Session, source_id: int) -> list[tuple[str, Verdict]]:
    """The verdicts on the current revisions of a source, by the model's name."""
    query = (
        select(Repository.name, Verdict)
        .join(Verdict, Verdict.revision_id == Repository.current_revision_id)
        .where(Repository.source_id == source_id, Repository.removed_at.is_(None))
        .order_by(Repository.name)
    )
    return [(name, verdict) for name, verdict in session.execute(query)]


# As one statement per many rows: a catalogue of a million models takes minutes otherwise.
_STORE_VERDICTS = """
INSERT INTO verdicts AS old (revision_id, run_id, verdict, why, declared, inferred)
SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb))
    AS page (revision_id bigint, run_id bigint, verdict text, why text, declared text[], inferred text[])
ON CONFLICT (revision_id) DO UPDATE
SET run_id = excluded.run_id, verdict = excluded.verdict, why = excluded.why, declared = excluded.declared,
    inferred = excluded.inferred, compared_at = now()
WHERE (old.run_id, old.verdict, old.why, old.declared, old.inferred)
    IS DISTINCT FROM (excluded.run_id, excluded.verdict, excluded.why, excluded.declared, excluded.inferred)
"""
_MEASURING = """
SELECT families.name, count(batches.id) > 0 AS begun, coalesce(bool_or(batches.finished_at IS NOT NULL), false)
FROM families
LEFT JOIN measure_batches AS batches ON batches.family_id = families.id AND batches.metric_version = :version
WHERE families.source_id = :source
GROUP BY families.id ORDER BY families.name
"""
_PROBLEMS_OF = """
SELECT problem.revision_id, problem.kind, problem.detail
FROM declared_problems AS problem
JOIN repositories ON repositories.current_revision_id = problem.revision_id
WHERE repositories.source_id = :source AND problem.kind = ANY(:kinds)
ORDER BY problem.revision_id, problem.kind, problem.detail
"""
_CHUNK = 5_000


def store(session: Session, values: Sequence[Mapping[str, Any]]) -> None:
    """Store verdicts, each a row of the table by its columns; equal ones change nothing, not even their time."""
    for start in range(0, len(values), _CHUNK):
        session.execute(text(_STORE_VERDICTS), {"rows": json.dumps(values[start : start + _CHUNK])})


def measuring(session: Session, source_id: int, metric_version: int) -> list[tuple[str, bool, bool]]:
    """By family of a source: whether measuring it was begun, and whether any of it was finished."""
    found = session.execute(text(_MEASURING), {"source": source_id, "version": metric_version})
    return [(row[0], row[1], row[2]) for row in found]


def declared_problems(session: Session, source_id: int, kinds: Sequence[str]) -> dict[int, list[tuple[str, str]]]:
    """The problems of these kinds in what a source's current revisions declare: (kind, detail) by revision."""
    found: dict[int, list[tuple[str, str]]] = {}
    for revision, kind, detail in session.execute(text(_PROBLEMS_OF), {"source": source_id, "kinds": list(kinds)}):
        found.setdefault(revision, []).append((kind, detail))
    return found


_PROFILES = """
SELECT repositories.name,
    coalesce(repositories.architectures[1], revisions.config -> 'architectures' ->> 0, repositories.model_type) AS kind,
    (
        SELECT declared.relation FROM declared_parents AS declared
        WHERE declared.revision_id = revisions.id AND NOT declared.source = ANY(:weak)
        ORDER BY declared.relation = 'unknown', declared.id LIMIT 1
    )
FROM repositories
JOIN revisions ON revisions.id = repositories.current_revision_id
WHERE repositories.source_id = :source AND repositories.removed_at IS NULL AND revisions.weights <> 'unread'
"""


def profiles(session: Session, source_id: int, weak: Sequence[str]) -> dict[str, tuple[str | None, str | None]]:
    """By described model: its architecture, and the relation that it declares in a place that is not weak."""
    found = session.execute(text(_PROFILES), {"source": source_id, "weak": list(weak)})
    return {row[0]: (row[1], row[2]) for row in found}


def with_file(session: Session, source_id: int, path: str) -> set[str]:
    """The models of a source whose current revisions have a file of this path."""
    query = (
        select(Repository.name)
        .join(File, File.revision_id == Repository.current_revision_id)
        .where(Repository.source_id == source_id, File.path == path)
    )
    return set(session.scalars(query))
