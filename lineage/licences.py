"""Licences as data: what each asks of whoever shares a model made from another, and how cards name them. Pure.

The rules are in licences.json, each with the address of its text and the sections that it rests on. They are a
conservative reading and no legal advice: where a text is not known here, the answer is to read it. Names are the Hub's
(https://huggingface.co/docs/hub/repositories-licenses) and SPDX's (https://spdx.org/licenses), alone, in lists, or in
SPDX expressions ("Apache-2.0 OR MIT", https://spdx.github.io/spdx-spec/v3.0.1/annexes/spdx-license-expressions/).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

from license_expression import (  # type: ignore[import-untyped]  # it has no annotations
    AND,
    OR,
    ExpressionError,
    get_spdx_licensing,
)

NOTICE = (
    "Not legal advice: a conservative reading of declared licences along edges inferred from weights. "
    "Read the licences' texts."
)
NAME_LIMIT = 200  # characters of what a card says
ALTERNATIVES_LIMIT = 16  # of one expression: no honest card has more
_RULES = Path(__file__).with_name("licences.json")


@dataclass(frozen=True)
class Rule:
    """What is known of one licence; the fields are described in licences.json."""

    id: str
    name: str
    kind: str  # the class: permissive, share-alike, community and so on; "unclear" where nothing is known
    url: str
    commercial: bool | None
    derivatives: bool | None
    duties: Mapping[str, str]  # duty -> the section that asks it
    compatible: frozenset[str]
    carried_by: frozenset[str]
    akin: frozenset[str]
    clashes: frozenset[str]
    name_prefix: str | None
    shows: str | None

    @property
    def clear(self) -> bool:
        """Whether anything is known of it."""
        return self.kind != "unclear"

    @property
    def restrictive(self) -> bool:
        """Whether it asks more than attribution."""
        return bool(self.duties.keys() - {"attribution"})


@dataclass(frozen=True)
class Declared:
    """The licence that a model declares.

    `alternatives` are sets of rules' ids: one of the sets applies, all of its licences together. Of a list in a card
    nobody can tell whether all or any of them apply, so both readings are kept: `listed` says that there is one.
    """

    names: tuple[str, ...] = ()  # as written
    alternatives: tuple[frozenset[str], ...] = ()
    listed: bool = False
    name: str | None = None  # license_name
    link: str | None = None  # license_link
    where: str | None = None  # "card" or "tags"

    @property
    def ids(self) -> tuple[str, ...]:
        """All rules that it names, in order."""
        return tuple(sorted({one for some in self.alternatives for one in some}))

    @property
    def together(self) -> tuple[frozenset[str], ...]:
        """As an ancestor's: all of a list apply."""
        return (frozenset(self.ids),) if self.listed and self.alternatives else self.alternatives

    def __str__(self) -> str:
        words = ", ".join(self.names) or "none"
        return f"{words} ({self.name})" if self.name else words


@cache
def rules() -> Mapping[str, Rule]:
    """All rules by their id."""
    return {row["id"]: _rule(row) for row in json.loads(_RULES.read_text())["licences"]}


@cache
def duty_words() -> Mapping[str, str]:
    """What each duty asks, in words."""
    words: dict[str, str] = json.loads(_RULES.read_text())["duties"]
    return words


def _rule(row: Mapping[str, Any]) -> Rule:
    return Rule(
        row["id"],
        row["name"],
        row["class"],
        row["url"],
        row["commercial"],
        row["derivatives"],
        {one["duty"]: one["section"] for one in row.get("duties", ())},
        frozenset((row["id"], *row.get("compatible", ()))),
        frozenset((row["id"], *row.get("carried_by", ()))),
        frozenset(row.get("akin", ())),
        frozenset(row.get("clashes", ())),
        row.get("name_prefix"),
        row.get("shows"),
    )


@cache
def _spellings() -> Mapping[str, str]:
    """Every spelling that we know, plain, and the rule that it means."""
    found: dict[str, str] = {}
    for row in json.loads(_RULES.read_text())["licences"]:
        for word in (*row.get("aliases", ()), row["name"], *row.get("spdx", ()), row["id"]):
            found[_plain(word)] = row["id"]
    return found


