"""Declared parents in the database: stored once, and resolved whatever their repositories are called by now."""

from __future__ import annotations

from typing import Any

import pytest
from catalogues import NOW, Catalogue, parent
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from db import declared
from db.models import DeclaredParent


def resolved(catalogue: Catalogue, revision: int) -> list[tuple[str, str | None, str | None]]:
    declared.resolve(catalogue.session, catalogue.source)
    return catalogue.answers(revision)


def places(session: Session) -> list[Any]:
    """Where the rows lie, and who locked them: any writing or locking would show."""
    return list(session.execute(text("SELECT ctid::text, xmin::text, xmax::text FROM declared_parents ORDER BY id")))


def test_what_is_equal_is_not_written_again(engine: Engine) -> None:
    layers, detail = [[0, 16], [20, 32]], {"method": "ties", "parameters": {"weight": [0.1, 0.9]}}
    parents = [parent("o/a"), parent("o/b", "mergekit", "merge", weight=0.1, layers=layers, detail=detail)]
    with Session(engine) as session, session.begin():
        catalogue = Catalogue(session)
        revisions = [catalogue.add(f"o/{number}", *parents) for number in range(3)]
    with Session(engine) as session, session.begin():
        before = places(session)
        declared.store_many(session, [(revision, parents) for revision in revisions])
        declared.store(session, revisions[0], parents)
    with Session(engine) as session, session.begin():
        assert places(session) == before
        assert len(before) == 6


def test_what_is_no_longer_declared_goes(catalogue: Catalogue) -> None:
    session = catalogue.session
    one = catalogue.add("o/one", parent("o/a"), parent("o/b"))
    other = catalogue.add("o/other", parent("o/a"))
    declared.store_many(session, [(one, [parent("o/b", detail={"revision": "x"}), parent("o/c")]), (other, [])])
    rows = session.execute(select(DeclaredParent.name, DeclaredParent.detail).order_by(DeclaredParent.name)).all()
    assert [tuple(row) for row in rows] == [("o/b", {"revision": "x"}), ("o/c", None)]


def test_names_are_resolved_exactly_in_another_case_or_not_at_all(catalogue: Catalogue) -> None:
    catalogue.add("Org/Base")
    catalogue.add("org/base-2")
    child = catalogue.add(
        "o/child", parent("Org/Base"), parent("ORG/base"), parent("o/gone"), parent("./x", kind="local path")
    )
    assert resolved(catalogue, child) == [
        ("Org/Base", "exact", "Org/Base"),
        ("ORG/base", "case", "Org/Base"),
        ("o/gone", "dangling", None),
        ("./x", None, None),
    ]


def test_the_hubs_id_outlives_every_name(catalogue: Catalogue) -> None:
    catalogue.add("new/name", hub_id="a1")
    catalogue.add("old/name", hub_id="b2")
    child = catalogue.add("o/child", parent("old/name", "baseModels", hub_id="a1"))
    assert resolved(catalogue, child) == [("old/name", "renamed", "new/name")]


def test_a_chain_of_former_names_leads_to_the_present_one(catalogue: Catalogue) -> None:
    catalogue.add("org/third", hub_id="a1")
    catalogue.add("org/other")
    for name, target in (("first", "org/second"), ("org/second", "Org/Third"), ("loop", "pool"), ("pool", "loop")):
        declared.store_alias(catalogue.session, catalogue.source, name, target, None)
    declared.store_alias(catalogue.session, catalogue.source, "org/known", "org/moved", "a1")
    declared.store_alias(catalogue.session, catalogue.source, "org/nowhere", None, None)
    names = ("First", "org/second", "org/known", "loop", "org/nowhere")
    child = catalogue.add("o/child", *(parent(name) for name in names))
    assert resolved(catalogue, child) == [
        ("First", "renamed", "org/third"),
        ("org/second", "renamed", "org/third"),
        ("org/known", "renamed", "org/third"),
        ("loop", "dangling", None),
        ("org/nowhere", "dangling", None),
    ]


def test_a_name_that_another_repository_has_now_is_that_one(catalogue: Catalogue) -> None:
    catalogue.add("org/name")
    catalogue.add("org/moved", hub_id="a1")
    declared.store_alias(catalogue.session, catalogue.source, "org/name", "org/moved", "a1")
    child = catalogue.add("o/child", parent("org/name"))
    assert resolved(catalogue, child) == [("org/name", "exact", "org/name")]


