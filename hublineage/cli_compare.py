"""The command `compare`: verdicts with their reasons, how well cards agree with weights, and proposals for cards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from crawler.source import Source
from db.errors import UsageError
from hublineage import answers, card_folder, comparison, render
from hublineage.context import console, crawled_sources, print_json, said_source, working
from hublineage.options import DataDir, Endpoint, Folder, Json
from hublineage.progress import reporting
from hublineage.sources import open_source
from hublineage.verdict_summary import GROUPINGS, read_truth, summary

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUPS_SHOWN = 20

Model = Annotated[str | None, typer.Argument(help="One model: its verdict as it was compared last, with the reason.")]
By = Annotated[
    str | None, typer.Option("--by", help="Sum up by organisation, architecture or relation (as declared); by all.")
]
TruthFile = Annotated[
    Path | None,
    typer.Option(
        "--truth",
        help='What is true, for precision and recall: {"models": {NAME: {"parents": [NAME]}}}. No inference reads it.',
    ),
]
FixCards = Annotated[
    Path | None,
    typer.Option(
        "--fix-cards",
        help="Write the cards that should name other parents into this folder, for review, with an index of reasons. "
        "Nothing is sent anywhere.",
    ),
]


def compare(
    model: Model = None,
    folder: Folder = None,
    endpoint: Endpoint = None,
    by: By = None,
    truth: TruthFile = None,
    fix_cards: FixCards = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Hold what cards declare against what was inferred; docs/verdicts.md defines the ten verdicts.

    The summary counts coverage (models of which the weights say something) and agreement (of those that declare a
    parent).

    hublineage compare --by organisation

    hublineage compare --fix-cards ./proposed

    hublineage compare ORG/NAME
    """
    if by is not None and by not in GROUPINGS:
        raise UsageError(f"--by {by}: expected {', '.join(GROUPINGS)}")
    known = read_truth(truth) if truth is not None else None
    if fix_cards is not None:
        card_folder.check(fix_cards)
    with working(data_dir) as context, reporting() as report:
        if model is not None:
            _one(answers.verdict(context.engine, model, said_source(folder, endpoint)), as_json)
            return
        found = comparison.compared(context.engine, crawled_sources(context.engine, folder, endpoint))
        written = None
        if fix_cards is not None:

            def opened(name: str) -> Source:
                return open_source(name, context.engine, context.settings, report)

            written = card_folder.write(fix_cards, *comparison.proposals(found, opened))
    groupings = (by,) if by is not None else GROUPINGS
    told = summary(found.judged, groupings, known, found.against(known) if known is not None else None)
    if as_json:
        cards = {} if written is None else {"cards": _cards(fix_cards, written)}
        print_json({"verdicts": found.verdicts, "summary": told, **cards})
        return
    _print(found.verdicts, told, groupings)
    if written is not None:
        _print_cards(_cards(fix_cards, written))


def _one(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    screen = console()
    if found["verdict"]:
        screen.print(render.verdict_table([found]))
    screen.print(f"{found['verdict'] or 'no verdict'}: {found['why']}", highlight=False, markup=False, soft_wrap=True)


def _print(verdicts: list[dict[str, Any]], told: Mapping[str, Any], groupings: tuple[str, ...]) -> None:
    screen = console()
    screen.print(render.verdict_table(verdicts, reasons=True))
    screen.print(render.verdict_counts(verdicts), highlight=False)
    for grouping in groupings:
        screen.print(_table(grouping, told))


def _table(grouping: str, told: Mapping[str, Any]) -> Table:
    """Coverage and agreement by group, and the scores where a truth is known."""
    truth = told["all"].get("truth", {})
    names = ("precision", "recall", "declared precision", "declared recall", "verdicts as stated")
    scores = [name for name in names if truth.get(name) is not None]
    table = Table(box=None, pad_edge=False, header_style="bold")
    groups = told[grouping]
    longest = max((len(row["group"]) for row in groups[:GROUPS_SHOWN]), default=0)
    table.add_column(f"\nby {grouping}", overflow="fold", min_width=min(longest, 32))
    for column in ("models", "coverage", "agreement", *scores):
        table.add_column("\n" + column.replace(" ", "\n"), justify="right")
    table.add_column("\nverdicts", overflow="fold")
    for row in [*groups[:GROUPS_SHOWN], {"group": "all", **told["all"]}]:
        shares = [row["coverage"], row["agreement"], *(row["truth"][name] for name in scores)]
        counts = ", ".join(f"{count} {verdict}" for verdict, count in row["verdicts"].items())
        table.add_row(row["group"], str(row["models"]), *map(_percent, shares), counts)
    if len(groups) > GROUPS_SHOWN:
        table.caption = f"and {len(groups) - GROUPS_SHOWN} smaller ones; --json has all"
    return table


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _cards(folder: Path | None, written: card_folder.Written) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "sent": "nothing",
        "proposed": written.cards,
        "left": written.left,
        "kept": written.kept,
        "removed": written.removed,
    }


def _print_cards(cards: Mapping[str, Any]) -> None:
    words = [
        f"{len(cards['proposed'])} cards are proposed in {cards['folder']}, with reasons in {card_folder.READABLE}; "
        "nothing is sent",
        f"{len(cards['left'])} disagreements have no proposal; the index says why" if cards["left"] else "",
        f"{len(cards['kept'])} were edited since and stay as they are" if cards["kept"] else "",
        f"{len(cards['removed'])} are no longer proposed" if cards["removed"] else "",
    ]
    for line in filter(None, words):
        console().print(line, highlight=False, markup=False, soft_wrap=True)  # a path must stay whole
