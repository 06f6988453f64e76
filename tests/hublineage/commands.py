"""The command, run in this process or as a program of its own, and what it answers."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hublineage import cli

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
    """`hublineage` on the database of an address; None: on its own."""

    def __init__(self, url: str | None) -> None:
        self.url = url or ""

    def __call__(self, *arguments: object) -> Answer:
        """Run it in this process."""
        out, err, code = io.StringIO(), io.StringIO(), 0
        with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
            if self.url:
                patch.setenv("DATABASE_URL", self.url)
            else:
                patch.delenv("DATABASE_URL", raising=False)
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


class Forked:
    """The command in a process of its own, forked from one that has imported it: a fresh start takes seconds."""

    def __init__(self, folder: Path, *arguments: object, **environment: str | None) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["hublineage.cli", "hublineage.cli_worker", "hublineage.job"])
        folder.mkdir(exist_ok=True)
        self._outputs = folder / "out", folder / "err"
        for output in self._outputs:
            output.write_text("")
        self.process = context.Process(
            target=_run_forked, args=(*self._outputs, [str(one) for one in arguments], environment)
        )
        self.process.start()

    def finished(self) -> Answer:
        """Wait for the end; the code of one that was killed is minus the signal."""
        self.process.join(120)
        code = self.process.exitcode
        assert code is not None, "it does not end"
        return Answer(code, *(output.read_text() for output in self._outputs))

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self.process.pid is not None
        os.kill(self.process.pid, number)


def _run_forked(out: Path, err: Path, arguments: list[str], environment: Mapping[str, str | None]) -> None:
    for name, value in environment.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    sys.argv = ["hublineage", *arguments]
    with out.open("w") as sys.stdout, err.open("w") as sys.stderr:
        cli.main()


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
