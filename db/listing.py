"""Storing pages of a listing: a thousand repositories by a dozen statements, whatever has become of them.

A repository is known by the source's own id where there is one, else by its name, so that its history stays with it
when it is renamed, hidden, or when another one takes its name. What is unchanged is not written again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.orm import Session

NAME_TAKEN = "another repository has its name now"
NOT_LISTED = "no longer listed: deleted or made private"


@dataclass(frozen=True)
class Row:
    """One repository as a listing shows it; None where the listing does not tell. Fields are those of the table."""

    name: str
    hub_id: str | None = None
    head_sha: str | None = None
    author: str | None = None
    created_at: datetime | None = None
    last_modified: datetime | None = None
    downloads: int | None = None
    likes: int | None = None
    private: bool = False
    gated: str | None = None
    disabled: bool = False
    tags: tuple[str, ...] = ()
    pipeline_tag: str | None = None
    library_name: str | None = None
    architectures: tuple[str, ...] | None = None
    model_type: str | None = None
    parameters: int | None = None
    formats: tuple[str, ...] | None = None
    config: dict[str, Any] | None = None  # this and the next are stored with the revision
    card_data: dict[str, Any] | None = None


@dataclass(frozen=True)
class Stored:
    """What became of a page: ids by the rows' positions, and the revisions that were new with it."""

    repositories: tuple[int, ...]
    revisions: dict[int, int]  # position -> revision that the catalogue did not know


# What a row that says nothing must not erase; the others are said by every listing.
_KEPT = (
    "hub_id", "author", "created_at", "last_modified", "downloads", "likes", "pipeline_tag", "library_name",
    "architectures", "model_type", "parameters", "formats",
)  # fmt: skip
_SAID = ("name", "head_sha", "private", "gated", "disabled", "tags")
_NEW = ", ".join(f"coalesce(page.{name}, old.{name})" for name in _KEPT) + ", " + ", ".join(
    f"page.{name}" for name in _SAID
)  # fmt: skip
_COLUMNS = ", ".join((*_KEPT, *_SAID))
_OLD = ", ".join(f"old.{name}" for name in (*_KEPT, *_SAID))

