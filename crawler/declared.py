"""Declared parents: what a card, the Hub's tags, configurations, a commit's title or prose say of a model's parents."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from crawler import mergekit, quantization
from crawler.cards import Card
from crawler.parents import Declared, declare, names_in, read_name
from crawler.plain import plain_text
from crawler.prose import prose_parents
from db.errors import ConfigMalformed

PARENTS_LIMIT = 200  # parents in all: no honest model has more
TAG_LIMIT = 1_000  # characters

_SPELLINGS = {
    **dict.fromkeys(("finetune", "finetuned", "finetunes", "finetuning"), "finetune"),
    **dict.fromkeys(("adapter", "adapters", "lora", "qlora", "peft"), "adapter"),
    **dict.fromkeys((
        "quantized", "quantised", "quantize", "quantise", "quantization", "quantisation", "quant", "awq", "gguf",
        "gptq",
    ), "quantized"),
    **dict.fromkeys(("merge", "merged", "merges", "merging"), "merge"),
    **dict.fromkeys(("duplicate", "duplicated", "copy"), "duplicate"),
}  # fmt: skip
_ADAPTER_TAGS = frozenset(("adapter", "lora", "peft", "qlora"))
_QUANTIZED_TAGS = frozenset((
    "4-bit", "8-bit", "awq", "bitsandbytes", "compressed-tensors", "exl2", "exl3", "fp8", "gguf", "gptq", "quantized",
))  # fmt: skip
_MERGE_TAGS = frozenset(("merge", "mergekit"))
_TAG = re.compile(r"base_model:([A-Za-z_-]{3,20}):(?!//)(.+)", re.DOTALL)
_NAME_KEYS = ("id", "name", "model", "model_id", "repo_id", "model_name", "path", "url")
# PEFT writes the first; the adapters library model_name, MLX model, swift and others the rest.
_ADAPTER_KEYS = (
    "base_model_name_or_path", "model_name", "base_model", "base_model_name", "base_model_id", "base_model_path",
    "model_name_or_path", "model_id_or_path", "model_id", "model",
)  # fmt: skip
_DUPLICATE = re.compile(r"duplicated?\s+from\s+(?P<name>\S{1,300})", re.IGNORECASE)


def declared_parents(
    card: Card | None,
    *,
    base_models: Any = None,
    tags: Sequence[Any] = (),
    adapter_config: Mapping[str, Any] | None = None,
    mergekit_config: bytes | None = None,
    config: Mapping[str, Any] | None = None,
    quantize_config: Mapping[str, Any] | None = None,
    commit_titles: Sequence[str] = (),
    model: str = "",
) -> tuple[Declared, ...]:
    """All declared parents in the order of SOURCES, one of a name, relation and source each.

    `base_models` is the API's baseModels as it came, `tags` the Hub's tags, the configurations are what the files of
    those names hold, `model` is the repository's own name. The model itself may be among its parents, except where
    config.json has its name. Never raises on what others wrote: of a mergekit_config.yml that cannot be read
    (`mergekit.merge_parents` says why) what the card repeats of it counts.
    """
    data = card.data if card is not None and card.data is not None else {}
    body = card.body if card is not None else ""
    quantized = quantization.is_quantized(config, quantize_config)
    found = [
        *_listed(data, base_models, tags, adapter=adapter_config is not None, quantized=quantized),
        *_from_adapter_config(adapter_config or {}),
        *_from_mergekit(mergekit_config, body),
        *_from_commits(commit_titles),
        *quantization.config_parents(config, quantize_config, model),
        *prose_parents(body),
    ]
    return _once(found)


def listed_parents(card_data: Any, base_models: Any, tags: Any) -> tuple[Declared, ...]:
    """What a row of the listing declares: its cardData, baseModels and tags, each as it came. Never raises."""
    data = card_data if isinstance(card_data, dict) else {}
    return _once(_listed(data, base_models, tags if isinstance(tags, list | tuple) else ()))


def _once(found: Iterable[Declared]) -> tuple[Declared, ...]:
    """Each name, relation and source once, with what any of its mentions adds."""
    chosen: dict[tuple[str, str, str], Declared] = {}
    for one in found:
        key = (one.name, one.relation, one.source)
        before = chosen.setdefault(key, one)
        if before is not one:
            chosen[key] = dataclasses.replace(
                before, hub_id=before.hub_id or one.hub_id, detail=before.detail or one.detail
            )
    return tuple(chosen.values())[:PARENTS_LIMIT]


def _listed(
    data: Mapping[str, Any], base_models: Any, tags: Sequence[Any], *, adapter: bool = False, quantized: bool = False
) -> list[Declared]:
    theirs = [*_from_base_models(base_models), *_from_tags(tags)]
    return [*_from_card(data, tags, theirs, adapter, quantized), *theirs]


def relation_of(raw: Any) -> str | None:
    """The relation that a word stands for, however it is spelled; None for other words."""
    if isinstance(raw, list) and len(raw) == 1:
        raw = raw[0]
    return _relation(raw) if isinstance(raw, str) and len(raw) <= 40 else None


@lru_cache(maxsize=1_024)
def _relation(word: str) -> str | None:
    return _SPELLINGS.get(re.sub(r"[\s_-]+", "", word.lower()))


def _word(raw: Any) -> str:
    """What stands where a word is expected, short and fit for JSON."""
    if isinstance(raw, list | tuple):
        return ", ".join(_word(one) for one in raw[:10] if not isinstance(one, list | tuple | dict))[:100]
    return plain_text(raw[:100]) if isinstance(raw, str) else type(raw).__name__


def _as_list(raw: Any) -> list[Any]:
    return list(raw) if isinstance(raw, list | tuple) else [raw]


def _from_card(
    data: Mapping[str, Any], tags: Sequence[Any], theirs: Sequence[Declared], adapter: bool, quantized: bool
) -> Iterator[Declared]:
    """Where the card is silent on the relation, the Hub's reading of it (`theirs`) counts, else ours."""
    raw = data.get("base_model")
    if raw is None or raw == "":
        return
    values = [pair for value in _as_list(raw) for pair in _entries(value)]
    said = data.get("base_model_relation")
    each = _as_list(said) if len(_as_list(said)) == len(values) else [said] * len(values)
    for (value, own), general in zip(values, each, strict=True):
        word = own if own is not None else general
        relation = relation_of(word)
        if relation is not None:
            yield from declare(value, relation, "card")
        elif word not in (None, "", []):
            yield from declare(value, "unknown", "card", {"relation": _word(word)})
        else:
            named = names_in(value)
            name = named[0][0] if named else ""
            silent = _known_relation(name, theirs) or _inferred_relation(
                data, tags, name, max(len(values), len(named)), adapter, quantized
            )
            yield from declare(value, silent, "card")


