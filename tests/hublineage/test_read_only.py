"""`hublineage db url --read-only`: an address that sees the public surface and nothing else, for psql and pandas."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import psycopg
import pytest
from commands import Command
from sqlalchemy import create_engine

from db import embedded


def test_the_read_only_address_reads_the_surface_and_can_do_nothing_else(command: Command, models: Path) -> None:
    assert command("run", "--folder", models, "--weights-only").code == 0
    url = command("db", "url", "--read-only").out.strip()
    assert "hublineage_reader" in url
    with psycopg.connect(url, autocommit=True) as reading:
        schemas = reading.execute(
            "SELECT DISTINCT table_schema FROM information_schema.table_privileges"
            " WHERE grantee = current_user AND table_schema NOT IN ('pg_catalog', 'information_schema')"
        ).fetchall()
        assert schemas == [("hublineage",)]
        (above,) = reading.execute("SELECT count(*) FROM hublineage.ancestors('oak/left-a')").fetchone() or (None,)
        assert above == 2
        reading.execute("SET default_transaction_read_only = off")
        for refused in (
            "SELECT * FROM public.verdicts",
            "UPDATE hublineage.models SET model = 'x'",
            "DELETE FROM hublineage.verdicts",
            "INSERT INTO hublineage.models (model) VALUES ('x')",
            "INSERT INTO public.sources (name) VALUES ('x')",
            "CREATE TABLE hublineage.mine (a int)",
            "CREATE TABLE public.mine (a int)",
            "COPY (SELECT 1) TO PROGRAM 'true'",
            "SELECT pg_read_file('/etc/hostname')",
        ):
            # The second is of a view of several tables, which takes no rows from anybody.
            with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)):
                reading.execute(refused.encode())
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    frame = pd.read_sql("SELECT model, verdict FROM hublineage.verdicts", engine)
    engine.dispose()
    assert [(len(frame),)] == command.rows("SELECT count(*) FROM verdicts")
    assert command("crawl", "--folder", models).code == 0  # the owner still writes


def test_an_address_of_a_server_that_does_not_run_is_no_address(tmp_path: Path) -> None:
    answer = Command(None)("db", "url", "--read-only", "--data-dir", tmp_path)
    assert answer.code == 2
    assert "db start" in answer.err
    assert not embedded.is_running(tmp_path)
