"""Repositories and files as the JSON rows of the API."""

from __future__ import annotations

import hashlib
from functools import cached_property
from typing import TYPE_CHECKING, Any

from hublineage.hub.metadata import RELATIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from hublineage.hub.content import StoredFile
    from hublineage.hub.folder import Folder
    from hublineage.hub.repository import Repository
    from hublineage.hub.snapshot import Snapshot

Row = dict[str, Any]


def iso(moment: datetime) -> str:
    """A time as the API writes it: milliseconds, UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


class View:
    """One request's look at the folder: whatever its rows say of other repositories is of one moment."""

    def __init__(self, folder: Folder, snapshot: Snapshot | None = None) -> None:
        self.folder = folder
        if snapshot is not None:
            self.snapshot = snapshot

    @cached_property
    def snapshot(self) -> Snapshot:
        """All repositories; looked at when they are first asked for."""
        return self.folder.snapshot()


def _siblings(_: View, repository: Repository) -> list[Row]:
    return [{"rfilename": file.path} for file in repository.files]


def _base_models(view: View, repository: Repository) -> Row | None:
    """Parents that exist here, under their right names; None without any."""
    metadata = view.folder.metadata(repository)
    parents = (view.snapshot.find(name) for name in metadata.base_models)
    found = {parent.hub_id: parent for parent in parents if parent is not None and not parent.sidecar.private}
    if not found:
        return None
    return {"relation": metadata.relation, "models": [{"_id": key, "id": found[key].name} for key in found]}


def _children_count(view: View, repository: Repository) -> Row:
    count = dict.fromkeys(sorted(RELATIONS), 0)
    for other in view.snapshot.repositories:
        metadata = view.folder.metadata(other)
        if metadata.relation in count and repository.name in metadata.base_models and not other.sidecar.private:
            count[metadata.relation] += 1
    return count


def _nothing(_: View, __: Repository) -> None:
    return None


# Every name that `expand` knows; what a folder of files cannot tell is nothing.
FIELDS: Mapping[str, Callable[[View, Repository], Any]] = {
    "author": lambda _, repository: repository.author,
    "baseModels": _base_models,
    "cardData": lambda view, repository: view.folder.metadata(repository).card,
    "childrenModelCount": _children_count,
    "config": lambda view, repository: view.folder.metadata(repository).config,
    "createdAt": lambda _, repository: iso(repository.created_at),
    "disabled": lambda _, repository: repository.sidecar.disabled,
    "downloads": lambda _, repository: repository.sidecar.downloads,
    "downloadsAllTime": lambda _, repository: repository.sidecar.downloads,
    "evalResults": _nothing,
    "gated": lambda _, repository: repository.sidecar.gated or False,
    "gguf": lambda view, repository: view.folder.metadata(repository).gguf,
    "inference": _nothing,
    "inferenceProviderMapping": _nothing,
    "lastModified": lambda _, repository: iso(repository.last_modified),
    "library_name": lambda view, repository: view.folder.metadata(repository).library_name,
    "likes": lambda _, repository: repository.sidecar.likes,
    "mask_token": _nothing,
    "model-index": lambda view, repository: (view.folder.metadata(repository).card or {}).get("model-index"),
    "pipeline_tag": lambda view, repository: view.folder.metadata(repository).pipeline_tag,
    "private": lambda _, repository: repository.sidecar.private,
    "resourceGroup": _nothing,
    "safetensors": lambda view, repository: view.folder.metadata(repository).safetensors,
    "sha": lambda view, repository: view.folder.revision(repository).sha,
    "siblings": _siblings,
    "spaces": lambda _, __: [],
    "tags": lambda view, repository: list(view.folder.metadata(repository).tags),
    "transformersInfo": _nothing,
    "trendingScore": lambda _, repository: repository.sidecar.trending_score,
    "usedStorage": lambda _, repository: sum(file.size for file in repository.files),
    "widgetData": _nothing,
    "xetEnabled": lambda view, repository: view.folder.is_xet(repository),
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
    *(
        "disabled",
        "model-index",
        "config",
        "cardData",
        "siblings",
        "spaces",
        "createdAt",
        "safetensors",
        "gguf",
        "usedStorage",
    ),
)
_KEPT_WHEN_EMPTY = frozenset({"model-index"})


def listing_row(view: View, repository: Repository, fields: Iterable[str]) -> Row:
    """One row of a listing with these fields after `_id` and `id`; fields without a value are left out."""
    row: Row = {"_id": repository.hub_id, "id": repository.name}
    for name in fields:
        value = FIELDS[name](view, repository)
        if value is not None or name in _KEPT_WHEN_EMPTY:
            row[name] = value
    return row


def listing_fields(*, full: bool, card: bool, config: bool) -> tuple[str, ...]:
    """The fields of a listing without `expand`."""
    extra = (("cardData",) if card else ()) + (("config",) if config else ())
    return (*_BARE, *(_FULL if full else ()), *extra)


def info(view: View, repository: Repository, expand: Iterable[str], *, blobs: bool) -> Row:
    """The page of one model."""
    expand = tuple(expand)
    row = listing_row(view, repository, expand or _INFO)
    if not expand:
        row["modelId"] = repository.name
    if blobs and "siblings" in row:
        row["siblings"] = [_blob(view.folder, file) for file in repository.files]
    return row


def _blob(folder: Folder, file: StoredFile) -> Row:
    ids = folder.ids.of(file)
    row: Row = {"rfilename": file.path, "size": file.size, "blobId": ids.git_sha1}
    if ids.sha256:
        row["lfs"] = {"sha256": ids.sha256, "size": file.size, "pointerSize": ids.pointer_size}
    return row


def commit(folder: Folder, repository: Repository) -> Row:
    """The commit that is served."""
    sidecar = repository.sidecar
    return _commit(folder.revision(repository).sha, sidecar.commit_title, repository.last_modified, repository)


def commits(folder: Folder, repository: Repository) -> list[Row]:
    """The history, newest first: the commit that is served, then what the sidecar tells of older ones."""
    rows = [commit(folder, repository)]
    for number, older in enumerate(reversed(repository.sidecar.commits)):  # the first commit is number 0
        made_up = f"{repository.first_name}\n{number}\n{older.title}\n{iso(older.date)}".encode()
        sha = older.sha or hashlib.sha1(made_up, usedforsecurity=False).hexdigest()
        rows.insert(1, _commit(sha, older.title, older.date, repository))
    return rows


def _commit(sha: str, title: str, date: datetime, repository: Repository) -> Row:
    return {"id": sha, "title": title, "message": "", "authors": [{"user": repository.author}], "date": iso(date)}


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
            if folder.is_xet(repository):
                row["xetHash"] = ids.xet_hash
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
