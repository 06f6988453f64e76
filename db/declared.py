"""Queries on what revisions declare of their parents: storing it, and resolving names to repositories."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import CursorResult, text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.orm import Session

WEAK_SOURCES = ("prose", "config")  # these name models in passing: they hint at a parent, and contradict nobody
CHAIN_LIMIT = 10  # renames that are followed from one name

_TABLE = """
CREATE TEMPORARY TABLE IF NOT EXISTS declared_page (
    position int, revision_id bigint, name text, relation text, source text, kind text, hub_id text,
    weight double precision, layers jsonb, detail jsonb
) ON COMMIT DELETE ROWS
"""
_FILL = """
INSERT INTO declared_page
SELECT * FROM jsonb_populate_recordset(NULL::declared_page, CAST(:rows AS jsonb))
"""
_GONE = """
DELETE FROM declared_parents AS old
WHERE old.revision_id = ANY(:revisions) AND NOT EXISTS (
    SELECT FROM declared_page AS page
    WHERE (page.revision_id, page.name, page.relation, page.source)
        = (old.revision_id, old.name, old.relation, old.source)
)
"""
# ON CONFLICT locks, and so writes, even rows that it leaves alone: what is there already does not come that far.
_STORE = """
INSERT INTO declared_parents AS old (revision_id, name, relation, source, kind, hub_id, weight, layers, detail)
SELECT page.revision_id, page.name, page.relation, page.source, page.kind, page.hub_id, page.weight,
    page.layers, page.detail
FROM declared_page AS page
WHERE NOT EXISTS (
    SELECT FROM declared_parents AS same
    WHERE (same.revision_id, same.name, same.relation, same.source, same.kind)
        = (page.revision_id, page.name, page.relation, page.source, page.kind)
      AND (same.hub_id, same.weight, same.layers, same.detail)
        IS NOT DISTINCT FROM (page.hub_id, page.weight, page.layers, page.detail)
)
ORDER BY page.position
ON CONFLICT (revision_id, name, relation, source) DO UPDATE SET
    kind = excluded.kind, hub_id = excluded.hub_id, weight = excluded.weight, layers = excluded.layers,
    detail = excluded.detail,
    parent_id = CASE WHEN (old.kind, old.hub_id) IS NOT DISTINCT FROM (excluded.kind, excluded.hub_id)
        THEN old.parent_id END,
    resolution = CASE WHEN (old.kind, old.hub_id) IS NOT DISTINCT FROM (excluded.kind, excluded.hub_id)
        THEN old.resolution END
