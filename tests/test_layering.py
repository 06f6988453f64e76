"""Who may import whom, read from the source text."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("crawler", "lineage", "db", "migrations", "hublineage", "benchmarks")
JOINING = {
    f"lineage.{name}"
    for name in ("measure", "blocks", "batches", "locating", "stored", "infer", "compare", "compare_licences")
} | {"lineage.phylogeny_stored", "lineage.stored_pairs"}
COMPUTING = {
    f"lineage.{name}"
    for name in (
        *("stored_tensor", "stored_row", "stream", "decoding", "block", "device", "pairs", "slope", "digest"),
        *("rank", "projection", "sketch", "sketching", "whole", "layer"),
    )
} | {"hublineage.job"}

# What each package may import of ours; `lineage` is divided further below.
ALLOWED = {
    "db": {"db", "migrations"},
    "migrations": {"db", "migrations"},
    "crawler": {"crawler", "db"},
    "lineage": {"lineage", "db"},
    "hublineage": {"hublineage", "crawler", "lineage", "db", "migrations"},
    "benchmarks": {"benchmarks", "hublineage", "crawler", "lineage", "db", "migrations"},
}


def modules() -> dict[str, Path]:
    """Every source file of ours but the tests, by its dotted name."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0].startswith(".") or parts[0] in {"tests", "build", "dist"}:
            continue
        found[".".join(part for part in parts if part != "__init__")] = path
    return found


MODULES = modules()


def imported(name: str) -> set[str]:
    """The dotted names that a module imports, wherever in it; those of `from a import b` as a.b."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports by a relative name"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in {
            "import_module",
            "__import__",
        }:
            raise AssertionError(f"{name} imports by a name that is computed")
    return found


def tops(name: str) -> set[str]:
    return {one.partition(".")[0] for one in imported(name)}


def test_every_source_file_belongs_to_a_package_with_a_rule() -> None:
    assert {name.partition(".")[0] for name in MODULES} == set(PACKAGES) == set(ALLOWED)
    for package in PACKAGES:
        assert (ROOT / package / "__init__.py").exists()


def test_the_modules_that_the_rules_name_exist() -> None:
    assert set(MODULES) >= JOINING | COMPUTING


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_only_what_its_package_may(name: str) -> None:
    assert tops(name) & set(PACKAGES) <= ALLOWED[name.partition(".")[0]]


@pytest.mark.parametrize("name", sorted(one for one in MODULES if one.startswith("lineage") and one not in JOINING))
def test_the_mathematics_knows_no_database_and_not_what_joins_it_to_one(name: str) -> None:
    assert not tops(name) & {"db", "sqlalchemy", "psycopg", "alembic"}
    assert not {".".join(one.split(".")[:2]) for one in imported(name)} & JOINING


@pytest.mark.parametrize("name", sorted(one for one in MODULES if not one.startswith("benchmarks")))
def test_torch_is_imported_only_where_tensors_are_computed(name: str) -> None:
    assert "torch" not in tops(name) or name in COMPUTING


@pytest.mark.parametrize("name", sorted(MODULES))
def test_what_only_the_tests_need_is_imported_nowhere_else(name: str) -> None:
    assert not tops(name) & {"pytest", "hypothesis", "tests"}
    assert not tops(name) & {"networkx", "safetensors", "matplotlib"} or name.startswith("benchmarks")


@pytest.mark.parametrize("name", sorted(one for one in MODULES if one.startswith(("crawler", "lineage"))))
def test_crawler_and_lineage_reach_the_driver_through_db_alone(name: str) -> None:
    assert not tops(name) & {"psycopg", "alembic"}
