"""All that a catalogue says of a Hub, without its own ids and times, so that two of them can be compared."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from db import declared
from db.engine import transaction
from db.models import SourceRow

if TYPE_CHECKING:
    from sqlalchemy import Engine

_NAMED = "coalesce(repository.hub_id, '-') || ' ' || repository.name"
_REVISION = f"{_NAMED} || ' @ ' || left(revision.sha, 8)"
_OF_REVISION = """
JOIN revisions AS revision ON revision.id = it.revision_id
JOIN repositories AS repository ON repository.id = revision.repository_id
"""

# ruff: noqa: S608  # constants of this file
# What each query answers must be the same. Left out: ids, times, numbers of attempts, names of families (those of its
# members that were described first name it), the case of names that were looked up (of several one is, the first that
# was found), and the crawls themselves.
QUERIES = {
    "repositories": f"""
        SELECT {_NAMED}, repository.removed_at IS NULL, revision.sha,
            to_jsonb(repository) - 'id' - 'first_seen' - 'removed_at' - 'current_revision_id' - 'source_id'
        FROM repositories AS repository LEFT JOIN revisions AS revision ON revision.id = repository.current_revision_id
    """,
    "revisions": f"""
        SELECT {_REVISION}, to_jsonb(revision) - 'id' - 'repository_id' - 'family_id' - 'first_seen' - 'described_at',
            revision.described_at IS NULL
        FROM revisions AS revision JOIN repositories AS repository ON repository.id = revision.repository_id
    """,
    "files": f"""
        SELECT {_REVISION}, it.path, it.size, it.blob_id, it.sha256, it.xet_hash, encode(layouts.digest, 'hex')
        FROM files AS it {_OF_REVISION} LEFT JOIN layouts ON layouts.id = it.layout_id
    """,
    "layouts": """
        SELECT encode(layouts.digest, 'hex'), to_jsonb(spec) - 'layout_id'
        FROM layouts JOIN tensor_specs AS spec ON spec.layout_id = layouts.id
    """,
    "families": f"""
        SELECT array_agg({_REVISION} ORDER BY {_REVISION}) AS members
        FROM revisions AS revision JOIN repositories AS repository ON repository.id = revision.repository_id
        WHERE revision.family_id IS NOT NULL GROUP BY revision.family_id
    """,
    "declared parents": f"""
        SELECT {_REVISION}, to_jsonb(it) - 'id' - 'revision_id' - 'parent_id', parent.hub_id, parent.name
        FROM declared_parents AS it {_OF_REVISION} LEFT JOIN repositories AS parent ON parent.id = it.parent_id
    """,
    "declared problems": f"SELECT {_REVISION}, it.kind, it.detail FROM declared_problems AS it {_OF_REVISION}",
    "aliases": "SELECT DISTINCT lower(name), target, hub_id FROM aliases",
    "failures": f"""
        SELECT {_NAMED}, revision.sha, it.stage, it.kind, it.file, it.tensor, it.reason
        FROM failures AS it JOIN repositories AS repository ON repository.id = it.repository_id
        LEFT JOIN revisions AS revision ON revision.id = it.revision_id
        WHERE it.resolved_at IS NULL
    """,
    "changes": f"""
        SELECT {_NAMED}, it.what, it.before, it.after
        FROM repository_changes AS it JOIN repositories AS repository ON repository.id = it.repository_id
    """,
    "watermarks": "SELECT query::text, at FROM watermarks",
}

# What the next crawl would still do.
_PENDING = {
    "listings not finished": "SELECT count(*) FROM crawls WHERE finished_at IS NULL",
    "listings not described": "SELECT count(*) FROM crawls WHERE finished_at IS NOT NULL AND described_at IS NULL",
    "transient failures": "SELECT count(*) FROM failures WHERE kind = 'Transient' AND resolved_at IS NULL",
}


def catalogue(engine: Engine) -> dict[str, Counter[str]]:
    """The rows of each kind, as text, and how often each comes."""
    with engine.connect() as connection:
        return {name: Counter(_line(row) for row in connection.execute(text(query))) for name, query in QUERIES.items()}


def differences(one: dict[str, Counter[str]], other: dict[str, Counter[str]]) -> list[str]:
    """A line for each row that only one of two catalogues has: "- " the first, "+ " the second."""
    lines = []
    for name in QUERIES:
        lines += [f"- {name}: {row}" for row in sorted((one[name] - other[name]).elements())]
        lines += [f"+ {name}: {row}" for row in sorted((other[name] - one[name]).elements())]
    return lines


def pending(engine: Engine) -> dict[str, int]:
    """What is left to do, by name; nothing where all is done."""
    with engine.connect() as connection:
        found = {name: int(connection.scalar(text(query)) or 0) for name, query in _PENDING.items()}
    with transaction(engine) as session:
        sources = session.scalars(select(SourceRow.id)).all()
        found["names to look up"] = sum(len(declared.dangling_names(session, source, 1000)) for source in sources)
    return {name: count for name, count in found.items() if count}


def _line(row: Any) -> str:
    return " | ".join(str(value) for value in row)
