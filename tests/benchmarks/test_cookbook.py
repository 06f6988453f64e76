"""Every query of docs/sql.md answers on the sample Hub as the page says."""

from __future__ import annotations

import psycopg
import pytest

from benchmarks.cookbook import PAGE, answered, fill, queries


def test_the_cookbook_has_at_least_twenty_questions() -> None:
    assert len(queries(PAGE.read_text())) >= 20


@pytest.mark.slow
def test_the_cookbooks_results_are_what_its_queries_answer(database_url: str) -> None:
    fill(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        assert answered(connection, PAGE.read_text()) == PAGE.read_text()
