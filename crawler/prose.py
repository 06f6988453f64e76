"""Parents named in a card's prose, as people and trainers wrote before base_model existed: weak claims all of them.

Every model that the text names (a link to the Hub, `org/name`, *bare-name*) is looked at once, with the words before
and behind it: "fine-tuned version of [x](link)", "[x](link) which was fine-tuned", "Base model: x", "* [x](link)" in a
list of what was merged. All patterns look at a bounded stretch, so time is linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from crawler.fences import split_fences
from crawler.parents import Declared, read_name

PROSE_LIMIT = 10  # parents taken from prose
NAMES_LIMIT = 1_000  # names looked at
_BEFORE = 220  # characters looked at before a name
_BEHIND = 90

_HUB = r"(?:huggingface\.co|hf\.co)"
_NAMED = re.compile(
    r"\[(?P<text>[^\]\[]{0,200})\]\(<?(?P<link>[^()\s<>]{1,300})>?[^()]{0,50}\)"
    rf"|(?P<address>https?://(?:www\.)?{_HUB}/[^\s()\[\]<>\"'`|]{{1,200}})"
    r"|`(?P<code>[\w.-]{1,96}/[\w.-]{1,96}|[A-Za-z][\w.]{0,30}(?:-[\w.]{1,30}){1,12})`"
    r"|(?<![\w*])\*{1,2}(?P<strong>[A-Za-z][\w.]{0,30}(?:[-_/][\w.]{1,30}){1,12})\*{1,2}(?![\w*])"
    r"|(?<![\w/.:@*`-])(?P<plain>[A-Za-z0-9][\w.-]{0,50}/[\w.-]{1,95}[A-Za-z0-9])(?![\w/-])",
    re.ASCII,
)
_MODEL_LIKE = re.compile(r"[\d_-]")
_CODE_HOST = re.compile(
    r"https?://(?:www\.)?(?:github|gitlab|kaggle)\.com/|https?://[\w.]*\.github\.io/", re.IGNORECASE
)

_FINETUNED = (
    r"fine[- ]?tun(?:ed?|es|ing)|(?:instruction|instruct|chat|preference)[- ]tuned|abliterated|uncensored"
    r"|(?:further|continu\w*|additional) (?:pre-?)?train\w*|trained (?:from|on top of)|start(?:ing|ed) (?:from|with)"
    r"|initiali[sz]ed (?:[\w-]{1,20} ){0,3}?(?:with|from|by)|warm[- ]?started from"
)
_QUANTIZED = r"quanti[sz](?:ed|ations?|ing)|quants?|gguf|ggml|gptq|awq|exl[23]"
_ADAPTER = r"q?lora|adapters?|peft"
_DERIVED = (
    r"(?:based|built) (?:up)?on|derived from|converted (?:[\w-]{1,20} ){0,4}?from|distill?(?:ed|ation) (?:from|of)"
    r"|(?:versions?|variants?|copy|checkpoints?|derivatives?|conversions?|ports?|mirror|reupload) (?:of|for)"
)
_STOP = (
    r"(?:on(?! top\b)|with|using|via|in|and|or|by|at|is|are|was|were|be|can|has|have|here|see|as|than|like|unlike"
    r"|through|under|to|where|dataset|datasets|corpus)\b"
)
_LEAD = re.compile(
    rf"\b(?:(?P<finetune>{_FINETUNED})|(?P<quantized>{_QUANTIZED})|(?P<adapter>{_ADAPTER})|(?P<unknown>{_DERIVED}))"
    rf"(?:[ /-]+(?!{_STOP})[\w*'’-]{{1,30}}){{0,8}}?\s*(?:<a [^<>]{{0,100}}|[\"'(*_]){{0,3}}$",
    re.IGNORECASE,
)
_KIND = re.compile(
    rf"\b(?:(?P<finetune>{_FINETUNED})|(?P<quantized>{_QUANTIZED})|(?P<adapter>{_ADAPTER}))\b", re.IGNORECASE
)
_KEY = re.compile(
    r"(?:(?P<finetune>fine[- ]?tuned from(?: model)?)|(?P<quantized>quanti[sz]ed (?:from|by|model))"
    r"|(?P<unknown>(?:base|parent|original|source|foundation|backbone)[- _]?(?:model|checkpoint)(?: name)?"
    r"|基础模型|基座模型|底座模型|基座))"
    r"(?: \[optional\])?[\s*_]{0,5}(?:[:：|]|\bis\b)[\s*_|]{0,6}$",
    re.IGNORECASE,
)
_MERGED = re.compile(
    r"(?:\bmerges? of(?: the)?(?: two| three| following)?(?: pre-?trained)?(?: language)?(?: models?)?[\s:*-]{0,6}"
    r"|\bmodels? (?:were |was |are )?(?:included in the|in this|used in this) merge:?[\s*-]{0,6}"
    r"|\bmerge of the following models[^:]{0,120}:[\s*-]{0,6}"
    r"|\bmerge method using )$",
    re.IGNORECASE,
)
_ALONGSIDE = re.compile(r"[\s,;&+*-]{0,6}(?:and|with)?[\s*-]{0,4}", re.IGNORECASE)
_BASED_ON = re.compile(r"基于\s*$")
_TAIL = re.compile(
    r"[*_`]{0,2},? ?(?:pre-?trained |base |large )?(?:(?:language )?model|checkpoint|weights)?,? ?"
    r"(?:(?:that|which|and|then|further|is|was|has|been|were|we|have|it|进行) ?){0,4}"
    r"(?:(?P<finetune>fine[- ]?tun(?:ed|ing)|(?:LoRA |QLoRA )?微调)|(?P<unknown>as (?:the |a |its |our )?base\b))",
    re.IGNORECASE,
)


def prose_parents(body: str) -> tuple[Declared, ...]:
    """The parents that a card's text names, in its order."""
    if not body:
        return ()
    text = re.sub(r"\s+", " ", split_fences(body)[0])
    found: dict[str, str] = {}
    for name, relation in _named(text):
        if found.setdefault(name, relation) == "unknown":
            found[name] = relation
        if len(found) == PROSE_LIMIT:
            break
    ends = {name.rpartition("/")[2].lower() for name in found if "/" in name}
    return tuple(
        Declared(name, relation, "prose", "hub")
        for name, relation in found.items()
        if "/" in name or name.lower() not in ends
    )