_TABLE = """
CREATE TEMPORARY TABLE IF NOT EXISTS listing_page (
    position int PRIMARY KEY, repository_id bigint, name text, hub_id text, head_sha text, author text,
    created_at timestamptz, last_modified timestamptz, downloads bigint, likes bigint, private boolean, gated text,
    disabled boolean, tags text[], pipeline_tag text, library_name text, architectures text[], model_type text,
    parameters bigint, formats text[], config jsonb, card_data jsonb, revision_id bigint
) ON COMMIT DELETE ROWS
"""
_FILL = """
INSERT INTO listing_page
SELECT * FROM json_populate_recordset(NULL::listing_page, CAST(:rows AS json))
"""
_MATCH_IDS = """
UPDATE listing_page AS page SET repository_id = (
    SELECT old.id FROM repositories AS old WHERE old.source_id = :source AND old.hub_id = page.hub_id
)
"""
_MATCH_NAMES = """
UPDATE listing_page AS page SET repository_id = (
    SELECT old.id FROM repositories AS old
    WHERE old.source_id = :source AND old.name = page.name AND old.removed_at IS NULL
      AND (page.hub_id IS NULL OR old.hub_id IS NULL)
)
WHERE page.repository_id IS NULL
"""
# What has no id of its own and was removed is the same again when it is back.
_MATCH_REMOVED = """
UPDATE listing_page AS page SET repository_id = (
    SELECT max(old.id) FROM repositories AS old
    WHERE lower(old.name) = lower(page.name) AND old.name = page.name AND old.source_id = :source
      AND old.hub_id IS NULL AND old.removed_at IS NOT NULL
)
WHERE page.repository_id IS NULL AND page.hub_id IS NULL
"""
# Live ones whose name a row of the page has, and that are not of that row.
_DISPLACED = """
SELECT other.id FROM listing_page AS page CROSS JOIN LATERAL (
    SELECT old.id FROM repositories AS old
    WHERE old.source_id = :source AND old.name = page.name AND old.removed_at IS NULL
      AND old.id IS DISTINCT FROM page.repository_id
    OFFSET 0
) AS other
"""
_CHANGES = f"""
INSERT INTO repository_changes (repository_id, what, before, after)
SELECT old.id, change.what, change.before, change.after
FROM listing_page AS page JOIN repositories AS old ON old.id = page.repository_id
CROSS JOIN LATERAL (VALUES
    ('name', old.name, page.name),
    ('private', old.private::text, page.private::text),
    ('gated', old.gated, page.gated),
    ('disabled', old.disabled::text, page.disabled::text),
    ('removed', old.removed_why, NULL)
) AS change (what, before, after)
WHERE change.before IS DISTINCT FROM change.after
UNION ALL
SELECT displaced.id, 'removed', NULL, '{NAME_TAKEN}' FROM ({_DISPLACED}) AS displaced
WHERE NOT EXISTS (SELECT FROM listing_page AS other WHERE other.repository_id = displaced.id)
"""  # noqa: S608  # constants of this file
_ALIASES = """
INSERT INTO aliases (source_id, name, target, hub_id)
SELECT :source, old.name, page.name, old.hub_id
FROM listing_page AS page JOIN repositories AS old ON old.id = page.repository_id
WHERE old.name <> page.name
ON CONFLICT (source_id, name) DO UPDATE SET target = excluded.target, hub_id = excluded.hub_id, seen_at = now()
"""
# Names are unique among those that are there: first all that change hands are let go, so that two may swap theirs.
_LET_GO = f"""
UPDATE repositories SET removed_at = now(), removed_why = '{NAME_TAKEN}'
WHERE id = ANY(ARRAY(
    {_DISPLACED}
    UNION
    SELECT old.id FROM listing_page AS page JOIN repositories AS old ON old.id = page.repository_id
    WHERE old.name <> page.name AND old.removed_at IS NULL
))
"""  # noqa: S608
_UPDATE = f"""
UPDATE repositories AS old SET ({_COLUMNS}, removed_at, removed_why) = ({_NEW}, NULL, NULL)
FROM listing_page AS page
WHERE old.id = page.repository_id
  AND ({_OLD}, old.removed_at) IS DISTINCT FROM ({_NEW}, CAST(NULL AS timestamptz))
"""  # noqa: S608
# One statement, so that a repository and its first revision may refer to each other, and are written once.
_INSERT = f"""
WITH new AS MATERIALIZED (
    SELECT *,
        nextval(pg_get_serial_sequence('repositories', 'id')) AS new_id,
        CASE WHEN head_sha IS NOT NULL THEN nextval(pg_get_serial_sequence('revisions', 'id')) END AS new_revision
    FROM listing_page WHERE repository_id IS NULL
), repository AS (
    INSERT INTO repositories (id, source_id, current_revision_id, {_COLUMNS})
    SELECT new_id, :source, new_revision, {_COLUMNS} FROM new
), revision AS (
    INSERT INTO revisions (id, repository_id, sha, weights, described_at, config, card_data)
    SELECT new_revision, new_id, head_sha, 'unread', NULL, config, card_data FROM new WHERE new_revision IS NOT NULL
)
UPDATE listing_page AS page SET repository_id = new_id, revision_id = new_revision
FROM new WHERE new.position = page.position
"""  # noqa: S608
# Of repositories that were known; one whose newest revision was never read goes on to the one that is listed now.
_REVISIONS = """
WITH new AS (
    INSERT INTO revisions (repository_id, sha, weights, described_at, config, card_data)
    SELECT page.repository_id, page.head_sha, 'unread', NULL, page.config, page.card_data
    FROM listing_page AS page
    WHERE page.head_sha IS NOT NULL AND page.revision_id IS NULL AND NOT EXISTS (
        SELECT FROM revisions WHERE revisions.repository_id = page.repository_id AND revisions.sha = page.head_sha
    )
    ON CONFLICT (repository_id, sha) DO NOTHING
    RETURNING id, repository_id
), current AS (
    UPDATE repositories SET current_revision_id = new.id
    FROM new
    WHERE repositories.id = new.repository_id AND NOT EXISTS (
        SELECT FROM revisions
        WHERE revisions.id = repositories.current_revision_id AND revisions.weights <> 'unread'
    )
)
UPDATE listing_page AS page SET revision_id = new.id FROM new WHERE new.repository_id = page.repository_id
"""
_STEPS = (_MATCH_IDS, _MATCH_NAMES, _MATCH_REMOVED, _CHANGES, _ALIASES, _LET_GO, _UPDATE, _INSERT, _REVISIONS)
_ASKED = """
SELECT asked.name, coalesce(
    (SELECT id FROM repositories WHERE source_id = :source AND name = asked.name AND removed_at IS NULL),
    (
        SELECT repositories.id FROM aliases JOIN repositories ON repositories.source_id = aliases.source_id AND (
            repositories.hub_id = aliases.hub_id OR (aliases.hub_id IS NULL AND repositories.name = aliases.target)
        )
        WHERE aliases.source_id = :source AND aliases.name = asked.name AND repositories.removed_at IS NULL
    )
) AS id
FROM unnest(CAST(:names AS text[])) AS asked (name)
"""
_NEW_NAMES = f"""
WITH asked AS ({_ASKED}), new AS (
    INSERT INTO repositories (source_id, name) SELECT :source, name FROM asked WHERE id IS NULL RETURNING id
)
SELECT id FROM asked WHERE id IS NOT NULL UNION SELECT id FROM new ORDER BY id
"""  # noqa: S608
_REMOVE = """
WITH gone AS (
    UPDATE repositories SET removed_at = now(), removed_why = :why
    WHERE id = ANY(:ids) AND removed_at IS NULL
    RETURNING id
)
INSERT INTO repository_changes (repository_id, what, after) SELECT id, 'removed', :why FROM gone RETURNING id
"""