"""

# Of revisions that have nothing stored, as those of a new page: half the cost. Another worker may be as quick.
_STORE_NEW = """
INSERT INTO declared_parents (revision_id, name, relation, source, kind, hub_id, weight, layers, detail)
SELECT page.revision_id, page.name, page.relation, page.source, page.kind, page.hub_id, page.weight, page.layers,
    page.detail
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS page (
    revision_id bigint, name text, relation text, source text, kind text, hub_id text, weight double precision,
    layers jsonb, detail jsonb
)
ON CONFLICT DO NOTHING
"""
_KNOWN = "SELECT EXISTS (SELECT FROM declared_parents WHERE revision_id = ANY(:revisions))"

# The answer to every name that the current revisions of a source declare, in one pass over them. Names repeat (most
# repositories are derived from a few thousand), so each is looked up once; all look-ups are joins by equality on
# indexed columns: (source_id, hub_id), lower(name), aliases (source_id, lower(name)). A million rows hash in seconds,
# where a query per name would take hours. Of several candidates one that is still there is best; among these the Hub's
# own id, then the exact name, then its case, then former names, the shortest chain of them first.
_ANSWERS = f"""
WITH RECURSIVE current AS MATERIALIZED (
    SELECT declared.id, declared.revision_id, declared.source, declared.name, coalesce(declared.hub_id, '') AS hub_id,
        declared.parent_id, declared.resolution
    FROM repositories AS child
    JOIN declared_parents AS declared ON declared.revision_id = child.current_revision_id
    WHERE child.source_id = :source AND declared.kind = 'hub'
), wanted AS MATERIALIZED (
    SELECT DISTINCT name, hub_id, lower(name) AS lower_name FROM current
), former (name, target, hub_id, steps) AS (
    SELECT lower(name), target, hub_id, 1 FROM aliases
    WHERE source_id = :source AND (target IS NOT NULL OR hub_id IS NOT NULL)
    UNION
    SELECT former.name, alias.target, alias.hub_id, former.steps + 1
    FROM former JOIN aliases AS alias ON alias.source_id = :source AND lower(alias.name) = lower(former.target)
    WHERE former.steps < {CHAIN_LIMIT} AND lower(alias.name) <> former.name
), candidates AS (
    SELECT wanted.name, wanted.hub_id, parent.id AS parent_id, parent.removed_at, 0 AS rank,
        CASE WHEN parent.name = wanted.name THEN 'exact' WHEN lower(parent.name) = lower_name THEN 'case'
        ELSE 'renamed' END AS resolution
    FROM wanted JOIN repositories AS parent ON parent.source_id = :source AND parent.hub_id = wanted.hub_id
    UNION ALL
    SELECT wanted.name, wanted.hub_id, parent.id, parent.removed_at,
        CASE WHEN parent.name = wanted.name THEN 1 ELSE 2 END,
        CASE WHEN parent.name = wanted.name THEN 'exact' ELSE 'case' END
    FROM wanted JOIN repositories AS parent ON parent.source_id = :source AND lower(parent.name) = lower_name
    UNION ALL
    SELECT wanted.name, wanted.hub_id, parent.id, parent.removed_at, 1 + 2 * former.steps, 'renamed'
    FROM wanted JOIN former ON former.name = lower_name
    JOIN repositories AS parent ON parent.source_id = :source AND parent.hub_id = former.hub_id
    UNION ALL
    SELECT wanted.name, wanted.hub_id, parent.id, parent.removed_at, 2 + 2 * former.steps, 'renamed'
    FROM wanted JOIN former ON former.name = lower_name
    JOIN repositories AS parent ON parent.source_id = :source AND lower(parent.name) = lower(former.target)
), best AS MATERIALIZED (
    SELECT DISTINCT ON (name, hub_id) name, hub_id, parent_id, resolution, removed_at IS NOT NULL AS removed
    FROM candidates
    ORDER BY name, hub_id, removed_at IS NOT NULL, rank, removed_at DESC, parent_id DESC
), named AS MATERIALIZED (
    SELECT current.*, best.parent_id AS found_id, best.resolution AS found, coalesce(best.removed, true) AS lost,
        lower(regexp_replace(current.name, '^.*/', '')) AS last
    FROM current LEFT JOIN best USING (name, hub_id)
), hub AS MATERIALIZED (
    SELECT *, count(*) OVER (PARTITION BY revision_id) AS alone
    FROM (
        SELECT DISTINCT ON (revision_id, found_id) revision_id, last, name, found_id, lost FROM named
        WHERE source = 'baseModels' AND found_id IS NOT NULL ORDER BY revision_id, found_id, name
    ) AS once
), said AS (
    SELECT revision_id, source, count(DISTINCT lower(name)) AS names FROM named
    WHERE source IN ('card', 'tags') AND revision_id IN (SELECT revision_id FROM hub)
    GROUP BY revision_id, source
), through_hub AS (
    -- What the card calls by a former name the Hub has resolved itself, in the baseModels of the same revision.
    SELECT DISTINCT ON (named.id) named.id, hub.found_id
    FROM named
    JOIN hub ON hub.revision_id = named.revision_id
    LEFT JOIN said ON said.revision_id = named.revision_id AND said.source = named.source
    WHERE named.lost AND named.source <> 'baseModels' AND (named.found_id IS NULL OR NOT hub.lost)
      AND (hub.last = named.last OR (hub.alone = 1 AND said.names = 1))
    ORDER BY named.id, lower(hub.name) = lower(named.name) DESC, hub.last = named.last DESC, hub.found_id
)
SELECT named.id, coalesce(through_hub.found_id, named.found_id) AS parent_id,
    CASE WHEN through_hub.found_id IS NOT NULL THEN 'renamed' ELSE coalesce(named.found, 'dangling') END AS resolution