def _plain(word: str) -> str:
    plain = re.sub(r"[\s_-]+", "-", word.strip().lower().removeprefix("the ").removeprefix("license:"))
    return plain.removesuffix("-agreement")


def rule(identifier: str) -> Rule:
    """The rule of an id; for an id without a rule one that says so, with the address of its text if SPDX has it."""
    known = rules().get(identifier)
    if known is not None:
        return known
    none: frozenset[str] = frozenset()
    symbol = _spdx_key(identifier)
    url = f"https://spdx.org/licenses/{symbol}.html" if symbol else ""
    return Rule(identifier, symbol or identifier, "unclear", url, None, None, {}, none, none, none, none, None, None)


@cache
def _licensing() -> Any:
    return get_spdx_licensing()


def _spdx_key(word: str) -> str | None:
    """The SPDX identifier that a word is, in its own letters."""
    known = {key.lower(): key for key in _licensing().known_symbols}
    return known.get(word.lower())


@cache
def _expression(words: str) -> tuple[frozenset[str], ...]:
    """The alternatives of what stands for a licence: a name, or an SPDX expression; an unknown name is its own id."""
    plain = _plain(words)
    if plain in _spellings():
        return (frozenset((_spellings()[plain],)),)
    try:
        parsed = _licensing().parse(words)
    except (ExpressionError, ValueError, AttributeError, TypeError):
        parsed = None
    if parsed is None:
        return (frozenset((plain,)),)
    found = tuple(dict.fromkeys(_alternatives(parsed)))
    return found if len(found) <= ALTERNATIVES_LIMIT else (frozenset(one for some in found for one in some),)


def _alternatives(parsed: Any) -> list[frozenset[str]]:
    """An expression as a choice between sets. An exception (WITH) only adds permission: what it is added to counts."""
    if isinstance(parsed, OR):
        return [one for argument in parsed.args for one in _alternatives(argument)]
    if isinstance(parsed, AND):
        found = [frozenset[str]()]
        for argument in parsed.args:
            found = [one | other for one, other in product(found, _alternatives(argument))]
            if len(found) > ALTERNATIVES_LIMIT:
                found = [frozenset().union(*found)]
        return found
    symbol = getattr(parsed, "license_symbol", parsed)
    word = _plain(str(symbol.key))
    return [frozenset((_spellings().get(word, word),))]


def read_declared(card_data: Any, tags: Sequence[str] = ()) -> Declared:
    """The licence of a card's header (license, license_name, license_link), or of the tags where the card has none.

    Never raises on what others wrote.
    """
    data = card_data if isinstance(card_data, Mapping) else {}
    names, where = _words(data.get("license")), "card"
    if not names:
        names, where = _words([tag.removeprefix("license:") for tag in tags if tag.startswith("license:")]), "tags"
    name, link = (_word(data.get(key)) for key in ("license_name", "license_link"))
    if not names and name:
        names, where = ("other",), "card"
    if not names:
        return Declared()
    found = [_named(word, name) for word in names]
    alternatives = tuple(dict.fromkeys(one for some in found for one in some))
    return Declared(tuple(names), alternatives, len(names) > 1, name, link, where)


def _named(word: str, name: str | None) -> tuple[frozenset[str], ...]:
    """What a word means; `other` means what license_name says, where that is a licence that we know."""
    found = _expression(word)
    if found == (frozenset(("other",)),) and name is not None and _plain(name) in _spellings():
        return (frozenset((_spellings()[_plain(name)],)),)
    return found


def _words(raw: Any) -> tuple[str, ...]:
    many: Iterable[Any] = raw if isinstance(raw, list | tuple) else [raw]
    words = (_word(one) for one in many)
    return tuple(dict.fromkeys(word for word in words if word))


def _word(raw: Any) -> str | None:
    """A name as written, short; None for what is none."""
    if isinstance(raw, list | tuple) and len(raw) == 1:
        raw = raw[0]
    if not isinstance(raw, str | int | float) or isinstance(raw, bool):
        return None
    return str(raw).strip()[:NAME_LIMIT] or None
