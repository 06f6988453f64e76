"""What of an ancestor's licence does not reach a model, on exact constructions."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

from db.models import LICENCE_FINDINGS
from db.models.licences import SEVERITIES as STORED
from lineage.licence_findings import KINDS, SEVERITIES, Finding, Step, ancestry, findings
from lineage.licences import NOTICE, read_declared

Lines = Mapping[str, list[Step]]


def line(*names: str, relation: str = "finetune", confidence: float = 0.9) -> Lines:
    """Edges of a chain: each name was made from the one before it."""
    return {child: [Step(parent, relation, confidence)] for parent, child in pairwise(names)}


def found(own: Any, ancestors: Mapping[str, Any], lines: Lines | None = None, model: str = "o/model") -> list[Finding]:
    """Findings of a model under ancestors with these licences; one ancestor is its parent."""
    lines = lines or line(*ancestors, model)
    declared = {name: read_declared({"license": written}) for name, written in ancestors.items()}
    return list(findings(model, read_declared({"license": own}), ancestry(model, lines), declared))


def kinds(some: list[Finding]) -> list[tuple[str, str]]:
    return [(one.severity, one.kind) for one in some]


@pytest.mark.parametrize(
    ("own", "parent", "expected"),
    [
        ("apache-2.0", "apache-2.0", []),
        ("mit", "apache-2.0", []),
        ("llama2", "llama2", []),
        ("gpl-3.0", "apache-2.0", []),
        ("gpl-3.0", "lgpl-3.0", []),
        ("cc-by-sa-4.0", "cc-by-4.0", []),
        ("mit", "cc0-1.0", []),
        (None, "cc0-1.0", []),
        ("apache-2.0", "llama2", [("conflict", "more-permissive")]),
        ("mit", "gemma", [("conflict", "more-permissive")]),
        ("apache-2.0", "creativeml-openrail-m", [("conflict", "more-permissive")]),
        ("openrail", "openrail++", [("read", "more-permissive")]),
        ("apache-2.0", "cc-by-nc-4.0", [("conflict", "non-commercial")]),
        ("cc-by-nc-nd-4.0", "cc-by-nc-4.0", []),
        ("mit", "gpl-3.0", [("conflict", "share-alike")]),
        ("gpl-3.0", "gpl-2.0", [("read", "share-alike")]),
        ("cc-by-4.0", "cc-by-sa-4.0", [("conflict", "share-alike")]),
        ("cc-by-sa-4.0", "cc-by-nc-sa-4.0", [("conflict", "non-commercial"), ("conflict", "share-alike")]),
        ("apache-2.0", "cc-by-nd-4.0", [("conflict", "no-derivatives")]),
        ("cc0-1.0", "mit", [("duty", "attribution")]),
        (None, "mit", [("duty", "attribution")]),
        (None, "llama2", [("conflict", "missing")]),
        (None, "cc-by-nc-4.0", [("conflict", "missing")]),
        ("mit", "other", [("read", "unclear")]),
        ("mit", "unknown", [("read", "unclear")]),
        ("mit", None, [("read", "unclear")]),
        (None, "house rules", [("read", "unclear")]),
        ("other", "llama2", [("read", "unclear")]),
        ("other", "mit", [("read", "attribution")]),
        ("Apache-2.0 OR GPL-3.0-only", "gpl-3.0", [("conflict", "share-alike")]),
        ("Apache-2.0 AND GPL-3.0-only", "gpl-3.0", []),
        ("apache-2.0", "GPL-3.0-only OR MIT", []),
        ("apache-2.0", ["gpl-3.0", "mit"], [("conflict", "share-alike")]),
        (["apache-2.0", "gpl-3.0"], "gpl-3.0", [("conflict", "share-alike")]),
    ],
)
def test_a_model_under_one_parent(own: Any, parent: Any, expected: list[tuple[str, str]]) -> None:
    some = found(own, {"o/parent": parent})
    assert kinds(some) == expected
    for one in some:
        assert (one.ancestor, one.path, one.confidence) == ("o/parent", ("o/parent", "o/model"), 0.9)
        assert "o/parent" in one.why
        assert one.kind == "unclear" or one.cite.startswith("https://")


@pytest.mark.parametrize(
    ("model", "licence", "asked"),
    [
        ("o/model", "llama3.1", True),
        ("o/Llama-3.1-model", "llama3.1", False),
        ("o/llama3-model", "llama3", False),
        ("o/Llama-model", "llama3", True),
        ("o/model", "llama2", False),
    ],
)
def test_llama_asks_for_its_name_from_the_third_on(model: str, licence: str, asked: bool) -> None:
    some = found(licence, {"o/parent": licence}, model=model)
    assert kinds(some) == ([("duty", "naming")] if asked else [])
    assert not asked or "Built with" in some[0].why


def test_the_path_is_shown_and_its_confidence_is_the_product() -> None:
    lines = {**line("o/root", "o/middle", confidence=0.8), **line("o/middle", "o/model", confidence=0.5)}
    (one,) = found("mit", {"o/root": "gemma", "o/middle": "mit"}, lines)
    assert one.path == ("o/root", "o/middle", "o/model")
    assert one.confidence == pytest.approx(0.4)


def test_of_several_ancestors_with_one_licence_the_surest_stands_for_all() -> None:
    (one,) = found("mit", {"o/root": "gemma", "o/parent": "gemma"})
    assert one.ancestor == "o/parent"
    assert one.why.endswith("; so does 1 more ancestor")


def test_a_grandparents_terms_are_found_under_a_parent_that_dropped_them() -> None:
    (one,) = found("apache-2.0", {"o/root": "cc-by-nc-4.0", "o/parent": "apache-2.0"})
    assert (one.kind, one.ancestor) == ("non-commercial", "o/root")


def merge(first: Any, second: Any, own: Any = "mit") -> list[Finding]:
    lines = {"o/model": [Step("o/one", "merge", 0.9), Step("o/two", "merge", 0.8)]}
    return [one for one in found(own, {"o/one": first, "o/two": second}, lines) if one.kind == "incompatible"]


@pytest.mark.parametrize(
    ("first", "second", "severity"),
    [
        ("gpl-3.0", "cc-by-nc-4.0", "conflict"),
        ("gpl-3.0", "llama2", "conflict"),
        ("gpl-2.0", "apache-2.0", "conflict"),
        ("gpl-2.0", "gpl-3.0", "read"),
        ("cc-by-sa-4.0", "cc-by-nc-sa-4.0", "conflict"),
        ("cc-by-sa-4.0", "gpl-3.0", None),
        ("llama2", "gemma", "read"),
        ("llama2", "llama2", None),
        ("mit", "gemma", None),
        ("other", "gpl-3.0", None),
        ("MIT OR GPL-3.0-only", "llama2", None),
    ],
)
def test_the_parents_of_a_merge_may_not_go_together(first: str, second: str, severity: str | None) -> None:
    for some in (merge(first, second), merge(second, first)):
        assert [one.severity for one in some] == ([severity] if severity else [])
        for one in some:
            assert {"o/one", "o/two"} <= set(one.why.replace(":", " ").split())
            assert one.confidence == pytest.approx(0.72)


def test_what_goes_not_together_above_a_merge_reaches_its_descendants() -> None:
    lines = {
        "o/model": [Step("o/merged", "finetune", 0.5)],
        "o/merged": [Step("o/one", "merge", 0.9), Step("o/two", "merge", 0.8)],
        "o/two": [Step("o/root", "finetune", 0.5)],
    }
    licences = {"o/merged": "mit", "o/one": "gpl-3.0", "o/two": "mit", "o/root": "gemma"}
    (one,) = [one for one in found("mit", licences, lines) if one.kind == "incompatible"]
    assert "o/root → o/two → o/merged → o/model" in one.why or one.path[0] == "o/root"


def test_two_licences_above_one_parent_are_no_merge() -> None:
    assert "incompatible" not in {one.kind for one in found("mit", {"o/root": "gpl-3.0", "o/parent": "cc-by-nc-4.0"})}


def test_copies_are_no_derivatives_but_keep_their_licence() -> None:
    lines = line("o/original", "o/model", relation="duplicate", confidence=1.0)
    assert kinds(found("cc-by-nd-4.0", {"o/original": "cc-by-nd-4.0"}, lines)) == []
    assert kinds(found("llama3.1", {"o/original": "llama3.1"}, lines)) == []
    assert kinds(found("mit", {"o/original": "llama3.1"}, lines)) == [("conflict", "more-permissive")]


def test_the_surest_way_counts_and_circles_end() -> None:
    lines = {
        "a": [Step("b", "merge", 0.9), Step("c", "merge", 0.3)],
        "b": [Step("c", "finetune", 0.9), Step("a", "finetune", 0.9)],
    }
    assert [(one.path, round(one.confidence, 2)) for one in ancestry("a", lines)] == [
        (("b", "a"), 0.9),
        (("c", "b", "a"), 0.81),
    ]


def test_kinds_and_severities_are_those_that_the_database_allows_and_the_notice_is_there() -> None:
    assert (KINDS, SEVERITIES) == (LICENCE_FINDINGS, STORED)
    assert "not legal advice" in NOTICE.lower()
