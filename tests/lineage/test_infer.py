"""Inference from stored measures into stored runs, and the verdicts on them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sqlalchemy import Engine, func, select

from crawler.folder import FolderSource
from crawler.pipeline import crawl
from crawler.source import Query
from db import lineage as rows
from db import measurements, verdicts
from db.engine import transaction
from db.models import Edge, Run, Verdict
from hublineage.result import result
from lineage import infer, provenance
from lineage.compare import compare
from lineage.infer import infer_family
from lineage.measure import measure_family
from lineage.measure_options import METRIC_VERSION, Options
from lineage.parameters import Parameters
from lineage.phylogeny_stored import load_sketches
from lineage.stored import load_measures
from lineage.trees import Heritage, Tree

PARENT_DATE, CHILD_DATE = "2024-01-01T00:00:00.000Z", "2023-01-01T00:00:00.000Z"


class Measured:
    """A parent and two children, crawled and measured; the dates contradict the weights."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self.engine = engine
        generator = torch.Generator().manual_seed(0)
        shapes = {f"h.{n}.weight": (32, 24) for n in range(4)}
        scale = torch.exp(torch.randn((32, 1), generator=generator))
        parent = {name: scale * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        self._write(folder / "org" / "parent", parent, PARENT_DATE)
        for name in ("one", "two"):
            noise = {key: 0.1 * torch.randn(shape, generator=generator) for key, shape in shapes.items()}
            self._write(folder / "org" / name, {key: parent[key] + noise[key] for key in shapes}, CHILD_DATE)
        self.source = FolderSource(folder)
        self.crawl()

    def crawl(self) -> None:
        self.source_id = crawl(self.engine, self.source, Query()).source_id
        with transaction(self.engine) as session:
            (family,) = measurements.families(session, self.source_id)
            self.family = family.id
            members = measurements.members(session, family.id)
        self.names = {member.revision_id: member.name.removeprefix("org/") for member in members}
        measure_family(self.engine, self.family, "family", self.source, options=Options(memory=1 << 20))

    @staticmethod
    def _write(folder: Path, tensors: dict[str, torch.Tensor], created: str) -> None:
        folder.mkdir(parents=True)
        save_file(tensors, folder / "model.safetensors")
        (folder / ".hub.json").write_text(json.dumps({"created_at": created}))
        (folder / "README.md").write_text("---\nbase_model: org/parent\n---\n" if folder.name == "one" else "# A model")

    def infer(self, parameters: Parameters | None = None, *, weights_only: bool = True) -> int:
        return infer_family(self.engine, self.family, parameters or Parameters(), weights_only=weights_only)

    def edges(self, run: int) -> list[Edge]:
        with transaction(self.engine) as session:
            return rows.edges(session, run)

    def current(self) -> int:
        with transaction(self.engine) as session:
            return session.scalars(select(Run.id).where(Run.is_current)).one()


@pytest.fixture
def measured(tmp_path: Path, engine: Engine) -> Measured:
    return Measured(tmp_path, engine)


def test_a_run_holds_its_tree_and_all_that_it_came_from(measured: Measured) -> None:
    run_id = measured.infer()
    found = {(measured.names[edge.parent_id], measured.names[edge.child_id]) for edge in measured.edges(run_id)}
    assert found == {("parent", "one"), ("parent", "two")}
    with transaction(measured.engine) as session:
        run = session.get_one(Run, run_id)
        assert run.is_current
        assert run.parameters == {**Parameters().relevant(), "weights_only": True}
        assert run.versions == provenance.versions()
        assert run.inputs["metric_version"] == METRIC_VERSION
        assert set(run.inputs["revisions"]) == {"org/parent", "org/one", "org/two"}
        assert "created" not in run.inputs


def test_equal_inputs_are_inferred_once(measured: Measured) -> None:
    first = measured.infer()
    assert measured.infer() == first
    other = measured.infer(Parameters(threshold=0.6))
    assert other != first == measured.infer()
    assert measured.current() == first
    assert measured.infer(Parameters(method="mother")) not in {first, other}
    with transaction(measured.engine) as session:
        assert session.scalar(select(func.count()).select_from(Run)) == 3


def test_weights_alone_never_look_at_dates(measured: Measured) -> None:
    for edge in measured.edges(measured.infer(weights_only=True)):
        assert not any(name.startswith("metadata") for name in edge.evidence)
    dated = measured.edges(measured.infer(weights_only=False))
    assert {name for edge in dated for name in edge.evidence if name.startswith("metadata")} == {
        "metadata: created before"
    }


@pytest.mark.parametrize(
    ("created", "first"), [("2022-01-01T00:00:00.000Z", "again"), ("2025-01-01T00:00:00.000Z", "parent")]
)
def test_of_equal_files_the_oldest_stands_in_the_tree_whichever_was_measured(
    measured: Measured, tmp_path: Path, created: str, first: str
) -> None:
    shutil.copytree(tmp_path / "org" / "parent", tmp_path / "org" / "again")
    (tmp_path / "org" / "again" / ".hub.json").write_text(json.dumps({"created_at": created}))
    measured.crawl()
    with transaction(measured.engine) as session:
        assert len(load_measures(session, measured.family).members) == 3

    def found(run: int) -> dict[tuple[str, str], str]:
        return {
            (measured.names[edge.parent_id], measured.names[edge.child_id]): edge.relation
            for edge in measured.edges(run)
        }

    dated = measured.infer(weights_only=False)
    (second,) = {"parent", "again"} - {first}
    assert found(dated) == {(first, second): "duplicate", (first, "one"): "finetune", (first, "two"): "finetune"}
    assert next(edge.decided for edge in measured.edges(dated) if edge.relation == "duplicate")
    with transaction(measured.engine) as session:
        assert [[measured.names[one] for one in group] for group in rows.duplicate_groups(session, dated)] == [
            [first, second]
        ]
    plain = measured.infer()
    assert found(plain)["parent", "again"] == "duplicate"
    assert not next(edge.decided for edge in measured.edges(plain) if edge.relation == "duplicate")


def test_verdicts_are_made_from_the_current_run_and_stay_as_they_are(measured: Measured) -> None:
    measured.infer()
    assert compare(measured.engine, measured.source_id) == 3

    def stored() -> dict[str, Verdict]:
        with transaction(measured.engine) as session:
            return {name.removeprefix("org/"): row for name, row in verdicts.of_source(session, measured.source_id)}

    before = stored()
    assert {name: row.verdict for name, row in before.items()} == {
        "parent": "root",
        "one": "agrees",
        "two": "undeclared",
    }
    compare(measured.engine, measured.source_id)
    assert {name: row.compared_at for name, row in stored().items()} == {
        name: row.compared_at for name, row in before.items()
    }


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert provenance.digest({"a": 1, "b": [1, 2]}) == provenance.digest({"b": [1, 2], "a": 1})
    assert provenance.digest({"a": 1}) != provenance.digest({"a": 2})
    assert len(provenance.code_digest()) == 16


def test_absent_parents_and_notes_are_stored_with_the_run(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = sorted(measured.names)
    group = tuple(one for one in ids if measured.names[one] != "parent")
    found = Heritage((Tree(tuple(ids), ids[0], 0.5, (), (group,)),), (), ("something was left out",))
    monkeypatch.setattr(infer, "heritage", lambda *_: found)
    run = measured.infer()
    with transaction(measured.engine) as session:
        assert [list(group)] == [one for groups in rows.absent_parents(session, run).values() for one in groups]
        assert session.get_one(Run, run).notes == ["something was left out"]
    (family,) = result(measured.engine, measured.source_id)["families"]
    assert family["notes"] == ["something was left out"]
    assert [tree["absent"] for tree in family["trees"]] == [[["org/one", "org/two"]]]


def test_each_learning_free_detector_is_a_run_of_its_own_and_uses_stored_sketches(measured: Measured) -> None:
    with transaction(measured.engine) as session:
        measures = load_measures(session, measured.family)
        sketches = load_sketches(session, measured.family, measures)
        assert load_sketches(session, measured.family, replace(measures, layers=())) is None
    assert sketches is not None
    for values, norms in zip(sketches, measures.squared_norm, strict=True):
        assert np.square(values).sum(axis=1) == pytest.approx(norms, rel=0.3)
    asked = [
        Parameters(method="phylogeny", clustering=one) for one in ("kmeans", "agglomerative", "dbscan", "spectral")
    ]
    asked += [replace(asked[0], initialisation=one) for one in ("kaiming", "xavier", "truncated", "fitted", "centroid")]
    runs = [measured.infer(one) for one in asked]
    assert len(set(runs)) == len(runs)
    assert measured.infer(asked[0]) == runs[0]
    with transaction(measured.engine) as session:
        for run, parameters in zip(runs, asked, strict=True):
            found = session.get_one(Run, run)
            assert (found.method, found.notes) == ("phylogeny", [])
            assert found.parameters == {**parameters.relevant(), "weights_only": True}
    assert all(len(measured.edges(run)) == 2 for run in runs)
