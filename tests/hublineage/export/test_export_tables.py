"""Parquet and CSV of the public views: read back by other libraries, whole or not at all."""

from __future__ import annotations

import csv
import json
import os
import resource
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commands import Command, one_line
from exported_catalogue import CARDS, COPY, EDGES, FAMILY, FIRST_TREE, LISTED, MADE, ROOT, SECOND_TREE
from sqlalchemy import Engine, text

from db.errors import OutputUnwritable
from hublineage.export import tables
from hublineage.export.views import batches, snapshot, views

MODELS = {*FIRST_TREE, *SECOND_TREE, LISTED}


def ran(command: Command, *arguments: object) -> None:
    answer = command("export", *arguments)
    assert answer.code == 0, answer.err
    assert answer.out == ""


@pytest.fixture(scope="module")
def parquet(catalogue: tuple[Command, Engine], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports") / "ä new" / "folder"
    ran(catalogue[0], "--format", "parquet", "--out", folder)
    return folder


def test_every_public_view_is_a_file_that_the_manifest_describes(
    catalogue: tuple[Command, Engine], parquet: Path
) -> None:
    manifest = json.loads((parquet / "manifest.json").read_text())
    known = {row[0] for row in catalogue[0].rows("SELECT viewname::text FROM pg_views WHERE schemaname = 'hublineage'")}
    assert set(manifest["tables"]) == known >= {"models", "revisions", "inferred_parents", "verdicts"}
    assert {one.name for one in parquet.iterdir()} == {f"{name}.parquet" for name in known} | {"manifest.json"}
    for name, table in manifest["tables"].items():
        read = pq.read_table(parquet / table["file"])
        assert read.num_rows == table["rows"] == catalogue[0].rows(f"SELECT count(*) FROM hublineage.{name}")[0][0]
        assert read.column_names == [column["name"] for column in table["columns"]]
    assert manifest["schema"]["tables"] == catalogue[0].rows("SELECT version_num FROM alembic_version")[0][0]


def test_columns_keep_their_types(parquet: Path) -> None:
    schema = pq.read_schema(parquet / "models.parquet")
    assert schema.field("created_at").type == pa.timestamp("us", tz="UTC")
    assert schema.field("tags").type == pa.list_(pa.string())
    assert schema.field("downloads").type in {pa.int64(), pa.int32()}
    assert schema.field("private").type == pa.bool_()
    config = pq.read_schema(parquet / "revisions.parquet").field("config")
    assert config.type == pa.string()
    assert config.metadata[b"note"] == b"JSON as text"
    assert b"config.json" in config.metadata[b"comment"]
    assert pq.read_schema(parquet / "inferred_parents.parquet").field("confidence").type == pa.float64()


def test_duckdb_and_pandas_read_what_the_database_holds(parquet: Path) -> None:
    with duckdb.connect() as session:
        found = session.execute(
            f"SELECT parent, model, relation, confidence, decided FROM '{parquet}/inferred_parents.parquet'"
        ).fetchall()
        assert {(parent, child): rest for parent, child, *rest in found} == {
            edge: [relation, confidence, decided] for edge, (relation, confidence, decided, _) in EDGES.items()
        }
        card = session.execute(
            f"SELECT card_data::JSON ->> 'license' FROM '{parquet}/revisions.parquet' WHERE model = ?", [ROOT]
        ).fetchall()
        assert card == [(CARDS[ROOT]["license"],)]
    frame = pd.read_parquet(parquet / "models.parquet").set_index("model")
    assert set(frame.index) == MODELS
    assert frame.loc[ROOT, "created_at"] == pd.Timestamp(MADE)
    assert list(frame.loc[COPY, "tags"]) == ["a, b", 'say "c"', "", "ü"]  # type: ignore[arg-type]
    assert frame.loc[COPY, "family"] == FAMILY
    assert frame.loc[COPY, "downloads"] is None or pd.isna(frame.loc[COPY, "downloads"])  # type: ignore[arg-type]


def test_csv_tells_nulls_from_empty_texts_and_keeps_odd_names(
    catalogue: tuple[Command, Engine], tmp_path: Path
) -> None:
    ran(catalogue[0], "--format", "csv", "--out", tmp_path)
    with (tmp_path / "models.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert set(rows) == MODELS
    assert json.loads(rows[ROOT]["tags"]) == ["a, b", 'say "c"', "", "ü"]
    frame = pd.read_csv(tmp_path / "models.csv", parse_dates=["created_at"])
    assert set(frame["model"]) == MODELS
    assert set(frame["created_at"]) == {pd.Timestamp(MADE)}
    with duckdb.connect() as session:
        kinds = dict(
            session.execute(
                f"SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM '{tmp_path}/models.csv')"
            ).fetchall()
        )
        assert kinds["created_at"] == "TIMESTAMP WITH TIME ZONE"
        assert kinds["private"] == "BOOLEAN"


def test_the_same_catalogue_gives_the_same_bytes(
    catalogue: tuple[Command, Engine], parquet: Path, tmp_path: Path
) -> None:
    ran(catalogue[0], "--format", "parquet", "--out", tmp_path)
    for written in parquet.glob("*.parquet"):
        assert written.read_bytes() == (tmp_path / written.name).read_bytes()


def test_a_view_that_comes_along_is_exported_too(engine: Engine, tmp_path: Path) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE VIEW hublineage.sums AS SELECT 1.50::numeric AS n, '{\"b\": 1}'::jsonb AS j, '\\x00ff'::bytea AS b,"
            " ARRAY[1, NULL]::bigint[] AS i, '1 day'::interval AS t, ''::text AS e, NULL::text AS u"
        )
    manifest = tables.export(engine, "parquet", tmp_path / "p")
    assert manifest["tables"]["sums"]["rows"] == 1
    assert pq.read_table(tmp_path / "p" / "sums.parquet").to_pylist() == [
        {"n": "1.50", "j": '{"b": 1}', "b": b"\x00\xff", "i": [1, None], "t": "1 day", "e": "", "u": None}
    ]
    tables.export(engine, "csv", tmp_path / "c")
    (_, row) = (tmp_path / "c" / "sums.csv").read_text().splitlines()
    assert row == '"1.50","{""b"": 1}","\\x00ff","[1,null]","1 day","",'


def test_rows_come_sorted_and_a_batch_at_a_time(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("CREATE VIEW hublineage.many AS SELECT 10001 - n AS n, 'é' AS w FROM generate_series(1, 10000) AS n")
        )
    with snapshot(engine) as connection:
        (view,) = (one for one in views(connection) if one.name == "many")
        found = list(batches(connection, view, fetched=3_000))
    assert [batch.num_rows for batch in found] == [3_000, 3_000, 3_000, 1_000]
    assert [one for batch in found for one in batch["n"].to_pylist()] == list(range(1, 10_001))


def test_an_earlier_export_is_replaced_only_when_asked(catalogue: tuple[Command, Engine], tmp_path: Path) -> None:
    command, _ = catalogue
    ran(command, "--format", "csv", "--out", tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    refused = command("export", "--format", "parquet", "--out", tmp_path)
    assert refused.code == 2
    assert "--replace" in one_line(refused)
    assert (tmp_path / "models.csv").exists()
    ran(command, "--format", "parquet", "--out", tmp_path, "--replace")
    assert not list(tmp_path.glob("*.csv"))
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert (tmp_path / "models.parquet").exists()


def test_a_folder_that_is_another_s_stays_as_it_was(catalogue: tuple[Command, Engine], tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("[]")
    (tmp_path / "file").write_text("")
    for out, said in ((tmp_path, "is not empty"), (tmp_path / "file", "is a file")):
        answer = catalogue[0]("export", "--format", "csv", "--out", out, "--replace")
        assert answer.code == 2
        assert said in one_line(answer)
    assert {one.name for one in tmp_path.iterdir()} == {"manifest.json", "file"}
    below = catalogue[0]("export", "--format", "csv", "--out", tmp_path / "file" / "below")
    assert below.code == 3
    assert "cannot be written" in one_line(below)


def test_what_a_killed_export_left_is_no_hindrance(catalogue: tuple[Command, Engine], tmp_path: Path) -> None:
    left = tmp_path / ".partial-99999999"
    left.mkdir()
    (left / "models.csv").write_text("half")
    ran(catalogue[0], "--format", "csv", "--out", tmp_path)
    assert not left.exists()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_full_disk_leaves_nothing_behind(catalogue: tuple[Command, Engine], tmp_path: Path, form: str) -> None:
    def full(folder: Path) -> Any:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, hard))
        try:
            return tables.export(catalogue[1], form, folder)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    with pytest.raises(OutputUnwritable, match="File too large"):
        full(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    (tmp_path / "there").mkdir()
    with pytest.raises(OutputUnwritable):
        full(tmp_path / "there")
    assert not list((tmp_path / "there").iterdir())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_closed_to_us_is_named(catalogue: tuple[Command, Engine], tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    answer = catalogue[0]("export", "--format", "csv", "--out", tmp_path / "new")
    assert answer.code == 3
    assert "Permission denied" in one_line(answer)


def test_an_empty_catalogue_and_a_missing_folder_are_said(command: Command, tmp_path: Path) -> None:
    empty = command("export", "--format", "parquet", "--out", tmp_path)
    assert empty.code == 3
    assert "the catalogue is empty" in one_line(empty)
    nowhere = command("export", "--format", "csv")
    assert nowhere.code == 2
    assert "--out" in one_line(nowhere)
