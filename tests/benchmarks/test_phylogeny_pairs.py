"""The phylogeny benchmark's pairs and shares, by hand."""

from __future__ import annotations

import pytest

from benchmarks.phylogeny import Counted, closure, counted, main, of_any_root

CHAIN = frozenset({("a", "b"), ("b", "c")})


def test_ancestors_are_all_that_pairs_lead_to() -> None:
    assert closure(CHAIN) == CHAIN | {("a", "c")}
    assert closure([]) == frozenset()
    assert closure([("a", "b"), ("b", "a")]) == {("a", "b"), ("b", "a")}


def test_a_reversed_pair_is_found_and_is_not_right() -> None:
    found = counted(frozenset({("b", "a"), ("b", "c"), ("a", "d")}), CHAIN)
    assert found.shares == pytest.approx(
        {"precision": 1 / 3, "recall": 1 / 2, "F1": 2 / 5, "found": 1, "direction": 1 / 2}
    )
    assert (found + found).shares == found.shares
    nothing = counted(frozenset(), frozenset()).shares
    assert nothing.pop("direction") != 0
    assert set(nothing.values()) == {0}


def test_a_chain_of_three_from_any_root_has_half_of_its_edges_right() -> None:
    assert of_any_root(CHAIN, CHAIN, ancestors=False) == Counted(2, 2, 1, 2)
    # From a: three of three ancestor pairs; from b: (b, c) alone of the two given; from c: none of three.
    assert of_any_root(CHAIN, closure(CHAIN), ancestors=True) == Counted(8 / 3, 3, 4 / 3, 8 / 3)
    assert of_any_root(frozenset(), CHAIN, ancestors=False) == Counted(0, 2, 0, 0)


def test_a_request_without_zoos_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "no zoos" in capsys.readouterr().err
