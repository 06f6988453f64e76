"""Steps between models where some of them are copies."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from lineage.compare_licences import Placed, with_copies
from lineage.licence_findings import Step
from lineage.verdict import Found

EDGE = Step("root", "finetune", 0.9)
# original = copy; "copy" stands for both in the tree, and a child was made from one of them.
FOUND = Found(
    parents={"copy": {"root": True}, "child": {"copy": True}},
    tree=dict.fromkeys(("root", "copy", "original", "child"), 1),
    family=dict.fromkeys(("root", "copy", "original", "child"), "f"),
    original={"copy": "original"},
    stands_for={"original": "copy"},
)
STEPS = {"copy": [EDGE], "child": [Step("copy", "lora", 0.8)]}


def models(**created: int | None) -> dict[str, Placed]:
    """Models created in these years; None: nobody knows when."""
    return {
        name: Placed(number, datetime(year, 1, 1, tzinfo=UTC) if year else None)
        for number, (name, year) in enumerate(created.items())
    }


def test_children_of_equal_models_are_the_earlier_ones_and_a_copy_is_its_originals() -> None:
    ways = with_copies(models(root=2019, copy=2022, original=2021, child=2023), FOUND, STEPS)
    assert ways == {
        "copy": [EDGE, Step("original", "duplicate", 1.0)],
        "original": [EDGE],
        "child": [Step("original", "lora", 0.8)],
    }


@pytest.mark.parametrize(("copy", "original"), [(None, 2021), (2021, None), (2021, 2021), (None, None)])
def test_without_dates_nobody_is_a_copy(copy: int | None, original: int | None) -> None:
    ways = with_copies(models(root=2019, copy=copy, original=original, child=2023), FOUND, STEPS)
    assert ways == {"copy": [EDGE], "original": [EDGE], "child": [Step("copy", "lora", 0.8)]}
