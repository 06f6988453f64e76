"""Which part of the house may know which: read from the imports in the source text."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PARTS = ("crawler", "lineage", "db", "migrations", "hublineage", "benchmarks")
MAY_IMPORT = {
    "db": {"db"},
    "migrations": {"db"},
    "crawler": {"crawler", "db"},
    "lineage": {"lineage", "db"},
    "hublineage": {"hublineage", "crawler", "lineage", "db"},
    "benchmarks": {"benchmarks", "hublineage", "crawler", "lineage", "db"},
}
JOINS_LINEAGE_TO_DB = {"measure", "stored", "infer", "compare"}
COMPUTES_WITH_TORCH = {"stream", "moments", "pairs", "slope", "rank", "layer"}
MODULES = sorted(path for part in PARTS for path in (ROOT / part).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The top-level packages that a module imports, wherever in the module."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name.split(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            found.add((node.module or "").split(".")[0])
    return found


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_part_is_looked_at() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    assert packages == set(PARTS)
    assert all(any(path.is_relative_to(ROOT / part) for path in MODULES) for part in PARTS)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_imports_only_what_its_part_may_know(path: Path) -> None:
    part = path.relative_to(ROOT).parts[0]
    assert imported(path) & set(PARTS) <= MAY_IMPORT[part]


@pytest.mark.parametrize("path", sorted((ROOT / "lineage").glob("*.py")), ids=name)
def test_the_mathematics_imports_no_database(path: Path) -> None:
    if path.stem not in JOINS_LINEAGE_TO_DB:
        assert not imported(path) & {"db", "sqlalchemy", "psycopg"}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_torch_is_imported_only_where_tensors_are_computed(path: Path) -> None:
    part = path.relative_to(ROOT).parts[0]
    if "torch" in imported(path):
        allowed = path.stem in COMPUTES_WITH_TORCH if part == "lineage" else part == "benchmarks"
        assert allowed or name(path) == "hublineage/job.py"  # which asks what devices there are


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_networkx_is_for_tests(path: Path) -> None:
    assert "networkx" not in imported(path)
