"""From a source into the catalogue: pages of the listing, then each new revision, then families and declared parents.

A page's rows and the cursor behind it are stored in one transaction, and so is all that is known of one revision. A
crawl that was cut goes on at the page, and then at the repository, where it stood.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from crawler.architecture import CanonicalTensor
from crawler.describing import JOBS, describe_listed
from crawler.families import families, family_name, representative, signature
from crawler.listing import list_repositories
from crawler.lookup import look_up
from db import catalogue, crawls, declared, problems
from db.engine import exclusive, transaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from crawler.families import Signature
    from crawler.source import Query, Source


@dataclass(frozen=True)
class Progress:
    """How far a crawl is."""

    stage: str  # "list", "describe" or "look up"
    name: str
    done: int
    total: int | None


@dataclass(frozen=True)
class Options:
    """How to crawl."""

    increment: bool = False  # only what was modified since the last crawl of the query, where there was one
    describe: bool = True  # read cards, configurations and headers of what was listed
    jobs: int = JOBS  # repositories at a time
    retry_failed: bool = False


@dataclass(frozen=True)
class Crawled:
    """What one crawl did."""

    source_id: int
    kind: str  # "full" or "increment"
    listed: int
    described: int
    removed: int


def crawl(
    engine: Engine,
    source: Source,
    query: Query,
    options: Options = Options(),  # frozen
    *,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Crawled:
    """Bring the catalogue up to what the source now holds of the repositories that the query asks for.

    Raises SourceUnreachable where the source does not answer; what is wrong with one repository is recorded as its
    failure. Several processes may crawl the same at once and share the work.
    """

    def listing(name: str, done: int) -> None:
        progress(Progress("list", name, done, None))

    def describing(name: str, done: int, total: int) -> None:
        progress(Progress("describe", name, done, total))

    def looking_up(name: str, done: int, total: int) -> None:
        progress(Progress("look up", name, done, total))

    found = list_repositories(engine, source, query, increment=options.increment, progress=listing)
    described = 0
    if options.describe:
        with transaction(engine) as session:
            waiting = crawls.to_describe(session, found.source_id, query.words)
        described = describe_listed(
            engine,
            source,
            query,
            waiting,
            jobs=options.jobs,
            retry_failed=options.retry_failed,
            report=describing,
        )
        with transaction(engine) as session:
            crawls.set_described(session, waiting)
    settle(engine, source, found.source_id, look=options.describe, report=looking_up)
    return Crawled(found.source_id, found.kind, found.listed, described, found.removed)


def settle(
    engine: Engine, source: Source, source_id: int, *, look: bool, report: Callable[[str, int, int], None]
) -> None:
    """Put what was described into families, and declared parents to repositories; one process does so at a time."""
    with exclusive(engine, f"settle {source.name}"):
        with transaction(engine) as session:
            catalogue.share_layouts(session, source_id)
            assign_families(session, source_id)
        settle_declared(engine, source, source_id, look=look, report=report)


def settle_declared(
    engine: Engine, source: Source, source_id: int, *, look: bool, report: Callable[[str, int, int], None]
) -> None:
    """Resolve declared names to repositories, ask the source for those that lead nowhere, and note what is wrong."""
    with transaction(engine) as session:
        declared.resolve(session, source_id)
    if look and look_up(engine, source, source_id, report):
        with transaction(engine) as session:
            declared.resolve(session, source_id)
    with transaction(engine) as session:
        problems.find_problems(session, source_id)


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
