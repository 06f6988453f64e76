"""From a description to rows of the catalogue."""

from __future__ import annotations

import hashlib
import random
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import DBAPIError

from crawler.architecture import BUFFER
from crawler.declared import declared_parents
from crawler.weights import likely_weights
from db import catalogue, declared, failures
from db.engine import transaction
from db.errors import WeightsMissing
from db.listing import store_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from crawler.describe import Description
    from crawler.source import Details
    from db.listing import Row
    from db.models import Repository

Result = TypeVar("Result")

# https://www.postgresql.org/docs/current/errcodes-appendix.html: deadlock_detected, serialization_failure,
# unique_violation (another worker has stored the same meanwhile)
_IN_EACH_OTHERS_WAY = frozenset(("40P01", "40001", "23505"))
_TRIES = 5
_LONGEST_WAIT = 0.2  # seconds; by chance, so that the same two do not meet again


def stored(engine: Engine, store: Callable[[Session], Result]) -> Result:
    """What `store` returns, done in a transaction of its own; done anew where another worker's was in its way."""
    for _ in range(1, _TRIES):
        try:
            with transaction(engine) as session:
                return store(session)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) not in _IN_EACH_OTHERS_WAY:
                raise
        time.sleep(random.uniform(0, _LONGEST_WAIT))  # noqa: S311  # no secret
    with transaction(engine) as session:
        return store(session)


def store_row(session: Session, repository: Repository, row: Row) -> int:
    """Store what a source says of one repository, which may be more than its listing did; return its id.

    It may be another one than was asked for: a name that was only known as a name may lead to one that has another.
    """
    number = store_rows(session, repository.source_id, [row]).repositories[0]
    if number != repository.id:
        catalogue.replace_name(session, repository, number)
    return number


def store_description(session: Session, repository_id: int, details: Details, found: Description) -> None:
    """Store a revision with its files, headers, declared parents and failures; older failures are overcome."""
    failures.resolve(session, repository_id, ["card", "describe"])
    revision = catalogue.store_revision(
        session,
        repository_id,
        {
            "sha": details.sha,
            "config": found.config,
            "card_data": found.card.data if found.card is not None else None,
            "commit_title": details.commit_titles[0] if details.commit_titles else None,
            "weights": found.weights,
            "weights_digest": weights_digest(details, found),
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
                    tensors[spec.name].dtype,
                    tensors[spec.name].shape,
                    spec.start,
                    spec.stop,
                )
                for spec in header.specs
                if spec.name in tensors
            ]
            specs += [
                catalogue.Spec(spec.name, "", BUFFER, spec.dtype, spec.shape, spec.start, spec.stop)
                for spec in header.specs
                if spec.name in found.architecture.beside
            ]
            catalogue.store_layout(session, revision, path, specs)
    parents = declared_parents(
        found.card,
        base_models=details.base_models,
        tags=details.listed.tags,
        adapter_config=found.adapter_config,
        mergekit_config=found.mergekit_config,
        config=found.config,
        quantize_config=found.quantize_config,
        commit_titles=details.commit_titles,
        model=details.listed.name,
    )
    declared.store(session, revision, [parent.row() for parent in parents])
    record_failures(session, repository_id, revision, found)


def record_failures(session: Session, repository_id: int, revision: int | None, found: Description) -> None:
    """Store what went wrong with a description."""
    for stage, failure in found.failures:
        failures.record(session, failure, stage=stage, repository_id=repository_id, revision_id=revision)


def weights_digest(details: Details, found: Description) -> bytes | None:
    """A hash of the set of the weight files' hashes, however these are named; None where the source tells none.

    The weights are the files whose headers were read, else all files that look like some: so the copies of what is
    gated, or of a format that is not loaded, are known too.
    """
    if found.weights == "failed" and any(isinstance(failure, WeightsMissing) for _, failure in found.failures):
        return None  # where shards are missing, what is left may equal all of another model
    paths = found.headers.keys() or likely_weights([file.path for file in details.files])
    weights = [file for file in details.files if file.path in paths]
    for kind in ("sha256", "xet_hash", "blob_id"):
        hashes = [getattr(file, kind) for file in weights]
        if hashes and all(hashes):
            return hashlib.sha256("\n".join(sorted({one or "" for one in hashes})).encode()).digest()
    return None
