"""Commands are imported when they are called: help is quick, and says what the commands themselves say."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import typer
from typer.core import TyperGroup

from hublineage import cli, cli_licences, options
from hublineage.cli import COMMANDS
from hublineage.deferred import Deferred
from lineage import licence_findings
from lineage.initialisation import Scheme
from lineage.mother import Metric
from lineage.partition import Clustering

HEAVY = ("torch", "scipy", "sklearn", "pyarrow", "numba")
ALSO = ("numpy", "sqlalchemy", "huggingface_hub", "procrastinate", "alembic", "psycopg")


def loaded_by(code: str) -> set[str]:
    """The libraries that are there after some code ran in a fresh interpreter."""
    asked = f"import sys\n{code}\nprint(*(one for one in {(*HEAVY, *ALSO)!r} if one in sys.modules))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


READERS = ("compare", "runs", "diff", "export", "db")  # load what reads the database, and nothing that computes
WRONG = (
    ["worker", "--queues", "none"],
    ["worker", "--once", "--drain"],
    ["jobs", "--state", "none"],
    ["jobs", "retry"],
    ["jobs", "cancel", "--task", "none"],
)


def called(*lines: list[str]) -> set[str]:
    """The libraries that are there after these command lines, one after the other."""
    call = (
        f"for words in {lines!r}:\n    sys.argv = ['hublineage', *words]\n    try:\n        main()\n"
        "    except SystemExit:\n        print()"
    )
    return loaded_by(f"from hublineage.cli import main\n{call}")


def test_help_and_wrong_usage_import_no_library_that_computes_or_stores() -> None:
    assert called(["--help"], *([name, "--help"] for name, _, _ in COMMANDS if name not in READERS), *WRONG) == set()


def test_no_help_imports_a_library_that_computes() -> None:
    assert not called(*([name, "--help"] for name in READERS)) & set(HEAVY)


def test_commands_that_read_do_without_what_computes() -> None:
    modules = ("cli_models", "answers", "cli_compare", "licence_answers", "cli_runs", "cli_export", "cli_db", "render")
    code = "\n".join(f"import hublineage.{name}" for name in modules)
    assert not loaded_by(code) & set(HEAVY)


def test_the_list_of_commands_says_what_their_own_help_begins_with() -> None:
    group = typer.main.get_command(cli.app)
    assert isinstance(group, TyperGroup)
    for name, command in group.commands.items():
        assert isinstance(command, Deferred)
        own = command.loaded()
        assert own.name == name or isinstance(own, TyperGroup)
        assert " ".join((own.help or "").split("\n\n")[0].split()) == command.help, name


def test_options_know_the_names_that_the_methods_know() -> None:
    for names, known in (
        (options.MetricName, Metric),
        (options.ClusteringName, Clustering),
        (options.SchemeName, Scheme),
    ):
        assert get_args(names) == tuple(one.value for one in known)


def test_the_help_of_licences_names_the_kinds_that_there_are() -> None:
    assert cli_licences.KINDS == licence_findings.KINDS
    assert cli_licences.SEVERITIES == licence_findings.SEVERITIES
