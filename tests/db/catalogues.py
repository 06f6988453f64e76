"""Small catalogues for the tests of `db`: repositories with one current revision each, and what they declare."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import null, select
from sqlalchemy.orm import Session

from db import declared
from db.models import DeclaredParent, DeclaredProblem, Repository, Revision, SourceRow

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def parent(name: str, source: str = "card", relation: str = "finetune", **more: Any) -> dict[str, Any]:
    """A declared parent as the crawler hands it over."""
    return {
        "name": name,
        "relation": relation,
        "source": source,
        "kind": "hub",
        "hub_id": None,
        "weight": None,
        "layers": None,
        "detail": None,
        **more,
    }


class Catalogue:
    """One source with repositories, filled by name."""

    def __init__(self, session: Session) -> None:
        self.session = session
        row = SourceRow(name="https://hub.example")
        session.add(row)
        session.flush()
        self.source = row.id

    def add(self, name: str, *parents: dict[str, Any], described: bool = True, **more: Any) -> int:
        """A repository whose current revision declares these parents; return the revision's id."""
        card_data = more.pop("card_data", None)
        repository = Repository(source_id=self.source, name=name, **more)
        self.session.add(repository)
        self.session.flush()
        state = {"weights": "none", "described_at": NOW} if described else {"weights": "unread", "described_at": null()}
        revision = Revision(repository_id=repository.id, sha="1", card_data=card_data, **state)
        self.session.add(revision)
        self.session.flush()
        repository.current_revision_id = revision.id
        self.session.flush()
        declared.store(self.session, revision.id, parents)
        return revision.id

    def answers(self, revision: int) -> list[tuple[str, str | None, str | None]]:
        """(declared name, how it was resolved, to which repository) of a revision's parents, as they were stored."""
        rows = self.session.execute(
            select(DeclaredParent.name, DeclaredParent.resolution, Repository.name)
            .outerjoin(Repository, Repository.id == DeclaredParent.parent_id)
            .where(DeclaredParent.revision_id == revision)
            .order_by(DeclaredParent.id)
        )
        return [(row[0], row[1], row[2]) for row in rows]

    def problems(self) -> set[tuple[str, str, str]]:
        """(model, kind, detail) of all problems that are stored."""
        rows = self.session.execute(
            select(Repository.name, DeclaredProblem.kind, DeclaredProblem.detail).join(
                Repository, Repository.current_revision_id == DeclaredProblem.revision_id
            )
        )
        return {(row[0], row[1], row[2]) for row in rows}
