"""The command `hublineage`.

Results go to stdout (as JSON where asked), progress and messages to stderr. Exit codes: 0 the job ran, 1 something
unforeseen, 2 wrong usage, 3 nothing could be done, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from db.errors import HublineageError
from hublineage.deferred import group_of
from hublineage.settings_file import say_file

# Name, where it is, and the first line of its help, which a test holds against the command's own.
COMMANDS = (
    ("run", "hublineage.cli_stages:run", "Crawl, measure, infer and compare, in this order."),
    (
        "crawl",
        "hublineage.cli_stages:crawl",
        "List repositories and describe new revisions: cards, declared parents, headers of weights.",
    ),
    (
        "measure",
        "hublineage.cli_stages:measure",
        "Stream the weights of all crawled models, layer by layer, and store their measures.",
    ),
    ("infer", "hublineage.cli_stages:infer", "Recover the model trees of all measured families, from what is stored."),
    (
        "compare",
        "hublineage.cli_compare:compare",
        "Hold what cards declare against what was inferred; docs/verdicts.md defines the ten verdicts.",
    ),
    (
        "licences",
        "hublineage.cli_licences:licences",
        "Hold licences along lineage: what of an ancestor's licence does not reach its descendants. Not legal advice.",
    ),
    (
        "relation",
        "hublineage.cli_relation:relation",
        "Say how likely A is the parent of B, its child, its sibling, unrelated, ... by the learned detector.",
    ),
    (
        "tree",
        "hublineage.cli_models:tree",
        "Draw the tree that a model belongs to, each edge marked: both, inferred, contradicted, declared.",
    ),
    (
        "show",
        "hublineage.cli_models:show",
        "Say all that is known of a model: card, parents, children, evidence, verdict, failures.",
    ),
    (
        "status",
        "hublineage.cli_models:status",
        "Count what the catalogue holds, what is pending, and failures by reason.",
    ),
    ("runs", "hublineage.cli_runs:app", "The runs of inference: list them, pin them, remove old ones."),
    (
        "diff",
        "hublineage.cli_runs:diff",
        "Say what changed between two runs of a family, and what each change goes with.",
    ),
    (
        "export",
        "hublineage.cli_export:export",
        "Write what the catalogue knows for other programs: whole tables, or the lineage of a model or a family.",
    ),
    (
        "enqueue",
        "hublineage.cli_enqueue:enqueue",
        "Put the main job for a source into the queue: its crawl, and all that follows from it.",
    ),
    (
        "worker",
        "hublineage.cli_worker:worker",
        "Do what is in the queue, with any number of other workers on the same DATABASE_URL.",
    ),
    (
        "schedule",
        "hublineage.cli_worker:schedule",
        "Queue what the settings follow, by their cron expressions: increments, sweeps, inference, retention.",
    ),
    ("jobs", "hublineage.cli_jobs:app", "The queue: list, retry, cancel and watch its jobs."),
    (
        "config",
        "hublineage.cli_config:config",
        "Print the settings that are in force, and where each came from: default, file, environment or option.",
    ),
    ("db", "hublineage.cli_db:app", "The database: an embedded PostgreSQL, or the one of DATABASE_URL."),
    ("hub", "hublineage.cli_hub:app", "A Hub of your own over a folder of models."),
)

app = typer.Typer(
    cls=group_of(COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    epilog="Start: hublineage run --folder DIR, or hublineage run --author ORG. Then: hublineage tree ORG/NAME.",
)


@app.callback()
def settings(
    config: Annotated[
        Path | None,
        typer.Option(
            help="The settings file; by default that of HUBLINEAGE_CONFIG, else config.toml in the user's "
            "configuration folder (`hublineage config` prints which)."
        ),
    ] = None,
) -> None:
    """Which model was a model trained from? Lineage of Hugging Face Hub models, inferred from their weights."""
    say_file(config)


def main() -> None:
    """Run the command; turn errors into one line and an exit code."""
    # The reader of our JSON may be gone (`| head`): that is no error of ours.
    try:
        app(standalone_mode=True)
    except HublineageError as error:
        print(f"hublineage: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("hublineage: interrupted; the same command goes on from here", file=sys.stderr)  # noqa: T201
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
