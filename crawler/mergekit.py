"""mergekit_config.yml: which models a merge was made of, with their weights and layers.

The layouts are those of mergekit's documentation (https://github.com/arcee-ai/mergekit: README.md, docs/): `models`,
`slices` or `modules` of them, experts of a mixture, several documents that refer to each other by name, and a genome.
They are the same for every merge method, so that a method we do not know is read like the others.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crawler.fences import split_fences
from crawler.parents import Declared, read_name
from crawler.plain import plain_text
from crawler.plain_yaml import YamlError, documents
from db.errors import ConfigMalformed

FILE = "mergekit_config.yml"
USES_LIMIT = 5_000  # mentions of models in one configuration
DETAIL_LIMIT = 4_000  # characters of JSON per parent
_BLOCKS_LIMIT = 50
_MARKS = re.compile(r"^[ \t]*(?:-[ \t]*)?(?:merge_method|source_model|base_model)[ \t]*:", re.MULTILINE)
_NUMBER = re.compile(r"[-+]?[0-9]{0,15}\.?[0-9]{1,15}(?:[eE][-+]?[0-9]{1,2})?")


@dataclass(frozen=True)
class _Reference:
    """A model as a configuration names it: path@revision+adapter."""

    name: str
    kind: str
    revision: str | None
    text: str  # as written
    adapter: str | None = None


@dataclass(frozen=True)
class _Use:
    """One place where a merge uses a model."""

    model: _Reference
    role: str  # "base", "model", "expert" or "shared expert"
    method: str | None
    layers: tuple[int, int] | None = None
    parameters: Mapping[str, Any] | None = None  # its own ones
    weight: float | None = None
    says_weight: bool = False  # there is a weight, be it one number or not
    settings: Mapping[str, Any] | None = None  # of the whole merge
    tokenizer: str | None = None
    into: str | None = None  # the named part of a larger merge that this one belongs to


def merge_parents(content: bytes) -> tuple[Declared, ...]:
    """The parents in a mergekit_config.yml, in the order of their first mention; all are of the relation "merge".

    `weight` is the one number that the configuration gives a model (of a slerp with one `t`: 1 - t for its base, t for
    the other); `layers` are the ranges that its slices take, in their order; `detail` has the method, the role ("base"
    also where the base is merged too), and whatever else is said of it. The source of a tokenizer is no parent.
    Raises ConfigMalformed for what is no YAML, no mapping, names no model, or is too large.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigMalformed(f"not UTF-8 at byte {error.start}", file=FILE) from error
    try:
        found = _parents(documents(plain_text(text), "the configuration"), {})
    except YamlError as error:
        raise ConfigMalformed(str(error), file=FILE) from error
    if not found:
        raise ConfigMalformed("names no model, expected models, slices, modules or experts", file=FILE)
    return found


def card_merge_parents(body: str) -> tuple[Declared, ...]:
    """The same of the configuration that mergekit writes into a card; `detail` says so. Empty where there is none."""
    for block in split_fences(body)[1][:_BLOCKS_LIMIT]:
        if block.language not in ("", "yaml", "yml", "text") or not _MARKS.search(block.content):
            continue
        try:
            found = _parents(_readable(block.content), {"from": "README.md"})
        except YamlError:
            continue
        if found and any((parent.detail or {}).get("method") for parent in found):
            return found
    return ()


def _readable(text: str) -> list[Any]:
    """The block's documents; where something else was written into it, those of the paragraphs above that."""
    for _ in range(5):
        try:
            return documents(text, "the block")
        except YamlError as error:
            if error.line is None:
                raise
            lines = text.split("\n")[: error.line - 1]
            while lines and lines[-1].strip() and not lines[-1].lstrip().startswith("#"):
                lines.pop()
            if not lines:
                raise
            text = "\n".join(lines[:-1])
    return []


