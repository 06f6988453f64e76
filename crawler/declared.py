"""Declared parents: what a card, the Hub's tags, adapter_config.json or a commit's title say of a model's parents."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from crawler.cards import Card
from crawler.plain import plain_text

RELATIONS = ("finetune", "adapter", "quantized", "merge", "duplicate", "unknown")
SOURCES = ("card", "baseModels", "tags", "adapter_config", "commit", "prose")
PROSE_LIMIT = 5  # parents taken from prose
PARENTS_LIMIT = 200  # parents in all: no honest model has more
NAME_LIMIT = 300

_HUB_NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}(?:/[\w.-]{1,96})?", re.ASCII)
_ADDRESS = re.compile(r"(?:https?:)?//(?:www\.)?(?:huggingface\.co|hf\.co)(?::\d+)?(?:/|$)", re.IGNORECASE)
_BARE_ADDRESS = re.compile(r"(?:www\.)?(?:huggingface\.co|hf\.co)/", re.IGNORECASE)
_LOCAL = re.compile(r"[/~]|\.{1,2}(?:[/\\]|$)|[A-Za-z]:[\\/]|file:|.*\\", re.IGNORECASE)
_LOCAL_BARE = re.compile(r"checkpoint-\d+|.*\.(?:safetensors|bin|gguf|ckpt|pth?|onnx)", re.IGNORECASE)
_NOT_MODELS = frozenset((
    "api", "blog", "collections", "datasets", "docs", "join", "kernels", "models", "organizations", "papers",
    "settings", "spaces",
))  # fmt: skip
_FILE_VIEWS = frozenset((
    "blob", "commit", "commits", "discussions", "edit", "raw", "resolve", "settings", "tree",
))  # fmt: skip

_SPELLINGS = {
    "finetune": "finetune", "finetuned": "finetune", "fine-tune": "finetune", "fine-tuned": "finetune",
    "adapter": "adapter", "lora": "adapter", "quantized": "quantized", "quantised": "quantized",
    "quantization": "quantized", "merge": "merge", "merged": "merge",
}  # fmt: skip
_ADAPTER_TAGS = frozenset(("adapter", "lora", "peft", "qlora"))
_QUANTIZED_TAGS = frozenset(("awq", "exl2", "gguf", "gptq", "quantized"))
_MERGE_TAGS = frozenset(("merge", "mergekit"))

_NAMED = r"(?:\[(?P<text>[^\]\[\n]{0,200})\]\((?P<link>[^()\s]{1,300})\)|`(?P<code>[\w.-]{1,96}/[\w.-]{1,96})`)"
_WORDS_BETWEEN = r"(?:the |a |an )?(?:[\w*-]{1,30} ){0,3}?"
_PROSE = (
    re.compile(
        r"\b(?P<verb>fine[- ]?tuned|quanti[sz]ed|lora|adapter)"
        rf"(?: (?:version|variant|checkpoint|model|copy|adapter|weights))?(?: (?:of|from|for|on top of))?"
        rf" {_WORDS_BETWEEN}{_NAMED}",
        re.IGNORECASE,
    ),
    re.compile(rf"{_NAMED},? (?:model )?(?:that|which) (?:is|was|has been) (?P<verb>fine[- ]?tuned)", re.IGNORECASE),
)
_DUPLICATE = re.compile(r"duplicated? from (?P<name>\S{1,300})", re.IGNORECASE)


@dataclass(frozen=True)
class Declared:
    """One parent that a source declares."""

    name: str  # "org/name" or a legacy bare name where kind is "hub", else the text as it was found
    relation: str  # one of RELATIONS
    source: str  # one of SOURCES; "prose" is weak
    kind: str  # "hub", "local path" or "invalid"


def declared_parents(
    card: Card | None,
    *,
    base_models: Any = None,
    tags: Sequence[Any] = (),
    adapter_config: Mapping[str, Any] | None = None,
    commit_title: str | None = None,
) -> tuple[Declared, ...]:
    """All declared parents in the order of SOURCES, each once. The model itself may be among them.

    `base_models` is the API's baseModels as it came, `tags` the Hub's tags. Never raises on what others wrote.
    """
    data = card.data if card is not None and card.data is not None else {}
    found = [
        *_from_card(data, tags, adapter_config is not None),
        *_from_base_models(base_models),
        *_from_tags(tags),
        *_from_adapter_config(adapter_config or {}),
        *_from_commit(commit_title or ""),
        *_from_prose(card.body if card is not None else ""),
    ]
    return tuple(dict.fromkeys(found))[:PARENTS_LIMIT]


def parent_name(raw: Any) -> tuple[str, str] | None:
    """(name, kind) of a value that should name a model, None where it says nothing."""
    if raw is None or isinstance(raw, bool) or raw in ([], {}):
        return None
    text = plain_text(str(raw)[: 4 * NAME_LIMIT]).strip().strip("\"'`").strip()
    if not text or text.lower() in ("none", "null", "n/a"):
        return None
    if not isinstance(raw, str):
        return text[:NAME_LIMIT], "invalid"
    if _BARE_ADDRESS.match(text):
        text = "//" + text
    if address := _ADDRESS.match(text):
        return _name_in_path(text, text[address.end() :])
    name = text.removeprefix("hf://").removeprefix("models/").partition("@")[0].rstrip("/")
    if _LOCAL.match(text) or _LOCAL_BARE.fullmatch(name) or (name.count("/") > 1 and "://" not in name):
        return text[:NAME_LIMIT], "local path"
    return (name, "hub") if _is_hub_name(name) else (text[:NAME_LIMIT], "invalid")


def _name_in_path(address: str, path: str) -> tuple[str, str]:
    parts = [unquote(part) for part in re.split(r"[?#]", path)[0].split("/") if part]
    if parts and parts[0].lower() not in _NOT_MODELS:
        name = parts[0] if len(parts) == 1 or parts[1] in _FILE_VIEWS else f"{parts[0]}/{parts[1]}"
        if _is_hub_name(name):
            return name, "hub"
    return address[:NAME_LIMIT], "invalid"


def _is_hub_name(name: str) -> bool:
    return bool(_HUB_NAME.fullmatch(name)) and ".." not in name and "--" not in name.partition("/")[0]


def _relation(raw: Any) -> str | None:
    if isinstance(raw, list) and len(raw) == 1:
        raw = raw[0]
    return _SPELLINGS.get(raw.strip().lower()) if isinstance(raw, str) else None


def _as_list(raw: Any) -> list[Any]:
    return list(raw) if isinstance(raw, list | tuple) else [raw]


def _declare(values: Any, relation: str, source: str) -> Iterator[Declared]:
    for value in _as_list(values):
        named = parent_name(value)
        if named is not None:
            yield Declared(named[0], relation, source, named[1])


def _from_card(data: Mapping[str, Any], tags: Sequence[Any], has_adapter_config: bool) -> Iterator[Declared]:
    parents = data.get("base_model")
    if isinstance(parents, dict):  # {"name": ...}, {"id": ...}: written by some trainers
        parents = [value for key, value in parents.items() if key in ("id", "name", "model")] or [str(parents)]
    relation = _relation(data.get("base_model_relation"))
    if relation is None and data.get("base_model_relation") is not None:
        relation = "unknown"
    if relation is None:
        relation = _inferred_relation(data, tags, has_adapter_config, len(_as_list(parents)))
    yield from _declare(parents, relation, "card")


def _inferred_relation(data: Mapping[str, Any], tags: Sequence[Any], has_adapter_config: bool, parents: int) -> str:
    """As the Hub infers it where the card is silent (https://huggingface.co/docs/hub/model-cards, "base model")."""
    words = {str(tag).lower() for tag in (*tags, *_as_list(data.get("tags")), data.get("library_name"))}
    if has_adapter_config or words & _ADAPTER_TAGS:
        return "adapter"
    if parents > 1:
        return "merge"
    if words & _QUANTIZED_TAGS:
        return "quantized"
    return "merge" if words & _MERGE_TAGS else "finetune"


def _from_base_models(base_models: Any) -> Iterator[Declared]:
    """{"relation": str, "models": [{"id": str}]}, although the client's type hint says a list."""
    for group in _as_list(base_models):
        if not isinstance(group, dict):
            continue
        models = group.get("models", [group])
        names = [model.get("id") if isinstance(model, dict) else model for model in _as_list(models)]
        yield from _declare(names, _relation(group.get("relation")) or "unknown", "baseModels")


def _from_tags(tags: Sequence[Any]) -> Iterator[Declared]:
    """`base_model:<id>` and `base_model:<relation>:<id>`; the first says less where both are there."""
    related: dict[str, list[str]] = {}
    for tag in tags:
        if isinstance(tag, str) and tag.startswith("base_model:"):
            head, _, rest = tag.removeprefix("base_model:").partition(":")
            relation = _SPELLINGS.get(head) if rest else None
            name = rest if relation else tag.removeprefix("base_model:")
            related.setdefault(name, []).extend([relation] if relation else [])
    for name, relations in related.items():
        for relation in relations or ["unknown"]:
            yield from _declare(name, relation, "tags")


def _from_adapter_config(config: Mapping[str, Any]) -> Iterator[Declared]:
    yield from _declare(config.get("base_model_name_or_path"), "adapter", "adapter_config")


def is_duplication(title: str) -> bool:
    """Whether a commit's title is the one that the Hub gives to a duplicate's first commit."""
    return bool(_DUPLICATE.match(title.strip()))


def _from_commit(title: str) -> Iterator[Declared]:
    """The server's own duplication leaves no base_model, only this commit title."""
    if match := _DUPLICATE.match(title.strip()):
        yield from _declare(match["name"], "duplicate", "commit")


def _from_prose(body: str) -> Iterator[Declared]:
    """Sentences of the kind that trainers wrote before base_model existed: fine-tuned version of [x](link)."""
    text = re.sub(r"\s+", " ", body)
    matches = sorted((match for pattern in _PROSE for match in pattern.finditer(text)), key=lambda match: match.start())
    count = 0
    for match in matches:
        named = parent_name(match["link"] or match["code"])
        if named is None or named[1] != "hub":
            named = parent_name(match["text"]) if match["text"] and "/" in match["text"] else None
        if named is None or named[1] != "hub" or count == PROSE_LIMIT:
            continue
        count += 1
        verb = match["verb"].lower()
        relation = "quantized" if verb.startswith("quanti") else "finetune" if verb.startswith("fine") else "adapter"
        yield Declared(named[0], relation, "prose", "hub")
