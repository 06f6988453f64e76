"""From a source into the catalogue: pages of the listing, then each new revision, then the families.

A page's rows and the cursor behind it are stored in one transaction, and so is all that is known of one revision. A
crawl that was cut goes on at the page, and then at the repository, where it stood.
"""

from __future__ import annotations

import fnmatch
import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from crawler.architecture import CanonicalTensor
from crawler.declared import declared_parents
from crawler.describe import Description
from crawler.families import families, family_name, representative, signature
from db import catalogue, failures
from db.engine import transaction
from db.errors import Failure, Transient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from crawler.families import Signature
    from crawler.source import Details, Listed, Query, Source
    from db.models import Repository


@dataclass(frozen=True)
class Progress:
    """How far a crawl is."""

    stage: str  # "list" or "describe"
    name: str
    done: int
    total: int | None


@dataclass(frozen=True)
class Crawled:
    """What one crawl did."""

    source_id: int
    listed: int
    described: int
    removed: int


def crawl(
    engine: Engine,
    source: Source,
    query: Query,
    *,
    retry_failed: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Crawled:
    """Bring the catalogue up to what the source now holds of the repositories that the query asks for.

    Raises SourceUnreachable where the source does not answer; what is wrong with one repository is recorded as its
    failure.
    """
    crawl_id, source_id, listed, removed = _list(engine, source, query, progress)
    described = _describe_new(engine, source, query, crawl_id, source_id, retry_failed, progress)
    with transaction(engine) as session:
        assign_families(session, source_id)
    return Crawled(source_id, listed, described, removed)


def _list(
    engine: Engine, source: Source, query: Query, progress: Callable[[Progress], None]
) -> tuple[int, int, int, int]:
    """Store the listing page by page; return the crawl's id, the source's, and how many were listed and removed."""
    with transaction(engine) as session:
        source_id = catalogue.source_id(session, source.name)
        begun = catalogue.begin_crawl(session, source_id, asdict(query))
        cursor = begun.cursor
    listed = 0
    for page in source.pages(query, cursor):
        listed += len(page.rows)
        with transaction(engine) as session:
            crawl = session.merge(begun)
            rows = [_row(one) if not query.ids else {"name": one.name, "head_sha": None} for one in page.rows]
            catalogue.store_page(session, crawl, rows, page.cursor)
            begun = crawl
        progress(Progress("list", page.rows[-1].name if page.rows else "", listed, None))
    with transaction(engine) as session:
        complete = query == type(query)()
        removed = catalogue.finish_crawl(session, session.merge(begun), complete=complete)
    return begun.id, source_id, listed, removed


def _row(one: Listed) -> dict[str, Any]:
    row = asdict(one)
    row["head_sha"] = row.pop("sha")
    row["tags"] = list(one.tags)
    row["architectures"] = None if one.architectures is None else list(one.architectures)
    return row


def _describe_new(
    engine: Engine,
    source: Source,
    query: Query,
    crawl_id: int,
    source_id: int,
    retry_failed: bool,
    progress: Callable[[Progress], None],
) -> int:
    """Describe the repositories of a crawl whose newest revision is not known yet; return their number."""
    with transaction(engine) as session:
        seen = catalogue.seen(session, crawl_id)
        failed = catalogue.failures_to_describe(session, source_id)
    wanted = [(repository, sha) for repository, sha in seen if _wanted(repository.architectures, query)]
    described = 0
    for number, (repository, sha) in enumerate(wanted):
        progress(Progress("describe", repository.name, number, len(wanted)))
        before = failed.get(repository.id, {})
        if _is_due(repository, sha, before, retry_failed):
            again = retry_failed or Transient.__name__ in before
            described += _describe(engine, source, query, repository, None if before and again else sha)
    progress(Progress("describe", "", len(wanted), len(wanted)))
    return described


def _is_due(repository: Repository, known: str | None, failed: dict[str, datetime], retry_failed: bool) -> bool:
    """Whether a repository is to be described: it is new, or has a new commit, or failed and may do better now."""
    if failed and (retry_failed or Transient.__name__ in failed):
        return True
    if known is not None:
        return repository.head_sha != known
    # It could not be described at all: only a change since then gives it another chance.
    changed = repository.last_modified
    return not failed or (changed is not None and changed > max(failed.values()))


def _wanted(architectures: Sequence[str] | None, query: Query) -> bool:
    """Whether a model's architectures match; where the listing does not carry them, its details will tell."""
    if not query.architectures or architectures is None:
        return True
    return any(fnmatch.fnmatchcase(one, pattern) for one in architectures for pattern in query.architectures)


def _describe(engine: Engine, source: Source, query: Query, repository: Repository, known: str | None) -> bool:
    """Read what there is to know of a repository's newest revision, unless it is `known`, and store it at once."""
    try:
        details = source.details(repository.name)
    except Failure as failure:
        with transaction(engine) as session:
            failures.record(session, failure, stage="describe", repository_id=repository.id)
        return False
    with transaction(engine) as session:
        catalogue.store_listed(session, repository.id, {**_row(details.listed), "head_sha": details.sha})
    if details.sha == known or not _wanted((details.config or {}).get("architectures") or (), query):
        return False
    found = Description(source, details)
    found.read()
    with transaction(engine) as session:
        failures.resolve(session, repository.id, ["card", "describe"])
        _store(session, repository.id, details, found)
    return True


def _store(session: Session, repository_id: int, details: Details, found: Description) -> None:
    """Store a revision with its files, headers, declared parents and failures."""
    digest = _weights_digest(details, found)
    revision = catalogue.store_revision(
        session,
        repository_id,
        {
            "sha": details.sha,
            "config": found.config,
            "card_data": found.card.data if found.card is not None else None,
            "commit_title": details.commit_title,
            "weights": found.weights,
            "weights_digest": digest,
        },
    )
    files = [{**asdict(file), "size": file.size if file.size >= 0 else None} for file in details.files]
    catalogue.store_files(session, revision, files)
    if found.architecture is not None:
        tensors = {tensor.source: tensor for tensor in found.architecture.tensors}
        for path, header in found.headers.items():
            specs = [
                catalogue.Spec(
                    spec.name,
                    tensors[spec.name].name,
                    tensors[spec.name].kind,
                    spec.dtype,
                    spec.shape,
                    spec.start,
                    spec.stop,
                )
                for spec in header.specs
                if spec.name in tensors
            ]
            catalogue.store_layout(session, revision, path, specs)
    declared = declared_parents(
        found.card,
        base_models=details.base_models,
        tags=details.listed.tags,
        adapter_config=found.adapter_config,
        commit_title=details.commit_title,
    )
    catalogue.store_declared(session, revision, [asdict(parent) for parent in declared])
    for stage, failure in found.failures:
        failures.record(session, failure, stage=stage, repository_id=repository_id, revision_id=revision)


def _weights_digest(details: Details, found: Description) -> bytes | None:
    """A hash of the weight files' hashes, in the order of their names; None where the source does not tell them."""
    hashes = [file.sha256 for file in sorted(details.files, key=lambda one: one.path) if file.path in found.headers]
    if not hashes or not all(hashes):
        return None
    return hashlib.sha256("\n".join(one or "" for one in hashes).encode()).digest()


def assign_families(session: Session, source_id: int) -> None:
    """Put every current revision with weights into its family.

    A family is a connected component of comparable trunks, so it does not depend on the order in which revisions came.
    It keeps the name under which most of its members were known before.
    """
    rows = catalogue.described(session, source_id)
    trunks: dict[tuple[int, ...], Signature] = {}
    for row in rows:
        if row.layouts not in trunks:
            specs = catalogue.trunk_of(session, row.layouts)
            trunks[row.layouts] = signature(
                CanonicalTensor(layer, layer, dtype, shape, "trunk") for layer, dtype, shape in specs
            )
    for group in families({row.revision_id: trunks[row.layouts] for row in rows}):
        chosen = set(group)
        members = [row for row in rows if row.revision_id in chosen]
        before = [row.family_id for row in members if row.family_id is not None]
        if before:
            family = min(set(before), key=lambda one: (-before.count(one), one))
        else:
            trunk = representative(trunks[row.layouts] for row in members)
            config = next((row.config for row in members if trunks[row.layouts] == trunk), None)
            family = catalogue.family_id(session, source_id, family_name(config, trunk))
        catalogue.set_family(session, [row.revision_id for row in members if row.family_id != family], family)
