"""The public SQL surface: all of it says what it is, the reader sees nothing else, and the functions walk rightly."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Engine, text

from db import views
from db.views import reader


@pytest.fixture
def reading(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection of the role that may only read."""
    url = database_url.replace("://postgres", f"://{reader.ROLE}")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def owner(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection of the owner, with the small catalogue of `fill`."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        fill(connection)
        yield connection


# root -> middle -> leaf, root -> other (merged with leaf); copy equals middle; lone was never inferred.
MODELS = ("org/root", "org/middle", "org/leaf", "org/other", "org/copy", "org/lone", "org/doubtful")
EDGES = (
    (1, 2, "finetune", 0.9, True),
    (2, 3, "lora", 0.8, True),
    (1, 4, "merge", 0.7, True),
    (3, 4, "merge", 0.6, True),
    (2, 5, "duplicate", 0.5, False),
    (1, 7, "finetune", 0.3, False),
)


def fill(connection: psycopg.Connection) -> None:
    connection.execute("INSERT INTO sources (id, name) OVERRIDING SYSTEM VALUE VALUES (1, 'https://hub.example')")
    connection.execute("INSERT INTO families (id, source_id, name) OVERRIDING SYSTEM VALUE VALUES (1, 1, 'kin')")
    connection.execute(
        "INSERT INTO runs (id, family_id, method, parameters, versions, inputs, inputs_digest, is_current)"
        " OVERRIDING SYSTEM VALUE VALUES (1, 1, 'recover', '{}', '{}', '{}', '1', true)"
    )
    for number, name in enumerate(MODELS, 1):
        connection.execute(
            "INSERT INTO repositories (id, source_id, name) OVERRIDING SYSTEM VALUE VALUES (%s, 1, %s)", [number, name]
        )
        connection.execute(
            "INSERT INTO revisions (id, repository_id, sha, weights, family_id) OVERRIDING SYSTEM VALUE"
            " VALUES (%s, %s, 'sha', 'safetensors', 1)",
            [number, number],
        )
        connection.execute("UPDATE repositories SET current_revision_id = id WHERE id = %s", [number])
    connection.execute(
        "INSERT INTO clusters (id, run_id, position, root_revision_id, root_confidence) OVERRIDING SYSTEM VALUE"
        " VALUES (1, 1, 0, 1, 0.95)"
    )
    for number in (1, 2, 3, 4, 5, 7):
        connection.execute("INSERT INTO cluster_members (cluster_id, revision_id, run_id) VALUES (1, %s, 1)", [number])
    for edge in EDGES:
        connection.execute(
            "INSERT INTO edges (cluster_id, parent_id, child_id, relation, confidence, decided, evidence)"
            " VALUES (1, %s, %s, %s, %s, %s, '{}')",
            edge,
        )
    connection.execute("INSERT INTO duplicates (run_id, revision_id, of_id) VALUES (1, 5, 2)")
    # Declared in a circle, and by a model without a place.
    for child, parent in ((1, 3), (3, 2), (2, 1), (6, 3)):
        connection.execute(
            "INSERT INTO declared_parents (revision_id, name, relation, source, kind, parent_id, resolution)"
            " VALUES (%s, %s, 'finetune', 'card', 'hub', %s, 'exact')",
            [child, MODELS[parent - 1], parent],
        )


def test_nothing_is_without_a_comment(engine: Engine) -> None:
    with engine.connect() as connection:
        silent = connection.execute(
            text(
                "SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"
                " WHERE c.relnamespace = 'hublineage'::regnamespace AND a.attnum > 0"
                " AND col_description(c.oid, a.attnum) IS NULL"
                " UNION ALL SELECT relname FROM pg_class WHERE relnamespace = 'hublineage'::regnamespace"
                " AND relkind = 'v' AND obj_description(oid) IS NULL"
                " UNION ALL SELECT proname FROM pg_proc WHERE pronamespace IN ('hublineage'::regnamespace,"
                " 'hublineage_internal'::regnamespace) AND obj_description(oid) IS NULL ORDER BY 1"
            ).bindparams()
        ).scalars()
        assert list(silent) == []


def test_functions_that_read_for_others_have_a_fixed_search_path(engine: Engine) -> None:
    with engine.connect() as connection:
        loose = connection.execute(
            text(
                "SELECT proname FROM pg_proc WHERE pronamespace = 'hublineage'::regnamespace"
                " AND NOT (prosecdef AND 'search_path=pg_catalog, pg_temp' = ANY (proconfig))"
            )
        ).scalars()
        assert list(loose) == []


def test_the_reader_sees_the_surface_and_nothing_else(owner: psycopg.Connection, reading: psycopg.Connection) -> None:
    for view in views.VIEWS:
        reading.execute(f"SELECT * FROM hublineage.{view}".encode())
    assert len(reading.execute("SELECT * FROM hublineage.ancestors('org/leaf')").fetchall()) == 2
    assert reading.execute("SELECT hublineage.find('ORG/Leaf')").fetchone() == ("org/leaf",)
    refused = (
        "SELECT * FROM public.repositories",
        "SELECT * FROM public.alembic_version",
        "SELECT hublineage_internal.repository_of('org/leaf', NULL)",
        "DELETE FROM hublineage.models",
        "INSERT INTO public.sources (name) VALUES ('x')",
        "CREATE TABLE hublineage.mine (a int)",
    )
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        reading.execute("CREATE TEMPORARY TABLE mine (a int)")
    reading.execute("SET default_transaction_read_only = off")  # a default is no right
    for statement in refused:
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)):
            reading.execute(statement.encode())


