"""Opening the sources of the catalogue as the settings say: within the Hub's quota, and through a cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from crawler.addresses import Alone
from crawler.budget import shared_budget
from crawler.cache import CachedSource
from crawler.folder import FolderSource
from crawler.hub import HubSource, token_for
from crawler.ledger import account_of
from crawler.observed import unobserved
from crawler.shared_addresses import SharedAddresses
from db import catalogue
from db.engine import transaction
from db.errors import UsageError
from hublineage.settings_values import parse_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

    from crawler.budget import OnWait
    from crawler.observed import Observe
    from crawler.retry import Policy
    from crawler.source import Source
    from hublineage.progress import Reporter
    from hublineage.settings import Settings


def open_source(
    name: str,
    engine: Engine,
    settings: Settings,
    report: Reporter,
    *,
    on_wait: OnWait | None = None,
    policy: Policy | None = None,
    observe: Observe = unobserved,
    shares: Callable[[], bool] = lambda: False,
) -> Source:
    """The source of a name, as the catalogue stores it: a Hub's address or a folder's file: address.

    Workers on one database share the Hub's quota, and addresses of files, which it is asked for, while `shares` says
    so: who describes a repository asks the Hub itself, which may refuse it by now. `on_wait` is told of waits for the
    quota, and may raise, in place of the report; `observe` of each request that leaves. Raises UsageError for other
    names.
    """
    parts = urlsplit(name)
    if parts.scheme == "file":
        return FolderSource(Path(unquote(parts.path)))
    if parts.scheme not in {"http", "https"}:
        raise UsageError(f"{name!r} is neither a Hub's address (https://...) nor a folder's (file:///...)")

    def waiting(seconds: float, bucket: str) -> None:
        report.note(f"our share of the Hub's quota of {bucket} requests is used up: waiting {seconds:.0f} s")

    token = token_for(name)
    budget = shared_budget(engine, name, token, share=settings.quota_share, on_wait=on_wait or waiting)
    alone, others = Alone(), SharedAddresses(engine, name, account_of(token))
    hub = HubSource(
        name, token, budget=budget, policy=policy, observe=observe, shared=lambda: others if shares() else alone
    )
    if settings.cache is None:
        return hub
    try:
        limit = parse_size(settings.cache_size)
    except ValueError as error:
        raise UsageError(f"--cache-size: {error}") from error

    def content(model: str, sha: str, path: str) -> tuple[str, int] | None:
        with transaction(engine) as session:
            return catalogue.content_of(session, name, model, sha, path)

    return CachedSource(hub, settings.cache / "weights", limit, content)
