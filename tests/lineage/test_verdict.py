"""Every verdict, on a tree of root -> parent -> (model, sibling -> niece) beside a stranger."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lineage.verdict import Claim, Found, judge

FOUND = Found(
    parents={
        "o/parent": {"o/root": True},
        "o/model": {"o/parent": True},
        "o/sibling": {"o/parent": True},
        "o/niece": {"o/sibling": True},
        "o/unsure": {"o/parent": False},
    },
    tree={**dict.fromkeys(("o/root", "o/parent", "o/model", "o/sibling", "o/niece", "o/unsure", "o/copy"), 1)}
    | {"o/stranger": 2, "o/other": 3},
    family={**dict.fromkeys(("o/root", "o/parent", "o/model", "o/sibling", "o/niece", "o/unsure", "o/copy"), "f")}
    | {"o/stranger": "f", "o/other": "g"},
    original={"o/copy": "o/model"},
    stands_for={"o/copy": "o/model"},
)


def claim(name: str, *, weak: bool = False) -> Claim:
    return Claim(name, "hub", name if name in FOUND.tree or name == "o/gated" else None, weak)


def verdict(model: str, *names: str) -> str:
    return judge(model, [claim(name) for name in names], FOUND).verdict


@pytest.mark.parametrize(
    ("model", "declared", "expected"),
    [
        ("o/model", ("o/parent",), "agrees"),
        ("o/model", ("o/root",), "ancestor"),
        ("o/parent", ("o/model",), "reversed"),
        ("o/root", ("o/niece",), "reversed"),
        ("o/model", ("o/sibling",), "sibling"),
        ("o/model", ("o/niece",), "contradicted"),
        ("o/model", ("o/stranger",), "contradicted"),
        ("o/model", ("o/other",), "unmeasured"),
        ("o/model", ("o/gated",), "unmeasured"),
        ("o/model", ("o/unheard-of",), "unmeasured"),
        ("o/model", (), "undeclared"),
        ("o/unsure", (), "undecided"),
        ("o/unsure", ("o/parent",), "undecided"),
        ("o/unsure", ("o/root",), "undecided"),
        ("o/root", (), "root"),
        ("o/stranger", (), "root"),
        ("o/copy", (), "duplicate"),
        ("o/copy", ("o/model",), "duplicate"),
        ("o/copy", ("o/parent",), "agrees"),
        ("o/niece", ("o/sibling", "o/root"), "agrees"),
        ("o/niece", ("o/sibling", "o/stranger"), "contradicted"),
        ("o/niece", ("o/root", "o/unheard-of"), "ancestor"),
        ("o/model", ("o/model",), "undeclared"),
    ],
)
def test_declared_against_inferred(model: str, declared: tuple[str, ...], expected: str) -> None:
    assert verdict(model, *declared) == expected


def test_what_cannot_be_measured_says_why() -> None:
    found = judge("o/gated", [claim("o/parent")], FOUND, "it is gated")
    assert (found.verdict, found.why) == ("unmeasured", "it is gated")


def test_a_local_path_names_no_repository_and_the_inferred_parent_is_told() -> None:
    found = judge("o/model", [Claim("./checkpoint-5", "local path")], FOUND)
    assert found.verdict == "unmeasured"
    assert "'./checkpoint-5'" in found.why
    assert "o/parent" in found.why


def test_prose_counts_only_where_nothing_else_is_claimed() -> None:
    weak = claim("o/stranger", weak=True)
    assert judge("o/model", [claim("o/parent"), weak], FOUND).verdict == "agrees"
    assert judge("o/model", [weak], FOUND).verdict == "contradicted"


def test_names_on_both_sides_are_given_once() -> None:
    found = judge("o/model", [claim("o/root"), claim("o/root")], FOUND)
    assert found.declared == ("o/root",)
    assert found.inferred == ("o/parent",)


def test_a_copy_of_the_parent_agrees_with_the_parent() -> None:
    twin = replace(FOUND, stands_for={**FOUND.stands_for, "o/twin": "o/parent"}, tree={**FOUND.tree, "o/twin": 1})
    twin = replace(twin, family={**FOUND.family, "o/twin": "f"})
    assert judge("o/model", [Claim("o/twin", "hub", "o/twin")], twin).verdict == "agrees"
