"""Declared against inferred for whole sources, as the command `compare` shows it: verdicts, summary, proposals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from db import lineage as rows
from db import verdicts
from db.declared import WEAK_SOURCES
from db.engine import transaction
from db.errors import Failure, SourceUnreachable
from hublineage.card_header import HeaderUnreadable
from hublineage.card_proposals import Disagreement, Left, Proposal, by_child, proposal
from hublineage.result import result
from hublineage.verdict_summary import Judged, Scored, Truth, scored

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Engine

    from crawler.source import Source

CARD_LIMIT = 2 << 20  # bytes of a card


@dataclass
class Compared:
    """What the comparison of some sources gives."""

    verdicts: list[dict[str, Any]] = field(default_factory=list)
    judged: list[Judged] = field(default_factory=list)
    measured: set[str] = field(default_factory=set)
    inferred: set[tuple[str, str]] = field(default_factory=set)  # decided: (parent, child)
    declared: set[tuple[str, str]] = field(default_factory=set)
    duplicates: list[list[str]] = field(default_factory=list)
    disagreements: dict[str, list[Disagreement]] = field(default_factory=dict)  # by source
    revisions: dict[str, str] = field(default_factory=dict)  # model -> commit
    cards: set[str] = field(default_factory=set)  # models that have a card

    def against(self, truth: Truth) -> Scored:
        """What a truth is held against."""
        return scored(truth, self.inferred, self.declared, self.measured, self.duplicates)


def compared(engine: Engine, sources: Sequence[tuple[str, int]]) -> Compared:
    """Compare anew, and gather what there is to say of it."""
    from lineage.compare import compare  # noqa: PLC0415  # it joins the mathematics: torch takes seconds

    found = Compared()
    for name, number in sources:
        compare(engine, number)
        everything = result(engine, number)
        edges = [edge for family in everything["families"] for tree in family["trees"] for edge in tree["edges"]]
        with transaction(engine) as session:
            profiles = verdicts.profiles(session, number, WEAK_SOURCES)
            models = rows.models(session, number)
            found.revisions |= rows.shas(session, [model.revision_id for model in models])
            found.cards |= verdicts.with_file(session, number, "README.md")
        found.measured |= {model for family in everything["families"] for model in family["models"]}
        found.inferred |= {(one["parent"], one["child"]) for one in edges if one["decided"]}
        found.duplicates += everything["duplicates"]
        lower = {model.name.lower(): model.name for model in models}
        for row in everything["verdicts"]:
            parents = {lower.get(one.lower(), one) for one in row["declared"]}
            found.declared |= {(parent, row["model"]) for parent in parents}
            architecture, relation = profiles.get(row["model"], (None, None))
            judged = Judged(row["model"], row["verdict"], bool(row["declared"]), architecture, relation)
            found.judged.append(judged)
        found.verdicts += everything["verdicts"]
        family_of = {model: family["family"] for family in everything["families"] for model in family["models"]}
        originals = _originals(everything["duplicates"], {model.name: model.created_at for model in models})
        parents_of = by_child(edges)
        stands = {one: group[0] for group in everything["duplicates"] for one in group}
        found.disagreements[name] = [
            Disagreement(
                row["model"],
                row["verdict"],
                row["why"],
                parents_of.get(stands.get(row["model"], row["model"]), []),
                originals.get(row["model"]),
                [
                    one
                    for one in row["declared"]
                    if family_of.get(lower.get(one.lower(), one)) != family_of.get(row["model"])
                ],
            )
            for row in everything["verdicts"]
        ]
    return found


def _originals(groups: Sequence[Sequence[str]], created: Mapping[str, datetime | None]) -> dict[str, str]:
    """Copy -> original, where the dates of all of a group are known and one of them is the earliest."""
    found = {}
    for group in groups:
        dates = {name: moment for name in group if (moment := created.get(name)) is not None}
        if len(dates) < len(group):
            continue
        first, second = sorted(group, key=lambda name: dates[name])[:2]
        if dates[first] < dates[second]:
            found.update({name: first for name in group if name != first})
    return found


def proposals(found: Compared, open_source: Callable[[str], Source]) -> tuple[list[Proposal | Left], dict[str, Any]]:
    """What cards should say, and the cards as they are now: read from their sources, at the revisions that we know."""
    every: list[Proposal | Left] = []
    cards: dict[str, str | HeaderUnreadable] = {}
    for name, disagreements in found.disagreements.items():
        some = [one for one in map(proposal, disagreements) if one is not None and one.model not in cards]
        every += some
        wanted = [one.model for one in some if isinstance(one, Proposal)]
        if wanted:
            with closing(open_source(name)) as source:
                cards |= {
                    model: _card(source, model, found.revisions[model]) if model in found.cards else ""
                    for model in wanted
                }
    return sorted(every, key=lambda one: one.model), cards


def _card(source: Source, model: str, sha: str) -> str | HeaderUnreadable:
    """A model's card, or why it cannot be had."""
    try:
        return source.read_small(model, sha, "README.md", CARD_LIMIT).decode()
    except UnicodeDecodeError as error:
        return HeaderUnreadable(f"the card is not UTF-8 at byte {error.start}")
    except (Failure, SourceUnreachable) as error:
        return HeaderUnreadable(f"the card cannot be read now: {error}")
