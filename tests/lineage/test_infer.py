"""A stored run says what it came from, and is not made twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, select, text
from test_measure import Measured, family_of, write

from db import lineage as rows
from db import measurements
from db.engine import transaction
from db.models import Run, SourceRow
from lineage.infer import infer_family
from lineage.provenance import code_digest
from lineage.recover import Parameters


@pytest.fixture
def family(engine: Engine, tmp_path: Path) -> int:
    measured = Measured(engine, tmp_path)
    for index, model in enumerate(family_of(4)):
        write(tmp_path, f"m{index}", model)
    measured.measure()
    with transaction(engine) as session:
        source = session.scalars(select(SourceRow.id)).one()
        return measurements.families(session, source)[0].id


def runs(engine: Engine) -> int:
    with transaction(engine) as session:
        return session.scalars(select(func.count()).select_from(Run)).one()


def test_the_same_inference_is_one_run_and_another_method_another(engine: Engine, family: int) -> None:
    first = infer_family(engine, family, Parameters(), weights_only=True)
    assert infer_family(engine, family, Parameters(), weights_only=True) == first
    assert runs(engine) == 1
    mother = infer_family(engine, family, Parameters(method="mother"), weights_only=True)
    assert mother != first
    with transaction(engine) as session:
        assert [run.id for run in session.scalars(select(Run).where(Run.is_current))] == [mother]
    assert infer_family(engine, family, Parameters(), weights_only=True) == first
    with transaction(engine) as session:
        assert [run.id for run in session.scalars(select(Run).where(Run.is_current))] == [first]


def test_a_run_records_parameters_versions_and_input_revisions(engine: Engine, family: int) -> None:
    run_id = infer_family(engine, family, replace(Parameters(), threshold=0.6), weights_only=True)
    with transaction(engine) as session:
        run = session.get_one(Run, run_id)
        members = measurements.members(session, family)
        assert run.parameters == {"method": "recover", "threshold": 0.6, "decide": 0.5, "weights_only": True}
        assert run.versions["code"] == code_digest()
        assert {"numpy", "scipy", "torch", "hublineage", "python"} <= run.versions.keys()
        assert run.inputs["revisions"] == {member.name: member.sha for member in members}
        assert "created" not in run.inputs


def test_dates_are_evidence_only_where_they_may_be_and_are_named(engine: Engine, family: int) -> None:
    with transaction(engine) as session:
        session.execute(text("UPDATE repositories SET created_at = now() - id * interval '1 day'"))
    strict = infer_family(engine, family, Parameters(), weights_only=True)
    dated = infer_family(engine, family, Parameters(), weights_only=False)
    assert strict != dated
    with transaction(engine) as session:
        assert not any("metadata" in name for edge in rows.edges(session, strict) for name in edge.evidence)
        assert all("metadata: created before" in edge.evidence for edge in rows.edges(session, dated))
