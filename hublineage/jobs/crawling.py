"""The jobs of the queue `crawl`: pages of a listing, headers of a batch of repositories, families, declared names."""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from crawler import pipeline
from crawler.describing import describe_repositories, due_repositories
from crawler.listing import list_repositories
from db import crawls
from db.engine import transaction
from db.models import Crawl, FailureRow
from hublineage.jobs import kinds
from lineage.measure_options import METRIC_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crawler.source import Query
    from hublineage.jobs.workplace import Work

_UPSTREAM = kinds.CRAWL, kinds.SWEEP, kinds.DESCRIBE  # what settling waits for
_LATER = 5.0  # seconds that settling waits longer where others are to bring it on
_TRIED_AGAIN = 6  # times that a repository is described again after passing failures; then the next crawl does it


class _SliceOverError(Exception):
    """The crawl gives its place to other jobs."""


def crawl(work: Work, *, increment: bool, **args: Any) -> None:
    """List pages for a while, queue the description of what they showed, and then the rest of the listing.

    A try that was cut goes on at its page; one that was cut behind the last page finds the crawl finished since then.
    """
    name, query = str(args["source"]), kinds.query_of(args["query"])
    list_only, retry_failed = bool(args.get("list_only")), bool(args.get("retry_failed"))
    since = datetime.fromisoformat(args["since"]) if args.get("since") else work.since
    increment = increment and not query.ids and query.limit is None
    shown = _Shown(work, name, query, retry_failed=retry_failed, list_only=list_only, page=int(args.get("page", 0)))
    source = work.source(name)
    with transaction(work.engine) as session:
        source_id = crawls.source_id(session, name)
    crawl_id = _finished(work, source_id, query, since, increment=increment)
    if crawl_id is None:

        def progress(repository: str, listed: int) -> None:
            shown.describe_open(source_id)
            work.checkpoint(f"{name} {repository}", listed, query.limit)
            if work.seconds > work.settings.queue.slice:
                raise _SliceOverError

        try:
            crawl_id = list_repositories(work.engine, source, query, increment=increment, progress=progress).crawl_id
        except _SliceOverError:
            rest = kinds.crawl(
                name,
                query,
                increment=increment,
                list_only=list_only,
                retry_failed=retry_failed,
                since=since.isoformat(),
                page=shown.page,
            )
            work.then(rest)
            return
    shown.describe(crawl_id)
    _settle(work, name, look=not list_only)


def _finished(work: Work, source_id: int, query: Query, since: datetime, *, increment: bool) -> int | None:
    """The crawl that was finished since this one was asked for: by an earlier try, or by somebody else."""
    words = query.words
    with transaction(work.engine) as session:
        for kind in ("increment", "full") if increment else ("full",):
            done = crawls.finished_after(session, source_id, kind, words, since)
            if done is not None:
                return done.id
    return None


class _Shown:
    """What pages have shown, queued to be described."""

    def __init__(
        self, work: Work, source: str, query: Query, *, retry_failed: bool, list_only: bool, page: int
    ) -> None:
        self._work, self._source, self._query = work, source, query
        self._retry_failed, self._list_only = retry_failed, list_only
        self.page = page  # up to which what was shown is queued

    def describe_open(self, source_id: int) -> None:
        """Of the crawls of the query that are not finished."""
        with transaction(self._work.engine) as session:
            unfinished = select(Crawl.id).where(Crawl.source_id == source_id, Crawl.finished_at.is_(None))
            mine = session.scalars(unfinished.where(Crawl.query == self._query.words)).all()
        for crawl_id in mine:
            self.describe(crawl_id)

    def describe(self, crawl_id: int) -> None:
        """Of one crawl."""
        if self._list_only:
            return
        with transaction(self._work.engine) as session:
            numbers = [number for _, number, _ in crawls.pages(session, [crawl_id]) if number > self.page]
        for number in numbers:
            with transaction(self._work.engine) as session:
                ids = [seen.repository.id for seen in crawls.seen(session, crawl_id, number)]
            due = due_repositories(self._work.engine, self._query, ids, retry_failed=self._retry_failed)
            self._work.defer(
                *(
                    kinds.describe(self._source, self._query, some, retry_failed=self._retry_failed)
                    for some in portions(due, self._work.settings.queue.describe)
                )
            )
            self.page = number


