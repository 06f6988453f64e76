"""Every verdict, on one small tree.

base ── chat ── tiny         other (a tree of its own)        alien (another architecture)
├─ code                 copy (equal to chat)             vague (its parent is not decided)
└─ vague
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from db.models import VERDICTS
from lineage.verdict import SEVEREST, Claim, Found, Verdict, judge

MODELS = ("base", "chat", "code", "tiny", "vague", "copy")
FOUND = Found(
    parents={"chat": {"base": True}, "code": {"base": True}, "tiny": {"chat": True}, "vague": {"base": False}},
    tree={**dict.fromkeys(MODELS, 1), "other": 2, "alien": 3},
    family={**dict.fromkeys((*MODELS, "other"), "llama"), "alien": "vit"},
    original={"copy": "chat"},
    stands_for={"copy": "chat"},
)


MERGED = Found(
    parents={"code": {"base": True}, "chat": {"base": True}, "both": {"code": True, "far": True}},
    tree={**dict.fromkeys(("base", "code", "chat", "both"), 1), "far": 2},
    family=dict.fromkeys(("base", "code", "chat", "both", "far"), "llama"),
)


@pytest.mark.parametrize(
    ("declared", "expected", "said"),
    [
        (["code", "far"], "agrees", "declares far, which is an inferred parent"),
        (["base", "code", "far"], "agrees", "an ancestor"),
        (["code"], "undeclared", "other parent far is not declared"),
        (["code", "chat"], "contradicted", "the inferred parents are code and far"),
        (["code", "gone"], "agrees", "not in the catalogue"),
        ([], "undeclared", "the inferred parents are code and far"),
    ],
)
def test_a_merge_agrees_with_all_of_its_parents_wherever_they_stand(
    declared: list[str], expected: str, said: str
) -> None:
    claims = [Claim(name, "hub", None if name == "gone" else name) for name in declared]
    given = judge("both", claims, MERGED)
    assert given.verdict == expected
    assert said in given.why
    assert given.inferred == ("code", "far")


def verdict(model: str, *names: str, unmeasured: str | None = None) -> Verdict:
    """The verdict on claims of models in the catalogue."""
    return judge(model, [Claim(name, "hub", name) for name in names], FOUND, unmeasured)


@pytest.mark.parametrize(
    ("model", "declared", "expected", "said"),
    [
        ("chat", ["base"], "agrees", "which is the inferred parent"),
        ("tiny", ["copy"], "agrees", "declares copy"),
        ("copy", ["base"], "agrees", "which is the inferred parent"),
        ("tiny", ["base"], "ancestor", "an ancestor but not the parent; the inferred parent is chat"),
        ("base", ["tiny"], "reversed", "which descends from this model"),
        ("chat", ["code"], "sibling", "a sibling; the inferred parent is base"),
        ("chat", ["other"], "contradicted", "unrelated by its weights; the inferred parent is base"),
        ("code", ["tiny"], "contradicted", "of the same tree but not above this model"),
        ("chat", [], "undeclared", "the inferred parent is base"),
        ("chat", ["alien"], "unmeasured", "another architecture (vit)"),
        ("chat", ["gone"], "unmeasured", "no comparable weights here"),
        ("vague", ["base"], "undecided", "does not decide it"),
        ("vague", ["code"], "undecided", "does not decide between them"),
        ("code", ["vague"], "undecided", "does not decide between them"),
        ("vague", [], "undecided", "base (not decided)"),
        ("base", [], "root", "none was found"),
        ("other", [], "root", "none was found"),
        ("copy", [], "duplicate", "equal those of chat"),
        ("copy", ["chat"], "duplicate", "its weights equal"),
        ("chat", ["copy"], "duplicate", "its weights equal"),
    ],
)
def test_one_claim_gives_one_verdict(model: str, declared: list[str], expected: str, said: str) -> None:
    found = verdict(model, *declared)
    assert found.verdict == expected
    assert said in found.why
    assert found.declared == tuple(declared)
    assert found.inferred == tuple(sorted(FOUND.parents.get(FOUND.place(model), {})))


@pytest.mark.parametrize(
    ("model", "declared", "expected"),
    [
        ("chat", ["base", "gone"], "agrees"),
        ("tiny", ["chat", "base"], "agrees"),
        ("chat", ["base", "alien"], "agrees"),
        ("chat", ["base", "copy"], "agrees"),
        ("chat", ["base", "code"], "sibling"),
        ("chat", ["base", "other"], "contradicted"),
        ("chat", ["other", "tiny"], "contradicted"),
        ("tiny", ["base", "gone"], "ancestor"),
        ("chat", ["gone", "copy"], "duplicate"),
        ("chat", ["chat", "base"], "agrees"),
    ],
)
def test_of_several_claims_the_worst_counts_unless_it_may_stand_beside_the_right_one(
    model: str, declared: list[str], expected: str
) -> None:
    assert verdict(model, *declared).verdict == expected
    assert verdict(model, *reversed(declared)).verdict == expected


def test_a_model_without_measures_is_unmeasured_whatever_it_declares() -> None:
    for declared in ([], ["base"], ["other"]):
        found = verdict("chat", *declared, unmeasured="a shard is missing")
        assert found.verdict == "unmeasured"
        assert found.why.startswith("a shard is missing")
        assert ("is not checked" in found.why) == bool(declared)


def test_a_parent_that_is_declared_twice_is_named_once() -> None:
    assert verdict("tiny", "base", "base").declared == ("base",)
    assert verdict("tiny", "base", "base").why == verdict("tiny", "base").why


def test_a_claim_of_oneself_is_passed_over() -> None:
    assert verdict("chat", "chat") == judge("chat", [], FOUND)
    assert verdict("chat", "chat").declared == ()


def test_prose_counts_only_where_nothing_else_is_claimed() -> None:
    prose = Claim("other", "hub", "other", weak=True)
    assert judge("chat", [prose], FOUND).verdict == "contradicted"
    assert judge("chat", [prose, Claim("base", "hub", "base")], FOUND).verdict == "agrees"
    assert judge("chat", [Claim("base", "hub", "base"), prose], FOUND).declared == ("base",)


def test_a_name_that_the_catalogue_does_not_have_is_unmeasured() -> None:
    found = judge("chat", [Claim("lost/model", "hub")], FOUND)
    assert found.verdict == "unmeasured"
    assert "lost/model, which is not in the catalogue; the inferred parent is base" in found.why


@pytest.mark.parametrize("kind", ["local path", "invalid"])
def test_a_claim_that_names_no_repository_is_unmeasured_and_quoted(kind: str) -> None:
    found = judge("chat", [Claim("/data/base", kind)], FOUND)
    assert found.verdict == "unmeasured"
    assert f"'/data/base' ({kind})" in found.why
    beside = judge("chat", [Claim("/data/base", kind), Claim("base", "hub", "base")], FOUND)
    assert beside.verdict == "agrees"
    assert beside.declared == ("/data/base", "base")


def test_a_merge_agrees_with_any_of_its_parents_and_names_them_all() -> None:
    merge = Found({"m": {"a": True, "b": True}}, {"m": 1, "a": 1, "b": 1}, dict.fromkeys("mab", "llama"))
    assert judge("m", [Claim("a", "hub", "a"), Claim("b", "hub", "b")], merge).verdict == "agrees"
    assert "a and b" in judge("m", [], merge).why


def test_the_verdicts_are_those_that_the_database_allows() -> None:
    described = (judge.__globals__["__doc__"] or "").splitlines()
    named = [line.split("|")[1].strip() for line in described if line.startswith("| ")][1:]
    assert tuple(named) == VERDICTS


ROOTLESS = Found(
    parents={"a": {"b": False}, "c": {"b": False}, "d": {"a": True}},
    tree={**dict.fromkeys("abcd", 1), "x": 2},
    family=dict.fromkeys("abcdx", "llama"),
    siblings=dict.fromkeys("abc", ("a", "b", "c")),
    missing={"o/gated": "model.safetensors: it is gated"},
)


@pytest.mark.parametrize(
    ("model", "claim", "expected", "said"),
    [
        ("a", None, "undecided", "it and its siblings b and c show a parent that is not in the catalogue"),
        ("b", None, "undecided", "it and its siblings a and c show a parent that is not in the catalogue"),
        ("a", Claim("o/gone", "hub"), "unmeasured", "may be the parent that it shares with its siblings b and c"),
        ("b", Claim("o/gated", "hub", "o/gated"), "unmeasured", "has no comparable weights here: model.safetensors"),
        ("b", Claim("c", "hub", "c"), "undecided", "show a parent that is not in the catalogue"),
        ("c", Claim("x", "hub", "x"), "contradicted", "unrelated by its weights; it and its siblings"),
        ("d", None, "undeclared", "the inferred parent is a"),
    ],
)
def test_siblings_of_an_absent_parent_are_undecided_and_say_so(
    model: str, claim: Claim | None, expected: str, said: str
) -> None:
    given = judge(model, [claim] if claim else [], ROOTLESS)
    assert given.verdict == expected
    assert said in given.why


def test_a_root_is_one_only_where_something_is_decided_below_it() -> None:
    pair = Found({"b": {"a": False}}, dict.fromkeys("ab", 1), dict.fromkeys("ab", "llama"))
    given = judge("a", [], pair)
    assert given.verdict == "undecided"
    assert "whether b descends from it or it from that is not decided" in given.why
    more = Found({"b": {"a": False}, "c": {"a": True}}, dict.fromkeys("abc", 1), dict.fromkeys("abc", "llama"))
    assert judge("a", [], more).verdict == "root"
    assert "2 of them were made from it" in judge("a", [], more).why
    assert judge("alone", [], Found({}, {"alone": 1}, {"alone": "llama"})).why.endswith("what it is comparable to")


@pytest.mark.parametrize(("decided", "expected"), [(True, "ancestor"), (False, "undecided")])
def test_an_ancestor_beyond_an_edge_that_is_not_decided_is_not_decided(decided: bool, expected: str) -> None:
    chain = Found(
        {"b": {"a": True}, "c": {"b": decided}, "d": {"c": True}}, dict.fromkeys("abcd", 1), dict.fromkeys("abcd", "f")
    )
    assert judge("d", [Claim("a", "hub", "a")], chain).verdict == expected
    assert judge("a", [Claim("d", "hub", "d")], chain).verdict == ("reversed" if decided else "undecided")


def test_a_declared_copy_is_called_by_both_names() -> None:
    assert "declares copy (whose weights equal chat), which is the inferred parent" in verdict("tiny", "copy").why
    below = replace(FOUND, parents={**FOUND.parents, "leaf": {"tiny": True}}, tree={**FOUND.tree, "leaf": 1})
    found = judge("leaf", [Claim("copy", "hub", "copy")], replace(below, family={**FOUND.family, "leaf": "llama"}))
    assert found.verdict == "ancestor"
    assert "whose weights equal chat" in found.why


def test_problems_of_what_is_declared_are_said_and_change_no_verdict() -> None:
    circle = "what is declared goes in a circle: base → chat → base"
    for model, claimed, expected in (("chat", "base", "agrees"), ("base", "chat", "reversed")):
        claims = [Claim(claimed, "hub", claimed)]
        given = judge(model, claims, FOUND, problems=[circle])
        assert given.verdict == judge(model, claims, FOUND).verdict == expected
        assert given.why.endswith(circle)
    alone = judge("base", [Claim("base", "hub", "base")], FOUND, problems=["base declares itself (card)"])
    assert (alone.verdict, alone.declared) == ("root", ())
    assert alone.why.endswith("declares itself (card)")


def test_the_definitions_are_written_for_every_verdict_in_the_order_of_precedence() -> None:
    text = (Path(__file__).parents[2] / "docs/verdicts.md").read_text()
    for name in VERDICTS:
        assert f"\n## `{name}`\n" in text, name
    order = [text.index(f". `{name}`") for name in SEVEREST]
    assert order == sorted(order)