def test_a_user_who_may_not_create_roles_gets_views_and_a_note(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "ROLE", "hublineage_nobody")
    monkeypatch.setattr(reader, "_ATTEMPT", reader._ATTEMPT.replace("hublineage_reader", "hublineage_nobody"))
    with engine.connect() as connection:
        connection.execute(text("CREATE ROLE no_maker"))
        connection.execute(text("SET LOCAL ROLE no_maker"))
        reader.grant(connection)
        assert "no_maker may not create one" in (reader.missing(connection) or "")
        connection.rollback()


def test_making_the_views_again_changes_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        views.create_views(connection)
        views.create_views(connection)
        assert reader.missing(connection) is None


def test_ancestors_are_each_once_with_the_confidence_of_the_way(owner: psycopg.Connection) -> None:
    query = (
        "SELECT depth, ancestor, via, round(path_confidence::numeric, 3)::float FROM hublineage.ancestors('org/other')"
    )
    assert owner.execute(query.encode()).fetchall() == [
        (1, "org/root", "org/other", 0.7),
        (1, "org/leaf", "org/other", 0.6),
        (2, "org/middle", "org/leaf", 0.48),
    ]


def test_a_copy_stands_where_its_original_stands(owner: psycopg.Connection) -> None:
    above = owner.execute("SELECT ancestor, via FROM hublineage.ancestors('org/copy')").fetchall()
    assert above == [("org/root", "org/copy")]
    below = owner.execute("SELECT descendant, relation FROM hublineage.descendants('org/root')").fetchall()
    assert ("org/copy", "duplicate") in below
    assert ("org/doubtful", "finetune") not in below
    undecided = owner.execute("SELECT descendant FROM hublineage.descendants('org/root', undecided => true)").fetchall()
    assert ("org/doubtful",) in undecided
    (same,) = owner.execute("SELECT direction FROM hublineage.path('org/copy', 'org/middle') OFFSET 1").fetchall()
    assert same == ("same weights",)


def test_a_page_of_descendants_is_the_nearest(owner: psycopg.Connection) -> None:
    everything = owner.execute("SELECT depth, descendant FROM hublineage.descendants('org/root')").fetchall()
    assert len(everything) == 4
    for size in (1, 2, 3, 4, 5):
        page = owner.execute(
            "SELECT depth, descendant FROM hublineage.descendants('org/root', at_most => %s)", [size]
        ).fetchall()
        assert len(page) == min(size, 4)
        assert max(depth for depth, _ in page) <= sorted(depth for depth, _ in everything)[len(page) - 1]


def test_a_circle_of_declared_parents_ends_and_is_said(owner: psycopg.Connection) -> None:
    said: list[str] = []
    owner.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
    found = owner.execute("SELECT depth, ancestor FROM hublineage.ancestors('org/root', 'declared')").fetchall()
    assert found == [(1, "org/leaf"), (2, "org/middle")]
    assert said == ["parents as declared go in a circle through org/root"]


def test_a_path_goes_up_and_down(owner: psycopg.Connection) -> None:
    rows = owner.execute("SELECT model, direction FROM hublineage.path('org/doubtful', 'org/leaf', undecided => true)")
    assert rows.fetchall() == [
        ("org/doubtful", "start"),
        ("org/root", "up"),
        ("org/middle", "down"),
        ("org/leaf", "down"),
    ]
    numbers = owner.execute("SELECT step FROM hublineage.path('org/leaf', 'org/root')").fetchall()
    assert all(after[0] == before[0] + 1 for before, after in pairwise(numbers))


