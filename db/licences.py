"""Queries on licences: what cards say of them, and what was found along lineage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy.orm import Session

_CHUNK = 5_000
_CARDS = """
SELECT repositories.name, revisions.card_data -> 'license', revisions.card_data -> 'license_name',
    revisions.card_data -> 'license_link', repositories.tags
FROM repositories
JOIN revisions ON revisions.id = repositories.current_revision_id
WHERE repositories.source_id = :source AND repositories.removed_at IS NULL AND revisions.weights <> 'unread'
"""
_DIRECT = """
SELECT revisions.card_data -> 'license' AS license, revisions.card_data -> 'license_name' AS name,
    revisions.card_data -> 'license_link' AS link, repositories.tags, revisions.weights
FROM repositories
LEFT JOIN revisions ON revisions.id = repositories.current_revision_id
WHERE repositories.id = :repository
"""
_STORE = """
INSERT INTO licences AS old (revision_id, declared, licences, name, link, declared_in, ancestors, unchecked)
SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS page (
    revision_id bigint, declared text[], licences text[], name text, link text, declared_in text, ancestors jsonb,
    unchecked text
)
ON CONFLICT (revision_id) DO UPDATE
SET declared = excluded.declared, licences = excluded.licences, name = excluded.name, link = excluded.link,
    declared_in = excluded.declared_in, ancestors = excluded.ancestors, unchecked = excluded.unchecked,
    compared_at = now()
WHERE (old.declared, old.licences, old.name, old.link, old.declared_in, old.ancestors, old.unchecked)
    IS DISTINCT FROM (excluded.declared, excluded.licences, excluded.name, excluded.link, excluded.declared_in,
        excluded.ancestors, excluded.unchecked)
"""
_GONE = """
DELETE FROM licence_findings AS old
WHERE old.revision_id = ANY(:revisions) AND NOT EXISTS (
    SELECT FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS page (revision_id bigint, kind text, licence text)
    WHERE (page.revision_id, page.kind, page.licence) = (old.revision_id, old.kind, old.licence)
)
"""
_FOUND = """
INSERT INTO licence_findings AS old (revision_id, kind, licence, severity, path, confidence, why, cite)
SELECT * FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS page (
    revision_id bigint, kind text, licence text, severity text, path text[], confidence double precision, why text,
    cite text
)
ON CONFLICT (revision_id, kind, licence) DO UPDATE
SET severity = excluded.severity, path = excluded.path, confidence = excluded.confidence, why = excluded.why,
    cite = excluded.cite, found_at = now()
WHERE (old.severity, old.path, old.confidence, old.why, old.cite)
    IS DISTINCT FROM (excluded.severity, excluded.path, excluded.confidence, excluded.why, excluded.cite)
"""
_OF_MODEL = """
SELECT kind, severity, licence, path, confidence, why, cite
FROM licence_findings
JOIN repositories ON repositories.current_revision_id = licence_findings.revision_id
WHERE repositories.id = :repository
ORDER BY array_position(ARRAY['conflict', 'duty', 'read'], severity), kind, licence
"""
_LICENCE_OF_MODEL = """
SELECT licences.declared, licences.licences, licences.name, licences.link, licences.declared_in, licences.ancestors,
    licences.unchecked
FROM licences
JOIN repositories ON repositories.current_revision_id = licences.revision_id
WHERE repositories.id = :repository
"""
_HERE = """
FROM repositories JOIN {table} ON {table}.revision_id = repositories.current_revision_id
WHERE repositories.removed_at IS NULL
"""
_ALL = f"""
SELECT repositories.name AS model, kind, severity, licence, path, confidence, why, cite
{_HERE.format(table="licence_findings")}
    AND (CAST(:kind AS text) IS NULL OR kind = :kind) AND (CAST(:severity AS text) IS NULL OR severity = :severity)
