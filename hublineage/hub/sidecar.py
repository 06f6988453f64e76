"""`.hub.json`: what a Hub knows of a repository that its files do not say."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

SIDECAR_NAME = ".hub.json"
_SIZE_LIMIT = 1 << 20
_GATED = (None, False, "auto", "manual")
_HUB_ID = re.compile(r"[0-9a-f]{24}")
_SHA = re.compile(r"[0-9a-f]{40}")
_FORMER_NAME = re.compile(r"([A-Za-z0-9_][A-Za-z0-9._-]*/)?[A-Za-z0-9_][A-Za-z0-9._-]*")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OlderCommit:
    """A commit before the one that is served: its title and date are all that is left of it."""

    title: str
    date: datetime
    sha: str | None = None  # 40 hexadecimal digits; None: made up


@dataclass(frozen=True)
class Sidecar:
    """The fields of `.hub.json`; every one may be left out.

    `created_at` and `last_modified` are None where the files' times stand for them.
    """

    hub_id: str | None = None  # 24 hexadecimal digits; None: made of the creation's time and the name
    former_names: tuple[str, ...] = ()  # oldest first; a legacy one is bare, without an organisation
    commits: tuple[OlderCommit, ...] = ()  # newest first
    xet: bool | None = None  # whether large files are Xet-backed; None: as the server is told

    created_at: datetime | None = None
    last_modified: datetime | None = None
    likes: int = 0
    downloads: int = 0
    trending_score: int = 0
    gated: str | None = None  # None, "auto" or "manual"
    disabled: bool = False
    private: bool = False
    tags: tuple[str, ...] = ()
    pipeline_tag: str | None = None
    library_name: str | None = None
    commit_title: str = "Upload files"


def read_sidecar(path: Path) -> Sidecar:
    """The sidecar at `path`, or the defaults where there is none.

    One that cannot be understood hides its repository: it may have said that the repository is private or gated.
    """
    try:
        with path.open("rb") as stream:
            return parse_sidecar(stream.read(_SIZE_LIMIT))
    except FileNotFoundError:
        return Sidecar()
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s cannot be read (%s): its repository is hidden", path, error)
        return Sidecar(private=True, disabled=True)


def parse_sidecar(content: bytes) -> Sidecar:
    """The fields of a sidecar. Raises ValueError, which names the field, where one has the wrong type."""
    fields = json.loads(content)
    if not isinstance(fields, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  # bad content, not misuse of this function
    gated = fields.get("gated")
    if gated not in _GATED:
        raise ValueError('gated: expected false, "auto" or "manual"')
    default = Sidecar()
    return Sidecar(
        created_at=_time(fields, "created_at"),
        last_modified=_time(fields, "last_modified"),
        likes=_field(fields, "likes", int, default.likes),
        downloads=_field(fields, "downloads", int, default.downloads),
        trending_score=_field(fields, "trending_score", int, default.trending_score),
        gated=gated or None,
        disabled=_field(fields, "disabled", bool, default.disabled),
        private=_field(fields, "private", bool, default.private),
        tags=tuple(tag for tag in _field(fields, "tags", list, []) if isinstance(tag, str)),
        pipeline_tag=_field(fields, "pipeline_tag", str, None),
        library_name=_field(fields, "library_name", str, None),
        commit_title=_field(fields, "commit_title", str, default.commit_title),
        hub_id=_matching(_HUB_ID, "hub_id", fields.get("hub_id")),
        former_names=tuple(
            _matching(_FORMER_NAME, "former_names", name) or "" for name in _field(fields, "former_names", list, [])
        ),
        commits=tuple(_commit(entry) for entry in _field(fields, "commits", list, [])),
        xet=_field(fields, "xet", bool, None),
    )


def _commit(entry: Any) -> OlderCommit:
    if not isinstance(entry, dict):
        raise ValueError("commits: expected JSON objects")  # noqa: TRY004  # as above
    date = _time(entry, "date")
    if date is None:
        raise ValueError("commits: expected a date")
    return OlderCommit(_field(entry, "title", str, ""), date, _matching(_SHA, "commits: sha", entry.get("sha")))


def _matching(pattern: re.Pattern[str], name: str, value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and pattern.fullmatch(value)):
        raise ValueError(f"{name}: expected {pattern.pattern}")
    return value


def _field(fields: dict[str, Any], name: str, kind: type, default: Any) -> Any:
    value = fields.get(name)
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{name}: expected {kind.__name__}")
    return value


def _time(fields: dict[str, Any], name: str) -> datetime | None:
    text = _field(fields, name, str, None)
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
