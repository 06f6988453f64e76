"""A model card's YAML header with other parents in it, and everything else as it was. Pure: text in, text out.

Keys are replaced where they stand, character by character, so that order, comments, quotes and line ends of all others
stay; keys that are not there are added at the end of the header. Where the header is laid out so that this cannot be
done (one line in braces, or an anchor in what is replaced), it is written anew in the same order, without its comments.
The keys are the Hub's (https://huggingface.co/docs/hub/model-cards#specifying-a-base-model).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml

PARENTS, RELATION = "base_model", "base_model_relation"
_FENCE = re.compile(r"---[ \t]*(?:\r?\n|\Z)")


class HeaderUnreadable(ValueError):  # noqa: N818  # as the other states of a model are named
    """The card's header cannot be changed without guessing; the text says why."""


@dataclass(frozen=True)
class Changed:
    """A card with its new header."""

    text: str
    rewritten: bool = False  # whether the header was written anew, without its comments


def with_parents(card: str, parents: Sequence[str], relation: str) -> Changed:
    """The card with these parents and this relation; the same card again where it has them.

    Raises HeaderUnreadable for a header that is no YAML mapping or has no end.
    """
    mark = "\ufeff" if card.startswith("\ufeff") else ""
    text = card.removeprefix("\ufeff")
    line_end = "\r\n" if "\r\n" in text[:1000] else "\n"
    opening = _FENCE.match(text)
    if opening is None:
        header = f"---{line_end}{_lines(parents, relation, line_end)}---{line_end}"
        return Changed(mark + header + (line_end if text.strip() else "") + text)
    closing = next((found for found in re.finditer(_FENCE.pattern, text, re.MULTILINE) if _closes(text, found)), None)
    if closing is None:
        raise HeaderUnreadable("the header has no closing ---")
    before, header, after = text[: opening.end()], text[opening.end() : closing.start()], text[closing.start() :]
    data = _mapping(header)
    if _says(data) == (list(parents), relation):
        return Changed(card)
    wanted = {**data, PARENTS: _value(parents), RELATION: relation}
    edited = _edited(header, parents, relation, line_end)
    if edited is not None and _reads_as(edited, wanted):
        return Changed(mark + before + edited + after)
    anew = yaml.safe_dump(wanted, sort_keys=False, allow_unicode=True, width=10_000).replace("\n", line_end)
    if not _reads_as(anew, wanted):
        raise HeaderUnreadable("the header cannot be written anew without changing what it says")
    return Changed(mark + before + anew + after, rewritten=True)


def lines(parents: Sequence[str], relation: str) -> str:
    """The two keys alone."""
    return _lines(parents, relation, "\n")


def _closes(text: str, found: re.Match[str]) -> bool:
    return found.start() > 0 and text[found.start() - 1] == "\n"


def _mapping(header: str) -> dict[Any, Any]:
    try:
        data = yaml.safe_load(header)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        problem = str(getattr(error, "problem", None) or error).splitlines()[0]
        raise HeaderUnreadable(f"the header cannot be read as YAML: {problem}") from error
    if data is not None and not isinstance(data, dict):
        raise HeaderUnreadable("the header is no mapping of keys to values")
    return data or {}


def _says(data: dict[Any, Any]) -> tuple[list[Any], Any]:
    said = data.get(PARENTS)
    return said if isinstance(said, list) else [said], data.get(RELATION)


def _value(parents: Sequence[str]) -> str | list[str]:
    return parents[0] if len(parents) == 1 else list(parents)


def _scalar(name: str) -> str:
    """A name as YAML, in quotes where it would be read as something else."""
    return yaml.safe_dump(name, width=10_000, allow_unicode=True).removesuffix("\n").removesuffix("\n...")


def _lines(parents: Sequence[str], relation: str, line_end: str) -> str:
    return f"{_parents(parents, '', line_end)}{line_end}{RELATION}: {relation}{line_end}"


def _parents(parents: Sequence[str], comment: str, line_end: str) -> str:
    if len(parents) == 1:
        return f"{PARENTS}: {_scalar(parents[0])}{comment}"
    return line_end.join((f"{PARENTS}:{comment}", *(f"- {_scalar(one)}" for one in parents)))


def _edited(header: str, parents: Sequence[str], relation: str, line_end: str) -> str | None:
    """The header with the two keys replaced where they stand; None where they cannot be found as lines of their own."""
    node = yaml.compose(header, Loader=yaml.SafeLoader)
    if node is not None and (not isinstance(node, yaml.MappingNode) or node.flow_style):
        return None
    rows = header.splitlines(keepends=True)
    if rows and not rows[-1].endswith("\n"):
        rows[-1] += line_end
    spans = {}
    for key, value in node.value if node is not None else ():
        if key.value in (PARENTS, RELATION):
            if key.value in spans or key.start_mark.column:
                return None
            spans[key.value] = (key.start_mark.line, *_end(value))
    new = {PARENTS: _parents(parents, "", line_end) + line_end, RELATION: f"{RELATION}: {relation}{line_end}"}
    if PARENTS not in spans and RELATION in spans:  # the parents belong above their relation
        spans[PARENTS] = (spans[RELATION][0], spans[RELATION][0] - 1, 0)
    for name, (first, last, column) in sorted(spans.items(), key=lambda item: -item[1][0]):
        comment = _comment(rows[last][column:]) if last >= first else ""
        if name == PARENTS:
            new[name] = _parents(parents, comment, line_end) + line_end
        else:
            new[name] = f"{RELATION}: {relation}{comment}{line_end}"
        more = new[RELATION] if name == PARENTS and RELATION not in spans else ""
        rows[first : last + 1] = [new[name] + more]
    if not spans:
        rows.append(new[PARENTS] + new[RELATION])
    return "".join(rows)


def _end(value: yaml.Node) -> tuple[int, int]:
    """The line and column at which a value's text ends: of what is a block, its last item's."""
    if isinstance(value, yaml.CollectionNode) and not value.flow_style and value.value:
        last = value.value[-1]
        return _end(last[1] if isinstance(last, tuple) else last)
    return value.end_mark.line, value.end_mark.column


def _comment(rest: str) -> str:
    """What stands behind a value on its line, if it is a comment."""
    rest = rest.rstrip("\r\n")
    return f"  {rest.strip()}" if rest.lstrip().startswith("#") else ""


def _reads_as(header: str, wanted: dict[Any, Any]) -> bool:
    try:
        return bool(yaml.safe_load(header) == wanted)
    except yaml.YAMLError:
        return False
