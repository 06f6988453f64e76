"""Problems of declared parents: found after names were resolved, reported in words, and gone when they are mended."""

from __future__ import annotations

import pytest
from catalogues import NOW, Catalogue, parent
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from db import declared, problems
from db.problems import Claim, contradictions, cycles, find_problems


def found(catalogue: Catalogue) -> set[tuple[str, str, str]]:
    declared.resolve(catalogue.session, catalogue.source)
    number = find_problems(catalogue.session, catalogue.source)
    stored = catalogue.problems()
    assert len(stored) == number
    return stored


def test_a_model_that_names_itself_is_found_under_any_of_its_names(catalogue: Catalogue) -> None:
    catalogue.add("o/self", parent("O/Self"), parent("O/Self", "tags"))
    catalogue.add("o/new", parent("o/old"))
    declared.store_alias(catalogue.session, catalogue.source, "o/old", "o/new", None)
    catalogue.add("o/loaded", parent("o/loaded", "config", "unknown"))
    assert found(catalogue) == {
        ("o/self", "self-reference", "o/self declares itself (card, tags)"),
        ("o/new", "self-reference", "o/new declares itself (card)"),
    }


def test_a_circle_has_the_same_words_for_each_of_its_members(catalogue: Catalogue) -> None:
    catalogue.add("o/b", parent("o/c"), parent("o/outside"))
    catalogue.add("o/c", parent("O/A"))
    catalogue.add("o/a", parent("o/b"))
    catalogue.add("o/below", parent("o/a"))
    catalogue.add("o/outside")
    detail = "o/a → o/b → o/c → o/a"
    assert found(catalogue) == {(name, "cycle", detail) for name in ("o/a", "o/b", "o/c")}


def test_weak_sources_duplicates_and_removed_models_close_no_circle(catalogue: Catalogue) -> None:
    catalogue.add("o/a", parent("o/b"))
    catalogue.add("o/b", parent("o/a", "prose"))
    catalogue.add("o/c", parent("o/d"))
    catalogue.add("o/d", parent("o/c", "commit", "duplicate"))
    catalogue.add("o/e", parent("o/f"))
    catalogue.add("o/f", parent("o/e"), removed_at=NOW, removed_why="deleted")
    assert found(catalogue) == set()


def test_sources_that_name_different_parents_contradict_each_other(catalogue: Catalogue) -> None:
    catalogue.add("org/base")
    catalogue.add("o/1", parent("org/base"), parent("o/x", "adapter_config", "adapter"))
    catalogue.add("o/2", parent("ORG/base"), parent("org/base", "tags"), parent("o/x", "prose"))
    catalogue.add("o/3", parent("bert"), parent("google/bert", "tags"))
    assert found(catalogue) == {("o/1", "contradiction", "card says org/base, adapter_config says o/x")}


def test_a_relation_contradicts_only_where_the_card_says_it(catalogue: Catalogue) -> None:
    claims = (parent("o/p"), parent("o/p", "tags", "quantized"))
    catalogue.add("o/1", *claims, card_data={"base_model": "o/p"})
    catalogue.add("o/2", *claims, card_data={"base_model": "o/p", "base_model_relation": "finetune"})
    assert found(catalogue) == {("o/2", "contradiction", "o/p: card says finetune, tags says quantized")}


def test_what_is_mended_goes_and_what_stays_is_not_written_again(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        catalogue = Catalogue(session)
        mended = catalogue.add("o/a", parent("o/a"))
        catalogue.add("o/b", parent("o/b"))
        assert len(found(catalogue)) == 2
    where = text("SELECT ctid::text, xmin::text FROM declared_problems WHERE detail LIKE 'o/b%'")
    with Session(engine) as session, session.begin():
        before = session.execute(where).all()
        catalogue.session = session
        declared.store(session, mended, [])
        assert {problem[0] for problem in found(catalogue)} == {"o/b"}
        assert session.execute(where).all() == before


def test_a_long_detail_fits_into_its_index(catalogue: Catalogue) -> None:
    names = [f"{'o' * 90}/{number:03d}{'n' * 90}" for number in range(40)]
    for name, above in zip(names, [*names[1:], names[0]], strict=True):
        catalogue.add(name, parent(above))
    details = {detail for _, _, detail in found(catalogue)}
    assert len(details) == 1
    assert len(details.pop()) <= problems.DETAIL_LIMIT + 4


def test_the_view_names_the_models(catalogue: Catalogue) -> None:
    catalogue.add("o/a", parent("o/a"))
    found(catalogue)
    rows = catalogue.session.execute(text("SELECT model, kind FROM hublineage.declared_problems")).all()
    assert [tuple(row) for row in rows] == [("o/a", "self-reference")]


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ([Claim("card", "o/a", "finetune"), Claim("tags", "o/a", "unknown")], []),
        ([Claim("card", "o/a", "finetune"), Claim("card", "o/b", "finetune"), Claim("tags", "o/a", "finetune")], []),
        ([Claim("card", "o/a", "merge"), Claim("mergekit", "o/b", "merge")], []),
        ([Claim("card", "o/a", "finetune"), Claim("tags", "o/a", "finetune"), Claim("tags", "o/a", "adapter")], []),
        (
            [Claim("card", "o/a", "finetune"), Claim("mergekit", "o/a", "merge")],
            ["o/a: card says finetune, mergekit says merge"],
        ),
        (
            [Claim("card", "old", "finetune", 1, "o/new"), Claim("tags", "o/x", "finetune")],
            ["card says o/new, tags says o/x"],
        ),
        ([Claim("card", "bert", "finetune"), Claim("tags", "google/bert", "finetune", 7, "google/bert")], []),
        ([Claim("card", "old/bert", "finetune"), Claim("tags", "new/bert", "finetune")], []),
        ([Claim("card", "old/a", "finetune", None, "New/b"), Claim("adapter_config", "new/b", "finetune")], []),
        (
            [Claim("card", "a/bert", "finetune"), Claim("adapter_config", "b/bert", "finetune")],
            ["card says a/bert, adapter_config says b/bert"],
        ),
        (
            [Claim("card", "bert", "finetune"), Claim("tags", "a/bert", "merge"), Claim("tags", "b/bert", "finetune")],
            ["card says bert, tags says b/bert"],
        ),
    ],
)
def test_sources_disagree_where_neither_says_all_that_the_other_does(claims: list[Claim], expected: list[str]) -> None:
    assert contradictions(claims) == expected


EDGES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=30)


@given(EDGES)
def test_every_circle_is_one_and_leaves_nobody_out(edges: list[tuple[int, int]]) -> None:
    known = {edge for edge in edges if edge[0] != edge[1]}
    circles = cycles(edges)
    for circle in circles:
        assert len(set(circle)) == len(circle) > 1
        assert circle[0] == min(circle)
        assert set(zip(circle, (*circle[1:], circle[0]), strict=True)) <= known
    above = {start: reach(known, start) for start in range(10)}
    assert {one for circle in circles for one in circle} == {one for one in range(10) if one in above[one]}
    assert len(set(circles)) == len(circles)


def reach(edges: set[tuple[int, int]], start: int) -> set[int]:
    seen: set[int] = set()
    waiting = [start]
    while waiting:
        here = waiting.pop()
        for child, above in edges:
            if child == here and above not in seen:
                seen.add(above)
                waiting.append(above)
    return seen
