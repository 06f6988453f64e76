"""What huggingface_hub raises, as our errors."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx2
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from crawler.retry import TryAgain, check_transient_status, transport_error
from crawler.small import missing_file
from db.errors import HublineageError, RepositoryUnavailable, SourceUnreachable

GATED = "it is gated and this token, or none, has no access"
DISABLED = "it is disabled"
NO_NAME = "this is not a repository's name"
REASONS = frozenset((GATED, DISABLED, NO_NAME))  # no mere status: nobody says so by mistake


def translated(error: Exception, endpoint: str, name: str, path: str | None) -> HublineageError:
    """An error of a call about repository `name` and its file `path`: permanent, or TryAgain."""
    if isinstance(error, OfflineModeIsEnabled):
        return SourceUnreachable(f"{endpoint}: HF_HUB_OFFLINE is set")
    if isinstance(error, httpx2.TransportError):
        return transport_error(error, urlsplit(endpoint).hostname or "", model=name, file=path)
    if isinstance(error, RemoteEntryNotFoundError) and path is not None:
        return missing_file(name, path)
    if isinstance(error, HfHubHTTPError):
        try:
            check_transient_status(error.response, model=name, file=path)
        except TryAgain as again:
            return again
        return RepositoryUnavailable(_refusal(error), model=name, file=path)
    what = NO_NAME if isinstance(error, HFValidationError) else type(error).__name__
    return RepositoryUnavailable(what, model=name, file=path)


def _refusal(error: HfHubHTTPError) -> str:
    """In this order: GatedRepoError is a RepositoryNotFoundError too."""
    status = error.response.status_code
    if isinstance(error, GatedRepoError):
        return GATED
    if isinstance(error, DisabledRepoError):
        return DISABLED
    if isinstance(error, RevisionNotFoundError):
        return "the revision is not there any more"
    if isinstance(error, RepositoryNotFoundError) or status in (401, 404):
        return f"it does not exist or is private (the Hub answers {status} to both)"
    return f"the Hub answers {status}"
