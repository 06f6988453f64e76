"""The phylogeny benchmark's pairs and shares, by hand."""

from __future__ import annotations

import pytest

from benchmarks.phylogeny import BEGIN, END, between_markers, closure, counted, main

CHAIN = frozenset({("a", "b"), ("b", "c")})


def test_ancestors_are_all_that_pairs_lead_to() -> None:
    assert closure(CHAIN) == CHAIN | {("a", "c")}
    assert closure([]) == frozenset()
    assert closure([("a", "b"), ("b", "a")]) == {("a", "b"), ("b", "a")}


def test_a_reversed_pair_is_found_and_is_not_right() -> None:
    found = counted(frozenset({("b", "a"), ("b", "c"), ("a", "d")}), CHAIN)
    assert found.shares == pytest.approx((1 / 3, 1 / 2, 2 / 5, 1 / 2))
    assert (found + found).shares == found.shares
    assert counted(frozenset(), frozenset()).shares == (0, 0, 0, 0)


def test_the_table_replaces_what_was_between_its_markers_and_finds_its_place() -> None:
    page = between_markers("# Figures\n", "one")
    assert between_markers(page, "two") == page.replace("one", "two")
    assert page.endswith(f"{BEGIN}\none\n{END}\n")
    with pytest.raises(ValueError, match="without"):
        between_markers(BEGIN, "one")


def test_a_request_without_zoos_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "no zoos" in capsys.readouterr().err
