"""Describing what was listed: the newest revision of each repository that is followed, several at once.

Any number of processes may describe one listing: each repository is taken by one of them at a time, and what a process
that was killed had taken is taken by the others.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextvars import copy_context
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

from sqlalchemy.exc import DataError, IntegrityError
from structlog.contextvars import bound_contextvars

from crawler.describe import Description
from crawler.listing import row_of
from crawler.selection import follows
from crawler.source import Listed
from crawler.storing import record_failures, store_description, store_row, stored
from db import crawls, failures
from db.engine import Claims, transaction
from db.errors import Failure, RangeNotHonoured, RepositoryUnavailable, SourceUnreachable, Transient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine
    from sqlalchemy.orm import Session

    from crawler.source import Details, Query, Source
    from db.crawls import Seen
    from db.models import Repository

JOBS = 4  # repositories at a time: enough to hide the network's latency, too few to be a burden on a Hub
TRIED_AGAIN = timedelta(days=7)  # after which what may pass without a change of the repository is tried again
GIVEN_UP = 5  # times all jobs in a row could have nothing of their repositories: then it is not these that are at fault
_MAY_PASS = frozenset((RepositoryUnavailable.__name__, RangeNotHonoured.__name__))
_PATIENCE = 0.2  # seconds between looks at what other processes have taken

Result = TypeVar("Result")

Report = Callable[[str, int, int], None]
"""Takes the repository that was at hand, how many were looked at, and of how many."""


log = logging.getLogger(__name__)


class _StoppedError(Exception):
    """Another thread met an error that ends the crawl."""


def describe_listed(
    engine: Engine,
    source: Source,
    query: Query,
    listings: Sequence[int],
    *,
    jobs: int = JOBS,
    retry_failed: bool = False,
    report: Report = lambda _name, _done, _total: None,
) -> int:
    """Describe what these crawls listed and is due; return how many were described.

    Comes back when all is done, by whichever process. Raises SourceUnreachable; what is wrong with one repository is
    recorded as its failure.
    """
    describer = _Describer(engine, source, query, retry_failed, GIVEN_UP * jobs)
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="describe")
    try:
        return describer.describe(pool, listings, report)
    except BaseException:
        describer.stopped.set()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        describer.claims.close()


def due_repositories(
    engine: Engine, query: Query, repositories: Sequence[int], *, retry_failed: bool = False
) -> list[int]:
    """Those of these repositories that are followed and due, in their order; asks the catalogue alone."""
    with transaction(engine) as session:
        shown = {seen.repository.id: seen for seen in crawls.seen_of(session, repositories)}
        failed = failures.to_describe(session, list(shown))
    return [
        one
        for one in repositories
        if one in shown and is_due(shown[one], failed.get(one, {}), query, retry_failed=retry_failed)
    ]


def describe_repositories(
    engine: Engine,
    source: Source,
    query: Query,
    repositories: Sequence[int],
    *,
    jobs: int = JOBS,
    retry_failed: bool = False,
    report: Report = lambda _name, _done, _total: None,
) -> int:
    """Describe those of these repositories that are due, a few at a time; return how many were described.

    Those that another process is at are left to it. Raises SourceUnreachable, and what `report` raises, which it is
    called for before each few; what was described until then stays.
    """
    describer = _Describer(engine, source, query, retry_failed, GIVEN_UP * jobs)
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="describe")
    described = 0
    try:
        for first in range(0, len(repositories), 2 * jobs):
            with transaction(engine) as session:
                shown = crawls.seen_of(session, repositories[first : first + 2 * jobs])
            if shown:
                report(shown[0].repository.name, first, len(repositories))
                described += describer.several(pool, shown)[0]
        report("", len(repositories), len(repositories))
    except BaseException:
        describer.stopped.set()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        describer.claims.close()
    return described


def is_due(seen: Seen, failed: Mapping[str, datetime], query: Query, *, retry_failed: bool) -> bool:
    """Whether a repository is to be looked at: it is new, or has a new commit, or failed and may do better now."""
    repository = seen.repository
    if not follows(_listed(repository), query.architectures):
        return False
    if is_tried_again(failed, retry_failed=retry_failed) or query.ids:  # explicit ids are looked up, not listed
        return True
    if seen.known is not None:
        return repository.head_sha != seen.known
    # It could not be described at all: only a change since then gives it another chance.
    changed = repository.last_modified
    return not failed or (changed is not None and changed > max(failed.values()))


def is_tried_again(failed: Mapping[str, datetime], *, retry_failed: bool) -> bool:
    """Whether failures are of a kind that may have passed."""
    if retry_failed or Transient.__name__ in failed:
        return bool(failed)
    long_ago = datetime.now(UTC) - TRIED_AGAIN
    return any(failed[kind] < long_ago for kind in _MAY_PASS & failed.keys())


class _Describer:
    def __init__(self, engine: Engine, source: Source, query: Query, retry_failed: bool, most_refused: int) -> None:
        self._engine = engine
        self._source = source
        self._query = query
        self._retry_failed = retry_failed
        self.claims = Claims(engine, "describe")
        self.stopped = threading.Event()
        self._most_refused = most_refused
        self._refused = 0  # repositories in a row of which nothing could be had
        self._counting = threading.Lock()

    def describe(self, pool: ThreadPoolExecutor, listings: Sequence[int], report: Report) -> int:
        """Page by page; then, as long as there is any, what other processes were at."""
        with transaction(self._engine) as session:
            pages = crawls.pages(session, listings)
        total = sum(count for _, _, count in pages)
        looked_at = described = 0
        elsewhere: list[int] = []
        for crawl, number, count in pages:
            with transaction(self._engine) as session:
                shown = crawls.seen(session, crawl, number)
            for some in _portions(shown, 10 * JOBS):
                done, left = self.several(pool, some)
                described += done
                elsewhere += left
                report(some[-1].repository.name, looked_at := looked_at + len(some), total)
            looked_at += count - len(shown)  # what is gone meanwhile, or was seen twice
        while elsewhere:
            time.sleep(_PATIENCE)
            with transaction(self._engine) as session:
                shown = crawls.seen_of(session, elsewhere)
            done, elsewhere = self.several(pool, shown)
            described += done
        report("", total, total)
        return described

    def several(self, pool: ThreadPoolExecutor, shown: Sequence[Seen]) -> tuple[int, list[int]]:
        """Describe what is due of these; return how many were, and which other processes are at."""
        with transaction(self._engine) as session:
            failed = failures.to_describe(session, [seen.repository.id for seen in shown])
        due = [seen.repository for seen in shown if self._is_due(seen, failed.get(seen.repository.id, {}))]
        running = {pool.submit(copy_context().run, self._one, repository): repository.id for repository in due}
        done, _ = wait(running, return_when=FIRST_EXCEPTION)
        results = {running[future]: future.result() for future in done}  # raises what one of them raised
        return sum(result is True for result in results.values()), [one for one in results if results[one] is None]

    def _is_due(self, seen: Seen, failed: Mapping[str, datetime]) -> bool:
        return is_due(seen, failed, self._query, retry_failed=self._retry_failed)

    def _is_tried_again(self, failed: Mapping[str, datetime]) -> bool:
        return is_tried_again(failed, retry_failed=self._retry_failed)

    def _one(self, repository: Repository) -> bool | None:
        """Whether one repository was described; None where another process is at it."""
        if self.stopped.is_set() or not self.claims.take(repository.id):
            return None
        try:
            with bound_contextvars(model=repository.name):
                return self._claimed(repository)
        finally:
            self.claims.release(repository.id)

    def _claimed(self, repository: Repository) -> bool:
        with transaction(self._engine) as session:
            now = next(iter(crawls.seen_of(session, [repository.id])), None)
            failed = failures.to_describe(session, [repository.id]).get(repository.id, {})
        if now is None or not self._is_due(now, failed):  # another process was quicker
            return False
        try:
            return self._describe(now, failed)
        except (ArithmeticError, DataError, IntegrityError, LookupError, TypeError, ValueError) as error:
            # What nobody foresaw of one repository must not end the crawl of all others.
            log.exception("%s", repository.name)
            failure = RepositoryUnavailable(f"unforeseen: {' '.join(repr(error).split())[:300]}")
            self._stored(
                lambda session: failures.record(session, failure, stage="describe", repository_id=repository.id)
            )
            return False

    def _describe(self, seen: Seen, failed: Mapping[str, datetime]) -> bool:
        """Read what there is to know of a repository's newest revision, unless it is known, and store it at once."""
        repository = seen.repository
        details = self._details(repository)
        if details is None:
            return False
        row = row_of(details.listed)
        if row.hub_id is None:
            row = replace(row, head_sha=None)  # what lists no ids lists no commits either
        number = self._stored(lambda session: store_row(session, repository, row))
        is_known = details.sha == seen.known and not self._is_tried_again(failed)
        if is_known or not follows(details.listed, self._query.architectures):
            return False
        found = Description(self._source, details)
        found.read()
        if found.is_whole or seen.known is None or Transient.__name__ in failed:
            self._stored(lambda session: store_description(session, number, details, found))
            return True
        # A first try with holes does not take the place of what is known.
        self._stored(lambda session: record_failures(session, number, None, found))
        return False

    def _details(self, repository: Repository) -> Details | None:
        """What the source says of a repository; None where it fails, which is recorded.

        Raises SourceUnreachable where it fails of one repository after the other.
        """
        try:
            details = self._source.details(repository.name)
        except Failure as failure:
            refused = failure
            if repository.hub_id is not None and isinstance(failure, RepositoryUnavailable) and not self._query.ids:
                what = f"the listing shows it, but: {failure.detail}"
                refused = Transient(what, model=repository.name)  # one of the two is wrong, and the next crawl tells
            self._stored(
                lambda session: failures.record(session, refused, stage="describe", repository_id=repository.id)
            )
            with self._counting:
                self._refused += repository.hub_id is not None
                if self._refused < self._most_refused:
                    return None
            what = f"{self._source.name} fails of {self._most_refused} repositories in a row, at last: {refused}"
            raise SourceUnreachable(f"{what}; the same command goes on from here") from failure
        with self._counting:
            self._refused = 0
        return details

    def _stored(self, store: Callable[[Session], Result]) -> Result:
        """`stored`, unless the crawl has ended: what threads meet after that means nothing."""
        if self.stopped.is_set():
            raise _StoppedError
        return stored(self._engine, store)


def _portions(shown: Sequence[Seen], size: int) -> Iterator[Sequence[Seen]]:
    for first in range(0, len(shown), size):
        yield shown[first : first + size]


def _listed(repository: Repository) -> Listed:
    """As much of a repository as decides whether it is followed."""
    architectures = None if repository.architectures is None else tuple(repository.architectures)
    return Listed(
        repository.name, tags=tuple(repository.tags), architectures=architectures, model_type=repository.model_type
    )