def describe(work: Work, *, source: str, query: dict[str, Any], repositories: list[int], **args: Any) -> None:
    """Read cards, configurations and headers of a batch of repositories.

    A batch that ended a worker is taken apart, so that the one that does it is found. What failed for a passing reason
    is queued again.
    """
    asked = kinds.query_of(query)
    retry_failed, attempt = bool(args.get("retry_failed")), int(args.get("attempt", 0))
    if work.record.killed and len(repositories) > 1:
        options = {"retry_failed": retry_failed, "attempt": attempt}
        work.then(*(kinds.describe(source, asked, [one], **options) for one in repositories))
        return
    describe_repositories(
        work.engine,
        work.source(source),
        asked,
        repositories,
        jobs=work.settings.jobs,
        retry_failed=retry_failed,
        report=work.checkpoint,
    )
    passing = _failed_for_now(work, repositories)
    if passing and attempt < _TRIED_AGAIN:
        limits = work.settings.queue
        wait = min(limits.first_wait * 2.0**attempt, limits.longest_wait)
        work.then(kinds.describe(source, asked, passing, attempt=attempt + 1, wait=wait))
    _settle(work, source)


def _settle(work: Work, source: str, *, look: bool = True) -> None:
    """Settle soon where this job is the last of what the source is crawled for; else whoever is the last brings it on.

    Two that end in the same moment take each other for the last: then it comes by itself a little later.
    """
    wait = work.settings.queue.settle_after
    if work.at_hand(_UPSTREAM, source):
        wait += wait + _LATER
    work.then(kinds.settle(source, look=look, wait=wait))


def _failed_for_now(work: Work, repositories: Sequence[int]) -> list[int]:
    """Those of these repositories that could not be described for a passing reason."""
    failed = select(FailureRow.repository_id).where(
        FailureRow.repository_id.in_(repositories),
        FailureRow.stage.in_(("card", "describe")),
        FailureRow.kind == "Transient",
        FailureRow.resolved_at.is_(None),
    )
    with transaction(work.engine) as session:
        return sorted(set(session.scalars(failed)))


def settle(work: Work, *, source: str, look: bool = True) -> None:
    """Families and declared parents, once what is being crawled is described; then what is to be measured of them."""
    coming = work.at_hand(_UPSTREAM, source)
    with transaction(work.engine) as session:
        source_id = crawls.source_id(session, source)
    if coming:
        work.wait_for(f"{coming} more jobs of {source} are at hand", work.settings.queue.settle_after)
    opened = work.source(source)
    pipeline.settle(
        work.engine,
        opened,
        source_id,
        look=look,
        report=lambda name, done, total: work.checkpoint(f"look up {name}", done, total),
    )
    with transaction(work.engine) as session:
        if not coming and look:
            finished = select(Crawl.id).where(Crawl.source_id == source_id, Crawl.finished_at.is_not(None))
            crawls.set_described(session, session.scalars(finished.where(Crawl.described_at.is_(None))).all())
        families = session.scalars(_CHANGED, {"source": source_id, "version": METRIC_VERSION}).all()
    work.then(*(kinds.plan(source, family) for family in families))
    work.then(kinds.compare(source, wait=work.settings.queue.compare_after))


# Families with a member that no finished batch has measured, or whose newest run began from other members.
_CHANGED = text(
    """
    WITH members AS (
        SELECT revisions.family_id, revisions.id, repositories.name, revisions.sha
        FROM revisions JOIN repositories ON repositories.current_revision_id = revisions.id
        WHERE repositories.source_id = :source AND repositories.removed_at IS NULL AND revisions.family_id IS NOT NULL
    )
    SELECT DISTINCT family_id FROM members
    WHERE NOT EXISTS (
        SELECT FROM measure_batches batch
        WHERE batch.family_id = members.family_id AND batch.metric_version = :version AND batch.finished_at IS NOT NULL
          AND members.id = ANY(batch.members) AND NOT members.id = ANY(batch.lost)
    )
    UNION
    SELECT family_id FROM members JOIN runs USING (family_id) WHERE runs.is_current
    GROUP BY family_id, runs.id HAVING jsonb_object_agg(members.name, members.sha) <> runs.inputs -> 'revisions'
    """
)


def portions(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Items in as few portions as there must be of at most that size, each as large as the others."""
    count = -(-len(items) // size)
    ends = [len(items) * number // count for number in range(count + 1)] if count else []
    for first, end in pairwise(ends):
        yield items[first:end]
