"""What the workers do while they are disturbed: a Hub is crawled, grows, shrinks and is crawled again.

Three times the queues are drained: after a full pass over the Hub without its newest models, after an increment that
finds these, and after a sweep that finds that one is gone, with the nightly inference and the removal of old runs. So
every task of the queue has something to do, and in the end all tables have rows.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from sqlalchemy import text

from benchmarks.faults_tables import Tables, tables
from crawler.source import Query
from db.engine import connect, transaction
from hublineage.hub.sidecar import SIDECAR_NAME
from hublineage.jobs import kinds, queue

if TYPE_CHECKING:
    from sqlalchemy import Engine

LATE = 4  # models that come between the first pass and the second
_OLD, _NEW = "2024-01-01T00:00:00.000Z", "2025-06-{:02}T00:00:00.000Z"


@dataclass(frozen=True)
class Hub:
    """A folder of models for a local Hub, a copy of its own."""

    root: Path  # what is served
    late: Path  # what is not there yet
    gone: str  # the model that will be removed

    def grow(self) -> None:
        """Let the late models appear."""
        for model in sorted(self.late.glob("*/*")):
            target = self.root / model.relative_to(self.late)
            target.parent.mkdir(exist_ok=True)
            model.rename(target)

    def shrink(self) -> None:
        """Remove a model."""
        shutil.rmtree(self.root / self.gone)


def copied(models: Path, folder: Path, *, without: str | None = None) -> Hub:
    """A Hub of these models, whose newest come late. What is there says when it was made, whoever copies it."""
    root, late = folder / "models", folder / "late"
    late.mkdir(parents=True)
    shutil.copytree(models, root, ignore=lambda _, names: [one for one in names if one == "truth.json"])
    names = sorted(str(path.relative_to(root)) for path in root.glob("*/*") if path.is_dir())
    last = names[-LATE:]
    for name in names:
        path = root / name / SIDECAR_NAME
        known = json.loads(path.read_text()) if path.exists() else {}
        known |= {"created_at": known.get("created_at", _OLD), "last_modified": known.get("last_modified", _OLD)}
        if name in last:
            known["last_modified"] = _NEW.format(last.index(name) + 1)
        path.write_text(json.dumps(known))
        if name in last:
            (late / name).parent.mkdir(exist_ok=True)
            (root / name).rename(late / name)
    if without is not None:
        shutil.rmtree(root / without)
    return Hub(root, late, names[0])


def phases(hub: Hub, source: str) -> Iterator[list[kinds.Deferred]]:
    """What is queued each time; the Hub changes in between."""
    yield [kinds.crawl(source, Query(), increment=False)]
    hub.grow()
    yield [kinds.crawl(source, Query(), increment=True)]
    hub.shrink()
    yield [kinds.crawl(source, Query(), increment=False), *map(kinds.upkeep, (kinds.INFERENCE, kinds.RETENTION))]


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    """An engine, closed at the end."""
    engine = connect(url)
    try:
        yield engine
    finally:
        engine.dispose()


def put(url: str, jobs: list[kinds.Deferred]) -> None:
    """Queue jobs."""
    with opened(url) as engine, transaction(engine) as session:
        queue.defer(session, jobs)


def run(url: str, hub: Hub, source: str, drain: Callable[[], None]) -> Tables:
    """All phases; what the database holds in the end."""
    for jobs in phases(hub, source):
        put(url, jobs)
        drain()
    with opened(url) as engine:
        return tables(engine)


# What must hold of the queue when all is done, and what is wrong where a query answers anything.
_WRONG = {
    "lost: not done": "SELECT task_name || ' ' || status FROM procrastinate_jobs WHERE status IN ('todo', 'doing')",
    "lost: given up": """
        SELECT task_name || ' ' || status || coalesce(': ' || reason, '') FROM procrastinate_jobs
        LEFT JOIN job_records ON job_id = procrastinate_jobs.id WHERE status IN ('failed', 'cancelled')
    """,
    # Ended in favour of the same work that was queued meanwhile: that must have been done since.
    "lost: no twin": """
        SELECT task_name FROM procrastinate_jobs job WHERE status = 'aborted' AND NOT EXISTS (
            SELECT FROM procrastinate_jobs twin
            WHERE twin.queueing_lock = job.queueing_lock AND twin.id > job.id AND twin.status = 'succeeded')
    """,
    "lost: families not inferred": """
        SELECT name FROM families WHERE NOT EXISTS (SELECT FROM runs WHERE family_id = families.id AND is_current)
        AND EXISTS (SELECT FROM revisions WHERE family_id = families.id)
    """,
    "twice: ended": """
        SELECT task_name FROM procrastinate_events JOIN procrastinate_jobs job ON job.id = job_id
        WHERE type = 'succeeded' GROUP BY job.id, task_name HAVING count(*) > 1
    """,
    "twice: measured": """
        SELECT revision || ' in ' || array_agg(id)::text FROM measure_batches, unnest(members) AS revision
        WHERE NOT revision = ANY(lost) GROUP BY family_id, metric_version, revision HAVING count(*) > 1
    """,
    "twice: listed": """
        SELECT repository || ' by crawl ' || crawl_id FROM crawl_pages, unnest(repositories) AS repository
        GROUP BY crawl_id, repository HAVING count(*) > 1
    """,
    "half: batches": "SELECT id FROM measure_batches WHERE finished_at IS NULL",
    "half: crawls": "SELECT id FROM crawls WHERE finished_at IS NULL OR described_at IS NULL",
    "half: workers": "SELECT id FROM procrastinate_workers WHERE id IN (SELECT worker_id FROM procrastinate_jobs"
    " WHERE status = 'doing')",
}


def wrong(url: str) -> list[str]:
    """Lines that say which jobs were lost, done twice or by halves; none where all is well."""
    with psycopg.connect(url, autocommit=True) as connection:
        return [f"{what}: {row[0]}" for what, query in _WRONG.items() for row in connection.execute(query.encode())]


def given_back(url: str) -> tuple[int, int]:
    """How often jobs went back into the queue because their worker died, and for other reasons.

    Those are errors that pass, workers that were stopped, and jobs that put themselves off until others are done.
    """
    query = """
        SELECT (SELECT coalesce(sum(killed), 0) FROM job_records),
            (SELECT count(*) FROM procrastinate_events WHERE type = 'deferred_for_retry')
    """
    with opened(url) as engine, engine.connect() as connection:
        killed, back = connection.execute(text(query)).one()
        return int(killed), int(back) - int(killed)