def test_base_models_resolve_the_former_names_of_the_same_card(catalogue: Catalogue) -> None:
    catalogue.add("google-bert/bert-base-uncased", hub_id="a1")
    hub = parent("google-bert/bert-base-uncased", "baseModels", hub_id="a1")
    by_end = catalogue.add("o/1", parent("bert-base-uncased"), parent("bert-base-uncased", "adapter_config"), hub)
    alone = catalogue.add("o/2", parent("former/other"), parent("elsewhere/x", "adapter_config"), hub)
    several = catalogue.add("o/3", parent("former/other"), parent("former/one"), hub)
    answers = resolved(catalogue, by_end)
    assert [answer[1:] for answer in answers[:2]] == [("renamed", "google-bert/bert-base-uncased")] * 2
    assert [answer[1] for answer in catalogue.answers(alone)] == ["renamed", "dangling", "exact"]
    assert [answer[1] for answer in catalogue.answers(several)] == ["dangling", "dangling", "exact"]


def test_removed_repositories_answer_only_where_nobody_else_does(catalogue: Catalogue) -> None:
    gone = {"removed_at": NOW, "removed_why": "deleted"}
    catalogue.add("org/both", **gone)
    catalogue.add("Org/Both")
    catalogue.add("org/gone", **gone)
    child = catalogue.add("o/child", parent("org/both"), parent("org/gone"))
    assert resolved(catalogue, child) == [("org/both", "case", "Org/Both"), ("org/gone", "exact", "org/gone")]


def test_answers_follow_the_catalogue_and_are_written_only_where_they_change(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        catalogue = Catalogue(session)
        child = catalogue.add("o/child", parent("o/base"), parent("o/later"))
        catalogue.add("o/base")
        assert declared.resolve(session, catalogue.source) == 2
    with Session(engine) as session, session.begin():
        before = places(session)
        assert declared.resolve(session, catalogue.source) == 0
    with Session(engine) as session, session.begin():
        assert places(session) == before
        catalogue.session = session
        catalogue.add("o/later")
        assert declared.resolve(session, catalogue.source) == 1
        assert catalogue.answers(child)[1] == ("o/later", "exact", "o/later")


def test_only_current_revisions_of_the_source_are_resolved(catalogue: Catalogue) -> None:
    child = catalogue.add("o/child", parent("o/base"))
    other = Catalogue.__new__(Catalogue)
    other.session = catalogue.session
    other.source = catalogue.session.scalars(text("INSERT INTO sources (name) VALUES ('file:///x') RETURNING id")).one()
    other.add("o/base")
    assert resolved(catalogue, child) == [("o/base", "dangling", None)]
    assert resolved(other, child) == [("o/base", "dangling", None)]


def test_dangling_names_are_asked_for_once_the_most_frequent_first(catalogue: Catalogue) -> None:
    for number in range(2):
        catalogue.add(f"o/{number}", parent("often"), parent("often", "tags"))
    catalogue.add("o/x", parent("once"), parent("asked"), parent("/home/x", kind="local path"), parent("o/0"))
    catalogue.add("o/y", *[parent("unread")] * 1, described=False)
    declared.resolve(catalogue.session, catalogue.source)
    declared.store_alias(catalogue.session, catalogue.source, "Asked", None, None)
    assert declared.dangling_names(catalogue.session, catalogue.source, 10) == ["often", "once"]
    assert declared.dangling_names(catalogue.session, catalogue.source, 1) == ["often"]


def test_an_alias_that_is_asked_for_again_is_replaced(catalogue: Catalogue) -> None:
    catalogue.add("org/new")
    child = catalogue.add("o/child", parent("old"))
    declared.store_alias(catalogue.session, catalogue.source, "old", None, None)
    assert resolved(catalogue, child) == [("old", "dangling", None)]
    declared.store_alias(catalogue.session, catalogue.source, "old", "org/new", None)
    assert resolved(catalogue, child) == [("old", "renamed", "org/new")]


def test_the_view_shows_how_each_parent_was_found(catalogue: Catalogue) -> None:
    catalogue.add("o/base")
    catalogue.add(
        "o/child", parent("O/base"), parent("o/hint", "prose"), parent("o/base", "mergekit", "merge", weight=0.5)
    )
    declared.resolve(catalogue.session, catalogue.source)
    rows = catalogue.session.execute(
        text("SELECT parent, declared_in, weak, resolution, parent_model, weight FROM hublineage.declared_parents")
    )
    assert sorted(tuple(row) for row in rows) == [
        ("O/base", "card", False, "case", "o/base", None),
        ("o/base", "mergekit", False, "exact", "o/base", 0.5),
        ("o/hint", "prose", True, "dangling", None, None),
    ]


@pytest.mark.parametrize("view", ["declared_parents", "declared_problems"])
def test_every_column_of_the_views_is_explained(catalogue: Catalogue, view: str) -> None:
    missing = catalogue.session.scalars(
        text(
            "SELECT attname FROM pg_attribute WHERE attrelid = CAST(:view AS regclass) AND attnum > 0 "
            "AND col_description(attrelid, attnum) IS NULL"
        ),
        {"view": f"hublineage.{view}"},
    ).all()
    assert missing == []