def _parents(found: Sequence[Any], more: Mapping[str, Any]) -> tuple[Declared, ...]:
    merges = [one for one in found if one is not None]
    for merge in merges:
        if not isinstance(merge, dict):
            raise YamlError(
                f"the configuration is a {'list' if isinstance(merge, list) else 'text'}, expected a mapping"
            )
    names = {str(merge["name"]) for merge in merges if isinstance(merge.get("name"), str | int)}
    # A merge may be written out alone, or as the parts of a larger one: then names stand for parts.
    parts = names if len(merges) > 1 else set()
    uses: list[_Use] = []
    for merge in merges:
        into = str(merge["name"]) if len(merges) > 1 and "name" in merge else None
        uses.extend(_uses(merge, into))
        if len(uses) > USES_LIMIT:
            raise YamlError(f"the configuration mentions more than {USES_LIMIT} models")
    return _collect([use for use in uses if not _is_part(use.model, parts)], more)


def _is_part(model: _Reference, parts: set[str]) -> bool:
    """Whether a name stands for an earlier merge of the same file, or for the folder that it was written to."""
    return model.text in parts or (model.kind == "local path" and model.text.rstrip("/").rpartition("/")[2] in parts)


def _uses(merge: Mapping[str, Any], into: str | None) -> Iterator[_Use]:
    genome = merge.get("genome")
    if isinstance(genome, dict):  # mergekit-evolve: the models are in the genome, the rest is about the search
        merge = genome
    experts = merge.get("experts")
    method = merge.get("merge_method")
    method = method[:40] if isinstance(method, str) and method else "moe" if isinstance(experts, list) else None
    common = _Common(method, _dict(merge.get("parameters")), _tokenizer(merge), into)
    yield from common.uses([{"model": merge.get("base_model")}], "base", {}, None)
    yield from common.uses(experts, "expert", {}, None)
    yield from common.uses(merge.get("shared_experts"), "shared expert", {}, None)
    modules = _dict(merge.get("modules"))
    for module in (merge, *(one for one in modules.values() if isinstance(one, dict))):
        above = {} if module is merge else _dict(module.get("parameters"))
        yield from common.uses(module.get("models"), "model", above, merge.get("base_model"))
        for piece in _list(module.get("slices")):
            if isinstance(piece, dict):
                inner = {**above, **_dict(piece.get("parameters"))}
                base = piece.get("base_model") or merge.get("base_model")
                yield from common.uses(piece.get("sources"), "model", inner, base)
                yield from common.uses([{"model": piece.get("base_model")}], "base", {}, None)


@dataclass(frozen=True)
class _Common:
    """What all uses of one merge have in common."""

    method: str | None
    settings: Mapping[str, Any]
    tokenizer: str | None
    into: str | None

    def uses(self, items: Any, role: str, above: Mapping[str, Any], base: Any) -> Iterator[_Use]:
        """The uses in a list of models; `above` are parameters of the slice or module around it."""
        base_model = _reference(base)
        for item in _list(items):
            own = item if isinstance(item, dict) else {"model": item}
            model = _reference(own.get("model", own.get("source_model", own.get("path"))))
            if model is None:
                continue
            parameters = {**above, **_dict(own.get("parameters"))}
            everything = {**self.settings, **parameters}
            is_base = base_model is not None and base_model.text == model.text
            said, weight = False, None
            if role != "base":
                said, weight = "weight" in everything, _number(everything.get("weight"))
                if not said and self.method == "slerp" and "t" in everything:
                    said, weight = True, _number(everything["t"])
                    if is_base and weight is not None:
                        weight = round(1 - weight, 12)
            yield _Use(
                model, role, self.method, _layers(own.get("layer_range")), parameters, weight, said,
                self.settings, self.tokenizer, self.into,
            )  # fmt: skip


def _reference(raw: Any) -> _Reference | None:
    """A model reference: "path@revision+adapter", or {model: {path, revision}, lora: {path, revision}}."""
    adapter: Any = None
    revision: Any = None
    if isinstance(raw, dict):
        adapter = raw.get("lora")
        raw = raw.get("model", raw)
    if isinstance(raw, dict):
        raw, revision = raw.get("path"), raw.get("revision")
    if not isinstance(raw, str | int) or isinstance(raw, bool):
        return None
    text = str(raw).strip()
    path, plus, rest = text.partition("+")
    if plus and adapter is None:
        adapter = rest
    named = read_name(path)
    if named is None:
        return None
    if isinstance(adapter, dict):
        adapter = f"{adapter.get('path')}@{adapter['revision']}" if adapter.get("revision") else adapter.get("path")
    said = str(revision)[:100] if isinstance(revision, str | int) and not isinstance(revision, bool) else None
    return _Reference(named[0], named[1], said or named[2], text, adapter if isinstance(adapter, str) else None)


