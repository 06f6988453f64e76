"""The examples of docs/exports.md and docs/licences.md run as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import psycopg
import pytest
from commands import Command, NewDatabase
from small_models import write_lineage

# rdflib's own reader of JSON-LD makes a graph of a class that rdflib gives up.
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")

DOCS = Path(__file__).parents[3] / "docs"
_BLOCK = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    """The code of one language on a page."""
    return [code for kind, code in _BLOCK.findall((DOCS / page).read_text()) if kind == language]


@pytest.fixture(scope="module")
def lineage(new_database: NewDatabase, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """A small lineage, with a licence that does not follow."""
    folder = write_lineage(tmp_path_factory.mktemp("documented") / "models")
    (folder / "oak/root/README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    (folder / "oak/left/README.md").write_text("---\nlicense: mit\nbase_model: oak/root\n---\n")
    made = Command(new_database())
    assert made("run", "--folder", folder, "--weights-only").code == 0
    return made


def test_the_examples_of_exports_run(lineage: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ((family,),) = lineage.rows("SELECT name FROM families")
    lines = [line for code in blocks("exports.md", "") for line in code.splitlines()]
    assert len(lines) >= 6
    for line in lines:
        words = shlex.split(line.replace("FAMILY", family).replace("org/name", "oak/left"))
        if words[0] == "duckdb":
            assert duckdb.execute(words[2]).fetchall()
            continue
        assert words[0] == "hublineage"
        assert lineage(*words[1:]).code == 0, line
    tables, query = blocks("exports.md", "python")
    seen: dict[str, Any] = {}
    exec(compile(tables, "exports.md", "exec"), seen)  # noqa: S102  # our own page
    assert isinstance(seen["edges"], pd.DataFrame)
    assert seen["edges"].decided.any()
    importing, asked = query.split("\n\n", maxsplit=1)
    exec(compile(f"{importing}\n\nfound = list({asked})", "exports.md", "exec"), seen)  # noqa: S102
    assert [row for row in seen["found"] if "oak/left/" in str(row.child) and "oak/root/" in str(row.parent)]


def test_the_queries_of_licences_run_for_the_reader(lineage: Command) -> None:
    url = lineage("db", "url", "--read-only").out.strip()
    (code,) = blocks("licences.md", "sql")
    with psycopg.connect(url) as reading:
        conflicts, one = (query for query in code.split(";") if query.strip())
        found = reading.execute(conflicts.encode()).fetchall()
        assert ("oak/left", "oak/root", "cc-by-nc-4.0") in {row[:3] for row in found}
        ((declared, ancestors, unchecked),) = reading.execute(one.replace("org/name", "oak/left").encode()).fetchall()
    assert (declared, unchecked) == (["mit"], None)
    assert [above["model"] for above in ancestors] == ["oak/root"]
