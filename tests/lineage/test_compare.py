"""Comparing: declared names count as they were resolved."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Engine

from db import lineage as rows
from db import verdicts as judged
from db.engine import transaction
from db.models import DeclaredParent, Family, Repository, Revision, SourceRow
from lineage.compare import compare

NOW = datetime(2026, 1, 1, tzinfo=UTC)
# child -> its declared parent, how that was resolved, and to what
CLAIMS = {
    "o/renamed": ("old/name", "renamed", "new/name"),
    "o/dangling": ("New/Name", "dangling", None),
    "o/unresolved": ("New/Name", None, None),
}


def test_a_name_counts_as_it_was_resolved_and_by_itself_where_it_was_not(engine: Engine) -> None:
    with transaction(engine) as session:
        source = SourceRow(name="https://hub.example")
        session.add(source)
        session.flush()
        family = Family(source_id=source.id, name="family")
        session.add(family)
        session.flush()
        made: dict[str, Repository] = {}
        for name in ("new/name", *CLAIMS):
            made[name] = Repository(source_id=source.id, name=name)
            session.add(made[name])
            session.flush()
            revision = Revision(repository_id=made[name].id, sha="1", weights="safetensors", described_at=NOW)
            session.add(revision)
            session.flush()
            made[name].current_revision_id = revision.id
        for child, (name, resolution, parent) in CLAIMS.items():
            row = DeclaredParent(revision_id=made[child].current_revision_id, name=name, relation="finetune")
            row.source, row.kind, row.resolution = "card", "hub", resolution
            row.parent_id = made[parent].id if parent is not None else None
            session.add(row)
        values = {"method": "m", "parameters": {}, "versions": {}, "inputs": {}, "inputs_digest": b""}
        run = rows.add_run(session, {**values, "family_id": family.id})
        members = [one.current_revision_id for one in made.values()]
        edges = [
            {
                "parent_id": members[0],
                "child_id": one,
                "relation": "unknown",
                "confidence": 1.0,
                "decided": True,
                "evidence": {},
            }
            for one in members[1:]
        ]
        rows.add_cluster(session, run.id, 0, (members[0], 1.0), [one for one in members if one is not None], edges)
        rows.set_current(session, run)
        number = source.id
    assert compare(engine, number) == 4
    with transaction(engine) as session:
        verdicts = {name: verdict.verdict for name, verdict in judged.of_source(session, number)}
    assert verdicts == {"new/name": "root", "o/renamed": "agrees", "o/dangling": "unmeasured", "o/unresolved": "agrees"}
