"""The phylogeny benchmark's pairs and shares, by hand."""

from __future__ import annotations

import pytest

from benchmarks.phylogeny import closure, counted, main

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


def test_a_request_without_zoos_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "no zoos" in capsys.readouterr().err