FROM named LEFT JOIN through_hub USING (id)
"""  # noqa: S608  # a constant of this file
_RESOLVE = f"""
UPDATE declared_parents AS old SET parent_id = answer.parent_id, resolution = answer.resolution
FROM ({_ANSWERS}) AS answer
WHERE old.id = answer.id AND (old.parent_id, old.resolution) IS DISTINCT FROM (answer.parent_id, answer.resolution)
"""  # noqa: S608
_DANGLING = """
SELECT declared.name
FROM repositories AS child
JOIN revisions ON revisions.id = child.current_revision_id
JOIN declared_parents AS declared ON declared.revision_id = revisions.id
WHERE child.source_id = :source AND child.removed_at IS NULL AND revisions.described_at IS NOT NULL
  AND declared.resolution = 'dangling'
  AND NOT EXISTS (
      SELECT FROM aliases WHERE aliases.source_id = :source AND lower(aliases.name) = lower(declared.name)
        AND (aliases.target IS NOT NULL OR aliases.seen_at > now() - interval '30 days')
  )
GROUP BY declared.name
ORDER BY count(DISTINCT child.id) DESC, declared.name
LIMIT :limit
"""
_ALIAS = """
INSERT INTO aliases (source_id, name, target, hub_id) VALUES (:source, :name, :target, :hub_id)
ON CONFLICT (source_id, name) DO UPDATE SET target = excluded.target, hub_id = excluded.hub_id, seen_at = now()
"""


def store(session: Session, revision_id: int, parents: Sequence[Mapping[str, Any]]) -> None:
    """Store what a revision declares, in place of what it declared before. What is equal is not written again.

    A parent is a mapping of the table's columns name, relation, source, kind, hub_id, weight, layers and detail; of
    equal names, relations and sources the first counts.
    """
    store_many(session, [(revision_id, parents)])


def store_many(session: Session, declared: Sequence[tuple[int, Sequence[Mapping[str, Any]]]]) -> None:
    """As `store`, of many revisions at once by a few statements; a revision may come with no parents."""
    if not declared:
        return
    revisions = sorted({revision for revision, _ in declared})
    page: dict[tuple[int, str, str, str], dict[str, Any]] = {}
    for revision, parents in declared:
        for parent in parents:
            key = (revision, parent["name"], parent["relation"], parent["source"])
            page.setdefault(key, {**parent, "revision_id": revision, "position": len(page)})
    rows = {"rows": json.dumps(list(page.values()))}
    if not session.scalar(text(_KNOWN), {"revisions": revisions}):
        session.execute(text(_STORE_NEW), rows)
        return
    session.execute(text(_TABLE))
    session.execute(text("DELETE FROM declared_page"))
    session.execute(text(_FILL), rows)
    if len(page) > 100:
        session.execute(text("ANALYZE declared_page"))
    session.execute(text(_GONE), {"revisions": revisions})
    session.execute(text(_STORE))
    session.execute(text("DELETE FROM declared_page"))


def resolve(session: Session, source_id: int) -> int:
    """Find the repositories that the names declared by a source's current revisions stand for.

    By the Hub's id, the exact name, the name in another case, a former name (through any chain of renames), or the name
    that the Hub's own baseModels of the same revision give; else the name is dangling. Repositories that are still
    there are preferred to removed ones. Returns how many answers changed; others are not written.
    """
    return _count(session, _RESOLVE, {"source": source_id})


def dangling_names(session: Session, source_id: int, limit: int) -> list[str]:
    """Names that described revisions declare, that no repository has and that nobody has asked the source for yet.

    The ones that most repositories declare come first. That a name leads nowhere is believed for 30 days.
    """
    return list(session.scalars(text(_DANGLING), {"source": source_id, "limit": limit}))


def store_alias(session: Session, source_id: int, name: str, target: str | None, hub_id: str | None) -> None:
    """Store where a name led: to a repository's present name and id, or nowhere (None, None)."""
    session.execute(text(_ALIAS), {"source": source_id, "name": name, "target": target, "hub_id": hub_id})


def _count(session: Session, statement: str, values: dict[str, Any]) -> int:
    return cast("CursorResult[Any]", session.execute(text(statement), values)).rowcount
