"""The comparison of final tables sees what differs, and nothing else."""

from __future__ import annotations

import math

from sqlalchemy import Engine

from benchmarks.faults_tables import QUERIES, Row, differences, row_of, tables, without


def test_numbers_are_taken_out_of_words_wherever_they_stand() -> None:
    row = row_of(["a", 1, 0.5, {"y": [2.5], "x": None}, "of http://hub"], ["http://hub"])
    assert row == Row("a | 1 | # | {x: None, y: [#]} | of source 0", (0.5, 2.5))


def test_a_database_without_rows_has_none_of_each_kind(engine: Engine) -> None:
    found = tables(engine)
    assert set(found) == set(QUERIES)
    assert not any(found.values())


def test_rows_of_one_side_and_numbers_apart_are_told() -> None:
    expected = {"edges": [Row("a b", (1.0, math.nan)), Row("b c", (2.0,))], "runs": [Row("x")]}
    assert differences(expected, expected) == []
    assert differences(expected, {**expected, "edges": [Row("a b", (1.0 + 1e-7, math.nan)), Row("b c", (2.0,))]}) == []
    found = {"edges": [Row("a b", (1.01, math.nan))], "runs": [Row("x"), Row("x")]}
    assert differences(expected, found) == ["~ edges: a b: 1, not 1.01", "- edges: b c", "+ runs: x"]


def test_a_model_is_left_out_of_lists_of_members_and_its_rows_out_of_all_else() -> None:
    found = {
        "families": [Row("[1 a/b @ f00, 2 c/d @ f00, 3 e/f @ f00]")],
        "runs": [Row("a/b | {a/b: f00, c/d: f00} | [a/b, c/d]", (1.0,))],
        "edges": [Row("a/b | c/d | 1"), Row("a/b | e/f | 1"), Row("a/b | c/d-2 | 1")],
    }
    left = without(found, "c/d")
    assert left["families"] == [Row("[1 a/b @ f00, 3 e/f @ f00]")]
    assert left["runs"] == [Row("a/b | {a/b: f00} | [a/b]", (1.0,))]
    assert left["edges"] == [Row("a/b | e/f | 1"), Row("a/b | c/d-2 | 1")]
