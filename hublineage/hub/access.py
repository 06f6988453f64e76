"""Which repository a request names, and whether it may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hublineage.hub import parameters, replies

if TYPE_CHECKING:
    from starlette.exceptions import HTTPException
    from starlette.requests import Request

    from hublineage.hub.folder import Folder
    from hublineage.hub.repository import Repository

BRANCHES = ("main", "refs/heads/main", "HEAD")
_SUBPATHS = ("refs", "revision", "commits", "tree", "paths-info", "resolve")


class Access:
    """Finds repositories for requests; `tokens` open the private and the gated ones."""

    def __init__(self, folder: Folder, tokens: frozenset[str]) -> None:
        self._folder = folder
        self._tokens = tokens

    def may_see(self, request: Request, repository: Repository) -> bool:
        """Whether the request may know that the repository is there."""
        return not repository.sidecar.private or parameters.token(request) in self._tokens

    def find(self, request: Request, *, enabled: bool = False, files: bool = False) -> Repository:
        """The repository that the address names, if this request may see it (`enabled`) and its `files`.

        Raises the Hub's error where it may not, or its redirect where the repository has another name now.
        """
        name = "{org}/{name}".format_map(request.path_params)
        token = parameters.token(request)
        repository = self._folder.find(name)
        if repository is None:
            raise self.elsewhere(request, name)
        if not self.may_see(request, repository):
            raise replies.repository_not_found(anonymous=token is None)
        if enabled and repository.sidecar.disabled:
            raise replies.disabled()
        if files and repository.sidecar.gated and token not in self._tokens:
            raise replies.gated(name, anonymous=token is None)
        return repository

    def elsewhere(self, request: Request, name: str) -> HTTPException:
        """The redirect to the repository that has another name than asked for, or that there is none to be seen."""
        snapshot = self._folder.snapshot()
        asked = [name]
        if name.count("/") == 1 and name.rpartition("/")[2] in _SUBPATHS:
            asked.append(name.partition("/")[0])  # /api/models/gpt2/refs reads like a repository gpt2/refs
        for each in asked:
            right = snapshot.right_name(each)
            if right and right != each and self.may_see(request, snapshot.by_name[right]):
                return replies.moved(request, each, right)
        return replies.repository_not_found(anonymous=parameters.token(request) is None)

    def commit(self, request: Request, repository: Repository) -> str:
        """The commit's sha. Raises 404 RevisionNotFound unless the address names main or this very commit."""
        asked = request.path_params.get("rev", "main")
        sha = self._folder.revision(repository).sha
        if asked not in (*BRANCHES, sha):
            raise replies.revision_not_found(asked)
        return sha
