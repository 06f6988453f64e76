"""Repositories and files as the JSON rows of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hublineage.hub.metadata import RELATIONS
from hublineage.hub.repository import Folder, Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from hublineage.hub.content import StoredFile

Row = dict[str, Any]


def iso(moment: datetime) -> str:
    """A time as the API writes it: milliseconds, UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


def _siblings(_: Folder, repository: Repository) -> list[Row]:
    return [{"rfilename": file.path} for file in repository.files]


def _base_models(folder: Folder, repository: Repository) -> Row | None:
    """Parents that exist here, under their right names; None without any."""
    metadata = folder.metadata(repository)
    names = (name if folder.find(name) else folder.right_name(name) for name in metadata.base_models)
    found = [parent for name in names if name and (parent := folder.find(name)) and not parent.sidecar.private]
    if not found:
        return None
    return {"relation": metadata.relation, "models": [{"_id": parent.hub_id, "id": parent.name} for parent in found]}


def _children_count(folder: Folder, repository: Repository) -> Row:
    count = dict.fromkeys(sorted(RELATIONS), 0)
    for other in folder.repositories():
        metadata = folder.metadata(other)
        if metadata.relation in count and repository.name in metadata.base_models and not other.sidecar.private:
            count[metadata.relation] += 1
    return count


def _nothing(_: Folder, __: Repository) -> None:
    return None


# Every name that `expand` knows; what a folder of files cannot tell is nothing.
FIELDS: Mapping[str, Callable[[Folder, Repository], Any]] = {
    "author": lambda _, repository: repository.author,
    "baseModels": _base_models,
    "cardData": lambda folder, repository: folder.metadata(repository).card,
    "childrenModelCount": _children_count,
    "config": lambda folder, repository: folder.metadata(repository).config,
    "createdAt": lambda _, repository: iso(repository.created_at),
    "disabled": lambda _, repository: repository.sidecar.disabled,
    "downloads": lambda _, repository: repository.sidecar.downloads,
    "downloadsAllTime": lambda _, repository: repository.sidecar.downloads,
    "evalResults": _nothing,
    "gated": lambda _, repository: repository.sidecar.gated or False,
    "gguf": _nothing,
    "inference": _nothing,
    "inferenceProviderMapping": _nothing,
    "lastModified": lambda _, repository: iso(repository.last_modified),
    "library_name": lambda folder, repository: folder.metadata(repository).library_name,
    "likes": lambda _, repository: repository.sidecar.likes,
    "mask_token": _nothing,
    "model-index": lambda folder, repository: (folder.metadata(repository).card or {}).get("model-index"),
    "pipeline_tag": lambda folder, repository: folder.metadata(repository).pipeline_tag,
    "private": lambda _, repository: repository.sidecar.private,
    "resourceGroup": _nothing,
    "safetensors": lambda folder, repository: folder.metadata(repository).safetensors,
    "sha": lambda folder, repository: folder.revision(repository).sha,
    "siblings": _siblings,
    "spaces": lambda _, __: [],
    "tags": lambda folder, repository: list(folder.metadata(repository).tags),
    "transformersInfo": _nothing,
    "trendingScore": lambda _, repository: repository.sidecar.trending_score,
    "usedStorage": lambda _, repository: sum(file.size for file in repository.files),
    "widgetData": _nothing,
    "xetEnabled": lambda _, __: False,
}
# The Hub refuses these in listings, though not for one model.
LISTING_FIELDS = tuple(name for name in FIELDS if name not in {"childrenModelCount", "usedStorage"})

_BARE = ("likes", "trendingScore", "private", "downloads", "tags", "pipeline_tag", "library_name", "createdAt")
_FULL = ("author", "gated", "lastModified", "sha", "siblings")
_INFO = (
    *(
        "private",
        "tags",
        "pipeline_tag",
        "library_name",
        "downloads",
        "likes",
        "author",
        "sha",
        "lastModified",
        "gated",
    ),
    *("disabled", "model-index", "config", "cardData", "siblings", "spaces", "createdAt", "safetensors", "usedStorage"),
)
_KEPT_WHEN_EMPTY = frozenset({"model-index"})


def listing_row(folder: Folder, repository: Repository, fields: Iterable[str]) -> Row:
    """One row of a listing with these fields after `_id` and `id`; fields without a value are left out."""
    row: Row = {"_id": repository.hub_id, "id": repository.name}
    for name in fields:
        value = FIELDS[name](folder, repository)
        if value is not None or name in _KEPT_WHEN_EMPTY:
            row[name] = value
    return row


def listing_fields(*, full: bool, card: bool, config: bool) -> tuple[str, ...]:
    """The fields of a listing without `expand`."""
    extra = (("cardData",) if card else ()) + (("config",) if config else ())
    return (*_BARE, *(_FULL if full else ()), *extra)


def info(folder: Folder, repository: Repository, expand: Iterable[str], *, blobs: bool) -> Row:
    """The page of one model."""
    expand = tuple(expand)
    row = listing_row(folder, repository, expand or _INFO)
    if not expand:
        row["modelId"] = repository.name
    if blobs and "siblings" in row:
        row["siblings"] = [_blob(folder, file) for file in repository.files]
    return row


def _blob(folder: Folder, file: StoredFile) -> Row:
    ids = folder.ids.of(file)
    row: Row = {"rfilename": file.path, "size": file.size, "blobId": ids.git_sha1}
    if ids.sha256:
        row["lfs"] = {"sha256": ids.sha256, "size": file.size, "pointerSize": ids.pointer_size}
    return row


def commit(folder: Folder, repository: Repository) -> Row:
    """The one commit of a repository."""
    return {
        "id": folder.revision(repository).sha,
        "title": repository.sidecar.commit_title,
        "message": "",
        "authors": [{"user": repository.author}],
        "date": iso(repository.last_modified),
    }


def tree(folder: Folder, repository: Repository, inside: str, *, recursive: bool) -> Iterator[tuple[bool, str]]:
    """(is a file, path) of the entries of a folder, folders first, by path."""
    prefix = f"{inside}/" if inside else ""
    folders = (path for path in folder.revision(repository).trees if path and path.startswith(prefix))
    files = (file.path for file in repository.files if file.path.startswith(prefix))
    for is_file, paths in ((False, folders), (True, files)):
        for path in sorted(paths):
            if path != inside and (recursive or "/" not in path[len(prefix) :]):
                yield is_file, path


def path_row(folder: Folder, repository: Repository, path: str, *, expand: bool) -> Row | None:
    """A file or folder as tree and paths-info show it; None where there is neither."""
    row: Row
    if path in repository.by_path:
        file = repository.by_path[path]
        ids = folder.ids.of(file)
        row = {"type": "file", "oid": ids.git_sha1, "size": file.size}
        if ids.sha256:
            row["lfs"] = {"oid": ids.sha256, "size": file.size, "pointerSize": ids.pointer_size}
    elif path and path in folder.revision(repository).trees:
        row = {"type": "directory", "oid": folder.revision(repository).trees[path], "size": 0}
    else:
        return None
    row["path"] = path
    if expand:
        last = commit(folder, repository)
        row["lastCommit"] = {"id": last["id"], "title": last["title"], "date": last["date"]}
        if row["type"] == "file":
            row["securityFileStatus"] = {"status": "unscanned", "avScan": None, "pickleImportScan": None}
    return row