def _entries(value: Any) -> Iterator[tuple[Any, Any]]:
    """(name, relation or None) of a value of base_model; dicts are written by some trainers, and by slips of YAML."""
    if not isinstance(value, dict):
        yield value, None
        return
    relation = value.get("relation", value.get("base_model_relation"))
    named = [value[key] for key in _NAME_KEYS if isinstance(value.get(key), str | list)]
    if named:
        for name in _as_list(named[0]):
            yield name, relation
    elif len(value) == 1 and isinstance(found := next(iter(value)), str) and "/" in found:
        yield found, value[found]  # "- org/name:" or "org/name: finetune"
    else:
        yield (str(value) if value else None), relation


def _known_relation(name: str, theirs: Sequence[Declared]) -> str | None:
    same = {one.relation for one in theirs if one.name == name} - {"unknown"}
    same = same or {one.relation for one in theirs} - {"unknown"}
    return same.pop() if len(same) == 1 else None


def _inferred_relation(
    data: Mapping[str, Any], tags: Sequence[Any], name: str, parents: int, adapter: bool, quantized: bool
) -> str:
    """As the Hub infers it where the card is silent (https://huggingface.co/docs/hub/model-cards, "base model")."""
    words = {str(tag).lower() for tag in (*tags, *_as_list(data.get("tags")), data.get("library_name"))}
    if adapter or words & _ADAPTER_TAGS:
        return "adapter"
    if parents > 1:
        return "merge"
    if (quantized or words & _QUANTIZED_TAGS) and not quantization.names_quantized(name):
        return "quantized"
    return "merge" if words & _MERGE_TAGS else "finetune"


def _from_base_models(base_models: Any) -> Iterator[Declared]:
    """{"relation": str, "models": [{"_id": str, "id": str}]}, although the client's type hint says a list."""
    if base_models is None:
        return
    for group in _as_list(base_models):
        if isinstance(group, str):
            yield from declare(group, "unknown", "baseModels")
        elif isinstance(group, dict):
            word = group.get("relation")
            relation = relation_of(word) or "unknown"
            detail = {"relation": _word(word)} if relation == "unknown" and word else None
            for model in _as_list(group.get("models", [group])):
                name, hub_id = (model.get("id"), model.get("_id")) if isinstance(model, dict) else (model, None)
                known = isinstance(hub_id, str) and len(hub_id) <= 64 and hub_id.isascii() and hub_id.isalnum()
                yield from declare(name, relation, "baseModels", detail, hub_id if known else None)


def _from_tags(tags: Sequence[Any]) -> Iterator[Declared]:
    """`base_model:<id>` and `base_model:<relation>:<id>`; the first says less where both are there."""
    related: dict[str, list[str]] = {}
    for tag in tags:
        if isinstance(tag, str) and tag.startswith("base_model:"):
            name, word = _split_tag(tag[:TAG_LIMIT])
            related.setdefault(name, []).extend([word] if word else [])
    for name, words in related.items():
        for word in words or [""]:
            relation = relation_of(word)
            detail = {"relation": word} if word and relation is None else None
            yield from declare(name, relation or "unknown", "tags", detail)


@lru_cache(maxsize=16_384)
def _split_tag(tag: str) -> tuple[str, str]:
    """(name, the relation's word or "") of a tag."""
    split = _TAG.fullmatch(tag)
    if split is not None and (relation_of(split[1]) or (read_name(split[2]) or ("", ""))[1] == "hub"):
        return split[2], split[1]
    return tag.removeprefix("base_model:"), ""


def _from_adapter_config(config: Mapping[str, Any]) -> Iterator[Declared]:
    for key in _ADAPTER_KEYS:
        value = config.get(key)
        if isinstance(value, str | list) and (found := list(declare(value, "adapter", "adapter_config"))):
            revision = config.get("revision")
            if isinstance(revision, str) and revision and key == _ADAPTER_KEYS[0]:
                found = [dataclasses.replace(one, detail={"revision": _word(revision)}) for one in found]
            yield from found
            return


def _from_mergekit(content: bytes | None, body: str) -> tuple[Declared, ...]:
    if content is not None:
        try:
            return mergekit.merge_parents(content)
        except ConfigMalformed:
            pass
    return mergekit.card_merge_parents(body)


def is_duplication(title: str) -> bool:
    """Whether a commit's title is the one that the Hub gives to a duplicate's first commit."""
    return bool(_DUPLICATE.match(title.strip()))


def _from_commits(titles: Sequence[str]) -> Iterator[Declared]:
    """The server's own duplication leaves no base_model, only this commit title."""
    for title in titles:
        if match := _DUPLICATE.match(title.strip()):
            yield from declare(match["name"].rstrip(".,;:)"), "duplicate", "commit")
