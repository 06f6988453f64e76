"""What is wrong with declared parents: a model that names itself, parents in a circle, sources that disagree."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sqlalchemy import text

from db.declared import WEAK_SOURCES

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

NAMES_LIMIT = 30  # names that a detail spells out
DETAIL_LIMIT = 2_000  # characters: it is part of a key, and an index holds no more than 2,700 bytes
_LIVE = """
repositories AS child
JOIN declared_parents AS declared ON declared.revision_id = child.current_revision_id
WHERE child.source_id = :source AND child.removed_at IS NULL
"""
_SELF = f"""
SELECT child.current_revision_id, child.name, array_agg(DISTINCT declared.source ORDER BY declared.source)
FROM {_LIVE} AND declared.parent_id = child.id AND declared.source <> 'config'
GROUP BY child.id
"""  # noqa: S608  # constants of this file
# Of a circle every member has a parent that has a parent itself, and a child: that leaves out most of a Hub at once.
_EDGES = f"""
WITH edges AS MATERIALIZED (
    SELECT DISTINCT child.id AS child, declared.parent_id AS parent FROM {_LIVE}
      AND declared.parent_id <> child.id AND declared.relation <> 'duplicate' AND NOT declared.source = ANY(:weak)
)
SELECT child, parent FROM edges
WHERE parent IN (SELECT child FROM edges) AND child IN (SELECT parent FROM edges)
"""  # noqa: S608
_NAMES = "SELECT id, name, current_revision_id FROM repositories WHERE id = ANY(:ids)"
# Revisions whose sources can disagree at all; what they say is compared in `contradictions`.
_CLAIMS = f"""
WITH live AS MATERIALIZED (
    SELECT child.id AS child, declared.* FROM {_LIVE}
      AND declared.kind = 'hub' AND declared.relation <> 'duplicate' AND NOT declared.source = ANY(:weak)
      AND declared.parent_id IS DISTINCT FROM child.id
), suspect AS (
    SELECT revision_id FROM live GROUP BY revision_id
    HAVING count(DISTINCT source) > 1
       AND (count(DISTINCT coalesce(parent_id::text, lower(name))) > 1
            OR count(DISTINCT relation) FILTER (WHERE relation <> 'unknown') > 1)
)
SELECT live.revision_id, live.source, live.name, live.relation, live.parent_id, coalesce(parent.name, (
        SELECT min(target) FROM aliases WHERE aliases.source_id = :source AND lower(aliases.name) = lower(live.name)
    )) AS parent,
    live.source <> 'card' OR jsonb_exists(revisions.card_data, 'base_model_relation') AS says_relation
FROM suspect JOIN live USING (revision_id)
JOIN revisions ON revisions.id = live.revision_id
LEFT JOIN repositories AS parent ON parent.id = live.parent_id
ORDER BY live.revision_id, live.id
"""  # noqa: S608
_STORED = """
SELECT problem.revision_id, problem.kind, problem.detail
FROM declared_problems AS problem
JOIN revisions ON revisions.id = problem.revision_id
JOIN repositories ON repositories.id = revisions.repository_id
WHERE repositories.source_id = :source
"""
_REMOVE = """
DELETE FROM declared_problems
USING unnest(CAST(:revisions AS bigint[]), CAST(:kinds AS text[]), CAST(:details AS text[]))
    AS gone (revision_id, kind, detail)
WHERE (declared_problems.revision_id, declared_problems.kind, declared_problems.detail)
    = (gone.revision_id, gone.kind, gone.detail)
"""
_ADD = """
INSERT INTO declared_problems (revision_id, kind, detail)
SELECT * FROM unnest(CAST(:revisions AS bigint[]), CAST(:kinds AS text[]), CAST(:details AS text[]))
"""


@dataclass(frozen=True)
class Claim:
    """What one source of a revision says of one parent."""

    source: str
    name: str
    relation: str
    parent_id: int | None = None
    parent: str | None = None  # the name of the repository that it stands for, or that the source leads it to
    says_relation: bool = True  # False: the relation is not the source's own word


def find_problems(session: Session, source_id: int) -> int:
    """Find what is wrong with what a source's current revisions declare, in place of what was found before.

    Names must have been resolved. Returns how many problems there are; only changes are written.
    """
    searches = (_self_references, _cycles, _contradictions)
    found = {
        (revision, kind, _cut(detail)) for search in searches for revision, kind, detail in search(session, source_id)
    }
    stored = {(row[0], row[1], row[2]) for row in session.execute(text(_STORED), {"source": source_id})}
    for statement, changed in ((_REMOVE, stored - found), (_ADD, found - stored)):
        if changed:
            revisions, kinds, details = zip(*sorted(changed), strict=True)
            values = {"revisions": list(revisions), "kinds": list(kinds), "details": list(details)}
            session.execute(text(statement), values)
    return len(found)


def _cut(detail: str) -> str:
    return detail if len(detail) <= DETAIL_LIMIT else f"{detail[:DETAIL_LIMIT]} ..."


def _self_references(session: Session, source_id: int) -> Iterator[tuple[int, str, str]]:
    for revision, name, sources in session.execute(text(_SELF), {"source": source_id}):
        yield revision, "self-reference", f"{name} declares itself ({', '.join(sources)})"


def _cycles(session: Session, source_id: int) -> Iterator[tuple[int, str, str]]:
    rows = session.execute(text(_EDGES), {"source": source_id, "weak": list(WEAK_SOURCES)}).all()
    found = cycles((child, parent) for child, parent in rows)
    ids = {one for circle in found for one in circle}
    known = {row.id: row for row in session.execute(text(_NAMES), {"ids": list(ids)})} if ids else {}
    for circle in found:
        names = [known[one].name for one in circle]
        first = names.index(min(names))
        ordered = [*names[first:], *names[:first]]
        shown = ordered if len(ordered) <= NAMES_LIMIT else [*ordered[:NAMES_LIMIT], f"({len(ordered)} in all)"]
        detail = " → ".join((*shown, ordered[0]))
        for one in circle:
            yield known[one].current_revision_id, "cycle", detail


def cycles(edges: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Circles in a directed graph such that everything that is on any circle is on one of them.

    Each begins at its smallest number and follows the edges; of a strongly connected component that is more than a
    circle, the shortest circle through each member that is on none yet.
    """
    pairs = np.array(list(edges), dtype=np.int64).reshape(-1, 2)
    ids, inverse = np.unique(pairs, return_inverse=True)
    ends = inverse.reshape(-1, 2)
    size = len(ids)
    graph = coo_array((np.ones(len(ends), dtype=np.int8), (ends[:, 0], ends[:, 1])), shape=(size, size))
    if not size:
        return []
    _, label = connected_components(graph.tocsr(), connection="strong")
    inside = ends[(label[ends[:, 0]] == label[ends[:, 1]]) & (ends[:, 0] != ends[:, 1])]
    below: dict[int, list[int]] = {}
    for child, parent in sorted({(int(child), int(parent)) for child, parent in inside}):
        below.setdefault(child, []).append(parent)
    found = []
    covered: set[int] = set()
    for start in sorted(below):
        if start not in covered:
            circle = _shortest_circle(below, start)
            covered.update(circle)
            first = circle.index(min(circle))
            found.append(tuple(int(ids[one]) for one in (*circle[first:], *circle[:first])))
    return found


