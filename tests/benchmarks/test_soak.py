"""A small soak: a Hub that fails all the time and a worker that is killed leave no trace in the catalogue."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, make_url

from benchmarks.soak import Soak, another_database, soak
from benchmarks.soak_catalogue import QUERIES, catalogue, differences
from benchmarks.soak_models import write_hub


@pytest.mark.slow
def test_a_disturbed_crawl_ends_with_what_an_undisturbed_one_finds(database_url: str, tmp_path: Path) -> None:
    name = f"{make_url(database_url).database}_undisturbed"
    try:
        plan = Soak(repositories=32, workers=2, kills=1)
        result = soak(plan, tmp_path, (database_url, another_database(database_url, name)))
    finally:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
    assert result.differences == []
    assert result.exits[-signal.SIGKILL] == 1
    assert 0.05 < result.struck.total() / result.requests < 0.2
    assert result.rows["repositories"] > 30
    assert all(result.rows[kind] for kind in ("files", "families", "declared parents", "failures"))


def test_the_soaks_hub_is_the_same_for_a_seed(tmp_path: Path) -> None:
    def written(name: str, seed: int) -> dict[str, bytes]:
        write_hub(tmp_path / name, 30, seed)
        paths = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        return {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in paths}

    assert written("one", 1) == written("same", 1) != written("other", 2)


def test_a_row_that_only_one_catalogue_has_is_told(engine: Engine) -> None:
    empty = catalogue(engine)
    assert set(empty) == set(QUERIES)
    assert differences(empty, empty) == []
    other = {**empty, "aliases": Counter(["old | new", "old | new"])}
    assert differences(empty, other) == ["+ aliases: old | new"] * 2
    assert differences(other, empty) == ["- aliases: old | new"] * 2