def test_siblings_and_root(owner: psycopg.Connection) -> None:
    assert owner.execute("SELECT sibling, parent FROM hublineage.siblings('org/middle')").fetchall() == [
        ("org/other", "org/root")
    ]
    found = owner.execute("SELECT root, models, why FROM hublineage.root('org/leaf')").fetchone()
    assert found == ("org/root", 6, None)
    assert owner.execute("SELECT root, why FROM hublineage.root('org/lone')").fetchone() == (
        None,
        "its family kin was never measured",
    )


def test_what_cannot_be_answered_is_an_error_that_says_why(owner: psycopg.Connection) -> None:
    for query, words in (
        ("SELECT hublineage.find('org/midle')", "did you mean org/middle"),
        ("SELECT * FROM hublineage.ancestors('qqq')", "no model 'qqq' in the catalogue, nor a name like it"),
        ("SELECT * FROM hublineage.ancestors(NULL)", "no model was named"),
        ("SELECT * FROM hublineage.ancestors('org/lone')", "its family kin was never measured"),
        ("SELECT * FROM hublineage.nearest('org/leaf')", "nothing was measured of org/leaf"),
        ("SELECT * FROM hublineage.nearest('org/leaf', 0)", "at least 1"),
        ("SELECT * FROM hublineage.ancestors('org/leaf', 'all')", "inferred, declared or both"),
        ("SELECT hublineage.find('org/leaf', 'mars')", "it has https://hub.example"),
    ):
        with pytest.raises(psycopg.Error) as caught:
            owner.execute(query.encode())
        assert words in str(caught.value), query
    assert owner.execute("SELECT * FROM hublineage.ancestors('org/lone', strict => false)").fetchall() == []


def test_lineage_has_a_row_for_each_model_and_parent(owner: psycopg.Connection) -> None:
    rows = owner.execute("SELECT model, parent, known_by, best FROM hublineage.lineage ORDER BY 1, 2").fetchall()
    assert len(rows) == len(set(rows)) == 8
    assert ("org/leaf", "org/middle", "both", True) in rows
    assert ("org/lone", "org/leaf", "declared", True) in rows
    assert ("org/doubtful", "org/root", "inferred", False) in rows


def test_a_copy_that_is_named_is_looked_up_by_its_hash(owner: psycopg.Connection) -> None:
    owner.execute("UPDATE revisions SET weights_digest = '1' WHERE id IN (2, 5, 6)")
    owner.execute("UPDATE repositories SET created_at = now() - interval '1 day' WHERE name = 'org/copy'")
    everything = owner.execute("SELECT model, copy_of, copies FROM hublineage.copies ORDER BY 1").fetchall()
    assert everything == [("org/lone", "org/copy", 3), ("org/middle", "org/copy", 3)]
    assert owner.execute("SELECT copy_of FROM hublineage.copies WHERE model = 'org/copy'").fetchall() == []
    owner.execute(  # enough for an index to be worth it
        "INSERT INTO repositories (id, source_id, name) OVERRIDING SYSTEM VALUE"
        " SELECT id, 1, 'bulk/' || id FROM generate_series(100, 5000) AS id"
    )
    owner.execute(
        "INSERT INTO revisions (id, repository_id, sha, weights, weights_digest) OVERRIDING SYSTEM VALUE"
        " SELECT id, id, 'sha', 'safetensors', decode(md5(id::text), 'hex') FROM repositories WHERE id >= 100"
    )
    owner.execute("UPDATE repositories SET current_revision_id = id WHERE id >= 100")
    owner.execute("ANALYZE repositories, revisions, sources")
    plan = "\n".join(
        row[0] for row in owner.execute("EXPLAIN SELECT * FROM hublineage.copies WHERE model = 'org/lone'").fetchall()
    )
    assert "ix_revisions_weights_digest" in plan
    assert "Seq Scan on revisions" not in plan
    assert "Seq Scan on repositories" not in plan


def test_the_page_names_every_view_and_every_function() -> None:
    page = (Path(__file__).parents[2] / "docs/sql.md").read_text()
    table = "\n".join(line for line in page.splitlines() if line.startswith("| `"))
    assert [view for view in views.VIEWS if f"`{view}`" not in table] == []
    internal = {"nearest_names", "repository_of", "place_of", "why_no_place", "begin_walk", "walk"}
    assert [name for name in views.FUNCTIONS if name not in internal and f"`{name}(" not in table] == []