def _shortest_circle(parents: Mapping[int, list[int]], start: int) -> list[int]:
    """The shortest way from a member of a strongly connected component back to itself."""
    came_from: dict[int, int] = {}
    waiting = deque([start])
    while start not in came_from:
        here = waiting.popleft()
        for parent in parents[here]:
            if parent not in came_from:
                came_from[parent] = here
                waiting.append(parent)
    circle = [came_from[start]]
    while circle[-1] != start:
        circle.append(came_from[circle[-1]])
    return circle[::-1]


def _contradictions(session: Session, source_id: int) -> Iterator[tuple[int, str, str]]:
    rows = session.execute(text(_CLAIMS), {"source": source_id, "weak": list(WEAK_SOURCES)})
    for revision, some in groupby(rows, key=lambda row: int(row.revision_id)):
        claims = [
            Claim(row.source, row.name, row.relation, row.parent_id, row.parent, bool(row.says_relation))
            for row in some
        ]
        for detail in contradictions(claims):
            yield revision, "contradiction", detail


def contradictions(claims: Iterable[Claim]) -> list[str]:
    """Where the sources of one revision disagree, in words.

    Two sources disagree on the parents where neither names all that the other names; parents of a merge are passed
    over, because each source lists its own choice of them. They disagree on the relation to a parent that both name
    where they have no relation to it in common; "unknown" says nothing, nor does a relation that is not the source's
    own word.
    """
    claims = list(claims)
    identity = _identities(claims)
    by_source: dict[str, list[Claim]] = {}
    for claim in claims:
        by_source.setdefault(claim.source, []).append(claim)
    found = []
    for (one, first), (other, second) in combinations(by_source.items(), 2):
        here = {identity[claim.name] for claim in first if claim.relation != "merge"}
        there = {identity[claim.name] for claim in second if claim.relation != "merge"}
        if here and there and not (here <= there or there <= here):
            found.append(f"{one} says {_names(first)}, {other} says {_names(second)}")
    for parent in dict.fromkeys(identity.values()):
        said = {
            source: {claim.relation for claim in some if identity[claim.name] == parent and claim.says_relation}
            - {"unknown"}
            for source, some in by_source.items()
        }
        name = next(claim.parent or claim.name for claim in claims if identity[claim.name] == parent)
        for (one, relations), (other, others) in combinations(said.items(), 2):
            if relations and others and not relations & others:
                words = f"{one} says {_or(relations)}, {other} says {_or(others)}"
                found.append(f"{name}: {words}")
    return found


def _identities(claims: list[Claim]) -> dict[str, str]:
    """What each name stands for: its repository, else where it leads, else itself.

    A bare name may be the short form of another, and what the card says the former name of what the Hub made of it:
    where neither could be resolved, one last part means one model.
    """
    identity: dict[str, str] = {}
    known: dict[str, set[str]] = {}
    from_hub: dict[str, set[str]] = {}
    for claim in claims:
        where = (claim.parent or claim.name).lower() if claim.parent_id is None else f"#{claim.parent_id}"
        identity[claim.name] = where
        if "/" in claim.name:
            last = claim.name.rpartition("/")[2].lower()
            known.setdefault(last, set()).add(where)
            if claim.source in ("baseModels", "tags"):
                from_hub.setdefault(last, set()).add(where)
    for claim in claims:
        if claim.parent_id is None:
            candidates = from_hub if "/" in claim.name and claim.source == "card" else known
            same = candidates.get(claim.name.rpartition("/")[2].lower(), set())
            if len(same) == 1 and ("/" not in claim.name or candidates is from_hub):
                identity[claim.name] = next(iter(same))
    return identity


def _names(claims: Iterable[Claim]) -> str:
    names = list(dict.fromkeys(claim.parent or claim.name for claim in claims if claim.relation != "merge"))
    more = [f"{len(names) - NAMES_LIMIT} more"] if len(names) > NAMES_LIMIT else []
    return " and ".join((*names[:NAMES_LIMIT], *more))


def _or(words: Iterable[str]) -> str:
    return " or ".join(sorted(words))