def _named(text: str) -> Iterator[tuple[str, str]]:
    """(name, relation) of each model that the text calls a parent."""
    merged_until = -1  # where a list of merged models ends so far
    for number, match in enumerate(_NAMED.finditer(text)):
        if number == NAMES_LIMIT:
            return
        name = _name(match)
        if name is None:
            continue
        before = text[max(0, match.start() - _BEFORE) : match.start()]
        listed = merged_until >= 0 and _ALONGSIDE.fullmatch(text[merged_until : match.start()][:40])
        if listed or _MERGED.search(before):
            merged_until = match.end()
            yield name, "merge"
        elif relation := _relation(before, text[match.end() : match.end() + _BEHIND]):
            yield name, relation


def _relation(before: str, behind: str) -> str | None:
    lead = _LEAD.search(before) or _KEY.search(before)
    if lead is not None and lead.lastgroup != "unknown":
        return lead.lastgroup
    tail = _TAIL.match(behind)
    if tail is not None and tail.lastgroup != "unknown":
        return tail.lastgroup
    if lead is not None:  # "based on a fine-tuned [x](link)"
        inner = _KIND.search(lead[0])
        return str(inner.lastgroup) if inner is not None else "unknown"
    return "unknown" if tail is not None or _BASED_ON.search(before) else None


def _name(match: re.Match[str]) -> str | None:
    """The Hub name that a mention stands for: a link's target, else its text where that is org/name."""
    link = match["link"]
    raw = link or match["address"] or match["code"] or match["strong"] or match["plain"]
    if match["plain"] and not _MODEL_LIKE.search(raw.rpartition("/")[2]):
        return None  # and/or, input/output
    if match["address"]:
        raw = raw.rstrip(".,;:*_")
    named = read_name(raw)
    if named is not None and named[1] == "hub":
        return named[0]
    text = (match["text"] or "").strip("`*_ ")
    if not link or "/" not in text or _CODE_HOST.match(link) or re.match(rf"https?://(?:www\.)?{_HUB}/\w", link):
        return None
    named = read_name(text)
    return named[0] if named is not None and named[1] == "hub" else None
