"""What a declared parent is, and how the name of one is told from paths, addresses and nonsense."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any
from urllib.parse import unquote

from crawler.plain import plain_text

NAME_LIMIT = 300  # characters
SOURCES = (
    "card", "baseModels", "tags", "adapter_config", "mergekit", "commit", "quantization", "config", "prose",
)  # fmt: skip

_HUB_NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}(?:/[\w.-]{1,96})?", re.ASCII)
_REVISION = re.compile(r"[\w./-]{1,100}", re.ASCII)
_ADDRESS = re.compile(
    r"(?:https?:)?//(?:www\.)?(?:huggingface\.co|hf\.co|hf-mirror\.com)(?::\d+)?(?:/|$)", re.IGNORECASE
)
_BARE_ADDRESS = re.compile(r"(?:www\.|git@)?(?:huggingface\.co|hf\.co|hf-mirror\.com)[/:]", re.IGNORECASE)
_MARKDOWN = re.compile(r"\[([^\]\[\n]{0,300})\]\(<?([^()\s<>]{1,300})>?\)")
_LOCAL = re.compile(r"[/~]|\.{1,2}(?:[/\\]|$)|[A-Za-z]:[\\/]|file:|.*\\", re.IGNORECASE)
_CACHED = re.compile(
    r"(?:^|[/\\])models--(?:([\w.]+(?:-[\w.]+)*)--)?([\w.]+(?:-[\w.]+)*)(?:[/\\]snapshots[/\\]([0-9a-f]{7,40}))?(?=[/\\]|$)",
    re.ASCII,
)
_LOCAL_END = re.compile(r"checkpoint-\d+|.*\.(?:safetensors|bin|gguf|ckpt|pth?|onnx)", re.IGNORECASE)
_ROOTS = frozenset(("content", "data", "home", "kaggle", "media", "mnt", "opt", "root", "tmp", "usr", "workspace"))
_NOT_MODELS = frozenset((
    "api", "blog", "collections", "datasets", "docs", "join", "kernels", "models", "organizations", "papers",
    "settings", "spaces",
))  # fmt: skip
_FILE_VIEWS = frozenset((
    "blob", "commit", "commits", "discussions", "edit", "raw", "resolve", "settings", "tree",
))  # fmt: skip
_NOTHING = frozenset(("", "none", "null", "n/a", "na", "nan", "unknown", "[more information needed]"))


@dataclass(frozen=True, slots=True)
class Declared:
    """One parent that a source declares."""

    name: str  # "org/name" or a legacy bare name where kind is "hub", else the text as it was found
    relation: str  # one of db.models.RELATIONS
    source: str  # one of SOURCES; some are weak: db.declared.WEAK_SOURCES
    kind: str  # "hub", "local path" or "invalid"
    hub_id: str | None = None  # the parent's `_id`, where baseModels tell it
    weight: float | None = None  # its share of a merge, where one number says it
    layers: tuple[tuple[int, int], ...] | None = None  # [first, last) of it that a merge takes
    detail: Mapping[str, Any] | None = field(default=None, hash=False)  # what else the source says, fit for JSON

    def row(self) -> dict[str, Any]:
        """The fields by their names, as `dataclasses.asdict` gives them, but without copies: for pages of a listing."""
        return {name: getattr(self, name) for name in FIELDS}


FIELDS = tuple(one.name for one in fields(Declared))


def parent_name(raw: Any) -> tuple[str, str] | None:
    """(name, kind) of a value that should name a model, None where it says nothing."""
    found = read_name(raw)
    return None if found is None else found[:2]


def read_name(raw: Any) -> tuple[str, str, str | None] | None:
    """As `parent_name`, with the revision that is asked for ("org/name@revision", ".../tree/revision") or None."""
    if isinstance(raw, str):
        return _read(raw if len(raw) <= NAME_LIMIT else raw[: 4 * NAME_LIMIT])
    if raw is None or isinstance(raw, bool) or raw in ([], {}):
        return None
    try:
        text = plain_text(str(raw)[: 4 * NAME_LIMIT]).strip()
    except (ValueError, RecursionError):  # integers of thousands of digits, and lists as deep
        text = type(raw).__name__
    return (text[:NAME_LIMIT], "invalid", None) if text else None


def names_in(raw: Any) -> tuple[tuple[str, str, str | None], ...]:
    """What `read_name` reads of a value: none, one, or the names in a text that lists several ("a/b, c/d")."""
    if isinstance(raw, str) and len(raw) <= NAME_LIMIT:
        return _names_in(raw)
    found = read_name(raw)
    return () if found is None else (found,)


# The same few base models are named by most repositories of a listing.
@lru_cache(maxsize=16_384)
def _names_in(text: str) -> tuple[tuple[str, str, str | None], ...]:
    found = _read(text)
    if found is None:
        return ()
    if found[1] != "hub" and "/" in text and (pieces := re.split(r"(?:\s(?:and|&)\s|[,;\s])+", text.strip(" ,;"))):
        named = [one for one in map(_read, pieces) if one is not None and one[1] == "hub" and "/" in one[0]]
        if len(named) == len(pieces) > 1:
            return tuple(named)
    return (found,)


def _read(raw: str) -> tuple[str, str, str | None] | None:
    text = plain_text(raw).strip().strip("\"'`").strip().rstrip(",;")
    if text.lower() in _NOTHING:
        return None
    if link := _MARKDOWN.fullmatch(text):
        found = _read(link[2])
        return found if found is not None and found[1] == "hub" else _read(link[1]) or found
    address = _ADDRESS.match(text.removeprefix("<")) or _BARE_ADDRESS.match(text)
    if address is not None:
        return _in_address(text, text.removeprefix("<").removesuffix(">")[address.end() :])
    return _in_text(text)


def _in_text(text: str) -> tuple[str, str, str | None]:
    if cached := _CACHED.search(text):  # the client's cache folder says which repository it holds
        return f"{cached[1]}/{cached[2]}" if cached[1] else cached[2], "hub", cached[3]
    path = text.removeprefix("hf://").removeprefix("models/" if text.count("/") > 1 else "")
    name, revision = _parted(re.split(r"[?#]", path)[0])
    parts = name.split("/")
    if len(parts) == 3 and parts[0] in ("datasets", "spaces"):
        return text[:NAME_LIMIT], "invalid", None
    if len(parts) > 3 and parts[2] in ("blob", "resolve", "tree"):
        name, revision = "/".join(parts[:2]), revision or parts[3]
    ends_local = _LOCAL_END.fullmatch(parts[-1] if len(parts) < 3 else name)
    if _LOCAL.match(text) or ends_local or (name.count("/") > 1 and "://" not in name):
        return text[:NAME_LIMIT], "local path", None
    if _is_hub_name(name):
        return name, "hub", _revision(revision)
    return text[:NAME_LIMIT], "invalid", None


def _in_address(address: str, path: str) -> tuple[str, str, str | None]:
    parts = [unquote(part) for part in re.split(r"[?#]", path)[0].split("/") if part]
    if parts and parts[0].lower() == "models" and len(parts) > 2:
        parts = parts[1:]
    if len(parts) > 2 and parts[0] in _ROOTS and parts[2] not in _FILE_VIEWS:  # a path that was made into a link
        return "/" + "/".join(parts)[: NAME_LIMIT - 1], "local path", None
    if parts and parts[0].lower() not in _NOT_MODELS:
        bare = len(parts) == 1 or parts[1] in _FILE_VIEWS
        name, rest = (parts[0], parts[1:]) if bare else (f"{parts[0]}/{parts[1]}", parts[2:])
        name, revision = _parted(name)
        if _is_hub_name(name):
            if len(rest) > 1 and rest[0] in ("blob", "commit", "resolve", "tree") and not revision:
                revision = rest[1]
            return name, "hub", _revision(revision)
    return address[:NAME_LIMIT], "invalid", None


def _parted(text: str) -> tuple[str, str]:
    """The name and the revision of "org/name@revision" or "org/name:revision"; names of git end in .git."""
    name, _, revision = text.partition("@")
    if not revision and "/" in name.partition(":")[0] and "://" not in name:
        name, _, revision = name.partition(":")
    return name.rstrip("/").removesuffix(".git"), revision


def _revision(text: str) -> str | None:
    return text if _REVISION.fullmatch(text) and text != "main" else None


def _is_hub_name(name: str) -> bool:
    return bool(_HUB_NAME.fullmatch(name)) and ".." not in name and "--" not in name.partition("/")[0]


def declare(
    values: Any, relation: str, source: str, detail: Mapping[str, Any] | None = None, hub_id: str | None = None
) -> Iterator[Declared]:
    """The parents that a value or a list of values names."""
    for value in values if isinstance(values, list | tuple) else (values,):
        for name, kind, revision in names_in(value):
            more = detail if revision is None else {**(detail or {}), "revision": revision}
            yield Declared(name, relation, source, kind, hub_id, None, None, more)
