"""The command, run in this process or as a program of its own, on databases of one shared server."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

from db import embedded
from hublineage import cli
from small_models import write_lineage

_NUMBERS = count(1)
NewDatabase = Callable[[], str]


@dataclass(frozen=True)
class Answer:
    """What the command answered."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout, which must be one JSON value and nothing else."""
        return json.loads(self.out)


class Command:
    """`hublineage`, with a database of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __call__(self, *arguments: object) -> Answer:
        """Run it in this process."""
        out, err, code = io.StringIO(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            patch.setenv("DATABASE_URL", self.url)
            patch.setattr(sys, "argv", ["hublineage", *map(str, arguments)])
            try:
                cli.main()
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else 1
        return Answer(code, out.getvalue(), err.getvalue())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query answers."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def execute(self, statements: str) -> None:
        """Run statements that answer nothing."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statements.encode())


def program(*arguments: object, **environment: str | None) -> subprocess.Popen[str]:
    """Start the command as a program of its own; None takes a variable out of its environment."""
    changed = {**os.environ, **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "hublineage", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(cli.__file__).parent.parent,
        env={name: value for name, value in changed.items() if value is not None},
    )


def finished(process: subprocess.Popen[str]) -> Answer:
    """Wait for the program's end."""
    out, err = process.communicate(timeout=120)
    return Answer(process.returncode, out, err)


def without_runs(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result without the numbers of its runs."""
    families = [{key: value for key, value in family.items() if key != "run"} for family in result["families"]]
    return {**result, "families": families}


def one_line(answer: Answer) -> str:
    """The message of a command that failed: its last line, without a traceback anywhere."""
    assert "Traceback" not in answer.err + answer.out, answer.err
    lines = answer.err.strip().splitlines()
    messages = [line for line in lines if line.startswith("hublineage: ")]
    assert len(messages) == 1, answer.err
    assert lines[-1] == messages[0], answer.err
    return messages[0]


@pytest.fixture(scope="session")
def new_database(server: str) -> Iterator[NewDatabase]:
    """Makes a fresh, migrated database and returns its address; all are dropped at the end."""
    made: list[str] = []
    control = server.replace(f"/{embedded.DATABASE}?", "/postgres?")
    with psycopg.connect(control, autocommit=True) as connection:
        # Nothing of these databases must outlive a crash of the machine.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")

        def make() -> str:
            made.append(f"command_{next(_NUMBERS)}")
            connection.execute(f"CREATE DATABASE {made[-1]} TEMPLATE {embedded.DATABASE}".encode())
            return server.replace(f"/{embedded.DATABASE}?", f"/{made[-1]}?")

        yield make
        for name in made:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def command(new_database: NewDatabase) -> Command:
    """The command on an empty database."""
    return Command(new_database())


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a known lineage; to be read only."""
    return write_lineage(tmp_path_factory.mktemp("lineage") / "models")


@pytest.fixture(scope="session")
def populated(new_database: NewDatabase, models: Path) -> Iterator[tuple[Command, Any]]:
    """The command on a database that knows `models`, to be read only, and the result of its run."""
    known = Command(new_database())
    answer = known("run", "--folder", models, "--json", "--weights-only")
    assert answer.code == 0, answer.err
    yield known, answer.json