def _collect(uses: Sequence[_Use], more: Mapping[str, Any]) -> tuple[Declared, ...]:
    """One parent per name, with all that its uses say; an adapter that is put on a model first is a parent as well."""
    grouped: dict[str, list[_Use]] = {}
    on: dict[str, tuple[_Reference, list[_Use]]] = {}
    for use in uses:
        grouped.setdefault(use.model.name, []).append(use)
        adapter = _reference(use.model.adapter)
        if adapter is not None:
            on.setdefault(adapter.name, (adapter, []))[1].append(use)
    found = [_parent(some[0].model, some, {}, more) for some in grouped.values()]
    found += [
        _parent(adapter, some, {"role": "adapter", "on": some[0].model.name}, more)
        for name, (adapter, some) in on.items()
        if name not in grouped
    ]
    return tuple(found)


def _parent(model: _Reference, uses: Sequence[_Use], said: Mapping[str, Any], more: Mapping[str, Any]) -> Declared:
    merged = [use for use in uses if use.role != "base"] or list(uses)
    weights = {use.weight for use in merged if use.says_weight}
    layers = tuple(dict.fromkeys(use.layers for use in merged if use.layers is not None))
    roles = [use.role for use in uses]
    detail: dict[str, Any] = {
        "method": next((use.method for use in uses if use.method), None),
        "role": "base" if "base" in roles else roles[0],
        "revision": model.revision,
        "adapter": next((use.model.adapter for use in uses if use.model.adapter), None),
        "into": sorted({use.into for use in uses if use.into is not None}) or None,
        "tokenizer": next((use.tokenizer for use in uses if use.tokenizer), None),
        **said,
        **more,
    }
    if said:
        detail["adapter"] = None
    own = [dict(use.parameters or {}) for use in merged]
    parameters = own[0] if all(one == own[0] for one in own) else own
    settings = next((dict(use.settings) for use in uses if use.settings), None)
    detail = {key: value for key, value in detail.items() if value is not None}
    for key, value in (("parameters", parameters), ("settings", settings)):
        if value and len(json.dumps({**detail, key: value})) <= DETAIL_LIMIT:
            detail[key] = value
        elif value:
            detail["cut"] = True
    weight = weights.pop() if len(weights) == 1 else None
    return Declared(model.name, "merge", "mergekit", model.kind, None, weight, layers or None, detail)


def _tokenizer(merge: Mapping[str, Any]) -> str | None:
    """Where the tokenizer comes from, unless it is "union" or "base"."""
    raw = merge.get("tokenizer_source") or _dict(merge.get("tokenizer")).get("source")
    if isinstance(raw, str) and raw.startswith("model:"):
        raw = raw.removeprefix("model:")
    found = _reference(raw)
    return found.name if found is not None and found.text not in ("union", "base") else None


def _number(raw: Any) -> float | None:
    """A parameter that is one number for all tensors, None where it is a gradient, has filters, or is no number."""
    if isinstance(raw, list) and len(raw) == 1:
        raw = raw[0]
    if isinstance(raw, dict) and raw.get("filter") in (None, "*"):
        raw = raw.get("value")
    if isinstance(raw, str) and _NUMBER.fullmatch(raw.strip()):
        raw = float(raw)
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not math.isfinite(raw):
        return None
    return float(raw)


def _layers(raw: Any) -> tuple[int, int] | None:
    """layer_range: [first, last), as mergekit reads it."""
    if (
        isinstance(raw, list)
        and len(raw) == 2
        and all(isinstance(one, int) and not isinstance(one, bool) for one in raw)
    ):
        return (raw[0], raw[1]) if 0 <= raw[0] <= raw[1] <= 1_000_000 else None
    return None


def _dict(raw: Any) -> Mapping[str, Any]:
    return raw if isinstance(raw, dict) else {}


def _list(raw: Any) -> list[Any]:
    return raw if isinstance(raw, list) else []
