"""Migrations go up and down, equal the models, and bring the public views."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text
from sqlalchemy.exc import IntegrityError

from db import schema
from db.engine import connect, transaction
from db.errors import DatabaseUnreachable, UsageError
from db.models import Base
from db.views import SCHEMA, VIEWS


@pytest.fixture
def empty(server: str) -> Iterator[Engine]:
    """An engine on a database without anything."""
    name = "schema_test"
    control = re.sub(r"/\w+\?", "/postgres?", server)
    with psycopg.connect(control, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE {name}".encode())
    engine = connect(re.sub(r"/\w+\?", f"/{name}?", server))
    yield engine
    engine.dispose()


def tables(engine: Engine) -> set[str]:
    return set(inspect(engine).get_table_names())


def test_migrations_go_up_down_to_nothing_and_up_again(empty: Engine) -> None:
    assert schema.upgrade(empty) == schema.newest()
    full = tables(empty)
    assert set(Base.metadata.tables) < full
    schema.downgrade(empty, "base")
    assert tables(empty) == {"alembic_version"}
    assert schema.upgrade(empty) == schema.newest()
    assert tables(empty) == full


def test_the_migrated_schema_equals_the_models(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": schema.is_ours})
        assert compare_metadata(context, Base.metadata) == []


def test_two_upgrades_at_once_give_one_schema(empty: Engine) -> None:
    with ThreadPoolExecutor(2) as pool:
        versions = list(pool.map(lambda _: schema.upgrade(empty), range(2)))
    assert versions == [schema.newest()] * 2


def test_a_database_of_a_newer_program_is_refused(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UsageError, match="9999, newer than this program"):
        schema.upgrade(engine)


def test_every_view_is_there_and_says_what_it_is(engine: Engine) -> None:
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT relname, obj_description(oid) FROM pg_class WHERE relnamespace = CAST(:name AS regnamespace)"),
            {"name": SCHEMA},
        ).all()
        comments = {view: comment for view, comment in rows}  # noqa: C416  # rows are not pairs to the type checker
        assert set(comments) == set(VIEWS)
        assert all(comments.values())
        for view in VIEWS:
            rows_there = connection.execute(text(f"SELECT count(*) FROM {SCHEMA}.{view}")).scalar()
            assert rows_there == (view == "schema_version")


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        ("INSERT INTO repositories (source_id, name) VALUES (1, '')", "ck_repositories_named"),
        ("INSERT INTO repositories (source_id, name) VALUES (1, 'a/b'), (1, 'a/b')", "uq_repositories_source_id_name"),
        ("INSERT INTO repositories (source_id, name, gated) VALUES (1, 'a/b', 'perhaps')", "ck_repositories_gated"),
        (
            "INSERT INTO runs (family_id, method, parameters, versions, inputs, inputs_digest, is_current) VALUES"
            " (1, 'm', '{}', '{}', '{}', '1', true), (1, 'm', '{}', '{}', '{}', '2', true)",
            "uq_runs_current",
        ),
        (
            "INSERT INTO measure_batches (family_id, metric_version, members, against) VALUES (1, 1, '{1}', '{1}')",
            "ck_measure_batches_members",
        ),
        (
            "INSERT INTO measure_batches (family_id, metric_version, members, against) VALUES"
            " (1, 1, '{1}', '{}'), (1, 1, '{2}', '{}')",
            "uq_measure_batches_unfinished",
        ),
        (
            "WITH r AS (INSERT INTO repositories (source_id, name) VALUES (1, 'a/b') RETURNING id)"
            " INSERT INTO revisions (repository_id, sha, weights) SELECT id, '0', 'pickle' FROM r",
            "ck_revisions_weights",
        ),
        (
            "INSERT INTO edges (cluster_id, parent_id, child_id, relation, confidence, decided, evidence) VALUES"
            " (1, 7, 7, 'finetune', 0.5, true, '{}')",
            "ck_edges_no_self",
        ),
        (
            "INSERT INTO edges (cluster_id, parent_id, child_id, relation, confidence, decided, evidence) VALUES"
            " (1, 7, 8, 'finetune', 1.01, true, '{}')",
            "ck_edges_confidence",
        ),
        (
            "INSERT INTO absent_parents (cluster_id, number, child_id) VALUES (1, 0, 7)",
            "fk_absent_parents_cluster_id_cluster_members",
        ),
        ("INSERT INTO duplicates (run_id, revision_id, of_id) VALUES (1, 7, 7)", "ck_duplicates_no_self"),
        (
            "INSERT INTO verdicts (revision_id, verdict, why, declared, inferred)"
            " VALUES (1, 'perhaps', '', '{}', '{}')",
            "ck_verdicts_verdict",
        ),
    ],
)
def test_the_database_refuses_what_cannot_be(engine: Engine, statement: str, constraint: str) -> None:
    with transaction(engine) as session:
        session.execute(text("INSERT INTO sources (id, name) OVERRIDING SYSTEM VALUE VALUES (1, 'file:///models')"))
        session.execute(text("INSERT INTO families (id, source_id, name) OVERRIDING SYSTEM VALUE VALUES (1, 1, 'f')"))
    with pytest.raises(IntegrityError, match=constraint), transaction(engine) as session:
        session.execute(text(statement))


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://user@host/name", "not a PostgreSQL address"),
        ("nonsense", "no database address"),
        ("postgresql://user:secret@127.0.0.1:1/name", "127.0.0.1:1/name"),
    ],
)
def test_a_wrong_address_is_named_without_its_password(url: str, words: str) -> None:
    with pytest.raises(DatabaseUnreachable) as caught:
        connect(url)
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
