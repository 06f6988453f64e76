"""The register of failures: one row per fault, counted, overcome and found again."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from db import failures
from db.engine import transaction
from db.errors import Failure, TensorUnusable, Transient
from db.models import FailureRow, Repository, Revision, SourceRow


@pytest.fixture
def model(engine: Engine) -> tuple[int, int, int]:
    """A source, a repository of it, and its current revision."""
    with transaction(engine) as session:
        source = SourceRow(name="file:///models")
        session.add(source)
        session.flush()
        repository = Repository(source_id=source.id, name="org/name")
        session.add(repository)
        session.flush()
        revision = Revision(repository_id=repository.id, sha="0", weights="safetensors")
        session.add(revision)
        session.flush()
        repository.current_revision_id = revision.id
        return source.id, repository.id, revision.id


def record(session: Session, model: tuple[int, int, int], failure: Failure) -> None:
    failures.record(session, failure, stage="measure", repository_id=model[1], revision_id=model[2])


def test_the_same_fault_again_is_another_attempt_with_the_newest_words(
    engine: Engine, model: tuple[int, int, int]
) -> None:
    with transaction(engine) as session:
        record(session, model, Transient("reset", file="a.safetensors"))
        record(session, model, TensorUnusable("holds NaN", file="a.safetensors"))
        record(session, model, Transient("reset", file="b.safetensors"))
    with transaction(engine) as session:
        rows = session.scalars(select(FailureRow).order_by(FailureRow.file)).all()
        assert [(row.file, row.kind, row.attempts) for row in rows] == [
            ("a.safetensors", "TensorUnusable", 2),
            ("b.safetensors", "Transient", 1),
        ]
        assert rows[0].reason == "The tensor cannot be measured: holds NaN"


def test_a_fault_that_was_overcome_is_no_longer_listed_until_it_comes_back(
    engine: Engine, model: tuple[int, int, int]
) -> None:
    with transaction(engine) as session:
        record(session, model, Transient("reset"))
        assert failures.resolve(session, model[1], ["describe"]) == 0
        assert [name for name, _ in failures.unresolved(session, model[0])] == ["org/name"]
        assert failures.resolve(session, model[1], ["measure", "describe"]) == 1
        assert failures.unresolved(session, model[0]) == []
        record(session, model, Transient("reset"))
    with transaction(engine) as session:
        assert [row.attempts for _, row in failures.unresolved(session, model[0])] == [2]


def test_faults_of_an_older_revision_are_not_listed(engine: Engine, model: tuple[int, int, int]) -> None:
    with transaction(engine) as session:
        record(session, model, Transient("reset"))
        newer = Revision(repository_id=model[1], sha="1", weights="safetensors")
        session.add(newer)
        session.flush()
        session.get_one(Repository, model[1]).current_revision_id = newer.id
    with transaction(engine) as session:
        assert failures.unresolved(session, model[0]) == []