ORDER BY array_position(ARRAY['conflict', 'duty', 'read'], severity), confidence DESC, repositories.name, kind, licence
LIMIT :limit
"""
_COUNTS = f"""
SELECT severity, kind, count(*), count(DISTINCT repositories.id)
{_HERE.format(table="licence_findings")}
GROUP BY severity, kind
ORDER BY array_position(ARRAY['conflict', 'duty', 'read'], severity), count(*) DESC, kind
"""
_DECLARED = f"""
SELECT CASE WHEN licences.declared = '{{}}' THEN 'none' ELSE array_to_string(licences.licences, ', ') END, count(*)
{_HERE.format(table="licences")}
GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT :limit
"""
_TOTALS = f"""
SELECT count(*), count(*) FILTER (WHERE licences.unchecked IS NULL), (
    SELECT count(DISTINCT repositories.id) {_HERE.format(table="licence_findings")}
) {_HERE.format(table="licences")}
"""


@dataclass(frozen=True)
class Card:
    """What a model's card and tags say of its licence, as it came."""

    license: Any
    license_name: Any
    license_link: Any
    tags: tuple[str, ...]

    @property
    def data(self) -> dict[str, Any]:
        """As in the card's header."""
        return {"license": self.license, "license_name": self.license_name, "license_link": self.license_link}


def cards(session: Session, source_id: int) -> dict[str, Card]:
    """What the described models of a source say of their licences, by name."""
    found = session.execute(text(_CARDS), {"source": source_id})
    return {row[0]: Card(row[1], row[2], row[3], tuple(row[4])) for row in found}


def card(session: Session, repository_id: int) -> tuple[Card, bool]:
    """What one repository says of its licence, and whether it was described."""
    row = session.execute(text(_DIRECT), {"repository": repository_id}).one()
    return Card(row.license, row.name, row.link, tuple(row.tags)), row.weights not in (None, "unread")


def store(
    session: Session, licences: Sequence[Mapping[str, Any]], findings: Mapping[int, Sequence[Mapping[str, Any]]]
) -> None:
    """Store licences, and findings by revision, in place of those that they had; only changes are written."""
    for start in range(0, len(licences), _CHUNK):
        some = licences[start : start + _CHUNK]
        session.execute(text(_STORE), {"rows": json.dumps(some)})
        revisions = [row["revision_id"] for row in some]
        found = json.dumps([{"revision_id": one, **row} for one in revisions for row in findings.get(one, ())])
        session.execute(text(_GONE), {"revisions": revisions, "rows": found})
        session.execute(text(_FOUND), {"rows": found})


def of_model(session: Session, repository_id: int) -> tuple[dict[str, Any] | None, list[dict[str, Any]]]:
    """The stored licence of a repository (None: it was not compared yet) with its ancestors, and its findings."""
    row = session.execute(text(_LICENCE_OF_MODEL), {"repository": repository_id}).mappings().one_or_none()
    found = session.execute(text(_OF_MODEL), {"repository": repository_id}).mappings()
    return (dict(row) if row is not None else None), [dict(one) for one in found]


def findings(
    session: Session, *, kind: str | None = None, severity: str | None = None, limit: int | None = None
) -> Iterator[dict[str, Any]]:
    """The findings of all models that are there, the gravest and surest first."""
    values = {"kind": kind, "severity": severity, "limit": limit}
    for row in session.execute(text(_ALL), values).mappings():
        yield dict(row)


def counts(session: Session, limit: int) -> dict[str, Any]:
    """How many models were compared, and how many findings of each kind and licences of each name there are."""
    models, checked, concerned = session.execute(text(_TOTALS)).one()
    return {
        "models": models,
        "with verified ancestors": checked,
        "with findings": concerned,
        "findings": [
            {"severity": row[0], "kind": row[1], "findings": row[2], "models": row[3]}
            for row in session.execute(text(_COUNTS))
        ],
        "licences": [
            {"licence": row[0], "models": row[1]} for row in session.execute(text(_DECLARED), {"limit": limit})
        ],
    }