# A table that has just grown looks small to the planner, which would then read all of it for each page.
_BY_INDEX = """
SELECT set_config('enable_seqscan', :switch, true), set_config('enable_hashjoin', :switch, true),
    set_config('enable_mergejoin', :switch, true)
"""


def rendered(rows: Sequence[Row]) -> str:
    """Rows as `store_rendered` takes them: this much can be done while the page before them is stored.

    Of rows that name one repository twice the last one counts.
    """
    page = [{"position": at, **vars(row)} for at, row in _once(rows).items()]  # asdict would copy every value
    return json.dumps(page, default=lambda moment: moment.isoformat())


def store_rows(session: Session, source_id: int, rows: Sequence[Row]) -> Stored:
    """Store what a listing shows, as `store_rendered`."""
    return store_rendered(session, source_id, rendered(rows))


def store_rendered(session: Session, source_id: int, rows: str) -> Stored:
    """Store what a listing shows.

    A repository that another one's name was given to counts as removed until it is seen under a name of its own. Of
    one source one page is stored at a time: pages that show the same repositories in another order would block each
    other.
    """
    source = {"source": source_id}
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('listing ' || :source, 0))"), source)
    session.execute(text(_TABLE))
    session.execute(text(_FILL), {"rows": rows})
    session.execute(text(_BY_INDEX), {"switch": "off"})
    for statement in _STEPS:
        session.execute(text(statement), source)
    session.execute(text(_BY_INDEX), {"switch": "on"})
    found = session.execute(text("SELECT position, repository_id, revision_id FROM listing_page ORDER BY position"))
    stored = [(row.position, row.repository_id, row.revision_id) for row in found]
    session.execute(text("DELETE FROM listing_page"))  # the transaction may store more
    return Stored(
        tuple(repository for _, repository, _ in stored),
        {position: revision for position, _, revision in stored if revision is not None},
    )


def _once(rows: Sequence[Row]) -> dict[int, Row]:
    """The rows by position, without those whose id or name comes again."""
    chosen: dict[int, Row] = {}
    ids: set[str] = set()
    names: set[str] = set()
    for at in range(len(rows) - 1, -1, -1):
        row = rows[at]
        if row.name in names or row.hub_id in ids:
            continue
        names.add(row.name)
        if row.hub_id is not None:
            ids.add(row.hub_id)
        chosen[at] = row
    return dict(sorted(chosen.items()))


def store_names(session: Session, source_id: int, names: Sequence[str]) -> tuple[int, ...]:
    """The repositories that these names lead to, added where they are new: nothing else of them is known yet."""
    values = {"source": source_id, "names": list(dict.fromkeys(names))}
    return tuple(session.scalars(text(_NEW_NAMES), values))


def refresh_statistics(session: Session) -> None:
    """Let the planner know of tables that have grown since it looked."""
    session.execute(text("ANALYZE repositories, revisions, declared_parents"))


def remove(session: Session, repositories: Sequence[int], why: str = NOT_LISTED) -> int:
    """Mark repositories as gone; return how many were not before. All that is known of them stays."""
    return len(session.scalars(text(_REMOVE), {"ids": list(repositories), "why": why}).all())
