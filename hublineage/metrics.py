"""Figures of a worker or scheduler for Prometheus.

What this process does is counted here: requests, bytes, seconds per stage, ends of jobs, failures by reason. What all
processes share (queues, workers, quotas, failures that are open) is asked of the database at each scrape, so every
process tells the same of it.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from db import schema
from db.quotas import UNLIMITED, status_rows
from hublineage.jobs import kinds, listing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from crawler.observed import Exchange

Outcome = Literal["succeeded", "failed", "again", "rate limited", "given back", "cancelled"]
"""How a try of a job ended: `again` after a passing error, `given back` where a worker stops or the job is put off."""

_PATIENCE = 2  # seconds for the database: a scrape must not wait for a server that is gone
_REQUEST_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 120)
_STAGE_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3600)

_FAILURES = text("SELECT stage, kind, count(*) FROM failures WHERE resolved_at IS NULL GROUP BY 1, 2 ORDER BY 1, 2")


class Metrics:
    """What one process counts. Safe for threads; `engine`: whose database is asked at each scrape, None: none."""

    def __init__(self, engine: Engine | None = None, *, stalled_after: float = 60.0) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "hublineage_requests", "Requests by bucket of the Hub's quota and status.", ["bucket", "status"],
            registry=self.registry,
        )  # fmt: skip
        self._request_seconds = Histogram(
            "hublineage_request_seconds", "Seconds of a request with its body.", ["bucket"], buckets=_REQUEST_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._bytes = Counter(
            "hublineage_received_bytes", "Bytes of replies' bodies.", ["bucket"], registry=self.registry
        )
        self._stages = Histogram(
            "hublineage_stage_seconds", "Seconds of one try of a stage's jobs.", ["stage"], buckets=_STAGE_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._jobs = Counter(
            "hublineage_stage_jobs", "Tries of jobs, by how they ended.", ["stage", "outcome"], registry=self.registry
        )
        self._failed = Counter(
            "hublineage_stage_failures", "Errors that ended a try, passing ones too, by class.", ["stage", "reason"],
            registry=self.registry,
        )  # fmt: skip
        known = {"version": version("hublineage"), "schema": schema.newest()}
        Info("hublineage_build", "The program, and the database's schema that it knows.", registry=self.registry).info(
            known
        )
        ProcessCollector(registry=self.registry)
        if engine is not None:
            self.registry.register(SharedFigures(engine, stalled_after))

    def request(self, exchange: Exchange) -> None:
        """Count one request: a crawler's observer (crawler.observed.Observe)."""
        bucket = exchange.bucket or "storage"
        self._requests.labels(bucket, str(exchange.status or exchange.error)).inc()
        self._request_seconds.labels(bucket).observe(exchange.seconds)
        self._bytes.labels(bucket).inc(exchange.received)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block of work, however it ends."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self._stages.labels(name).observe(time.monotonic() - begun)

    def ended(self, stage: str, outcome: Outcome, error: BaseException | None = None) -> None:
        """Count how a try of a job ended, and the error where that is what ended it."""
        self._jobs.labels(stage, outcome).inc()
        if error is not None and outcome in {"failed", "again"}:
            self._failed.labels(stage, type(error).__name__).inc()


class SharedFigures(Collector):
    """Queues, workers, quotas and open failures, as the database holds them; without an answer only that there is none.

    `stalled_after`: seconds without a heartbeat after which a worker counts as gone.
    """

    def __init__(self, engine: Engine, stalled_after: float) -> None:
        self._engine = impatient(engine)
        self._stalled_after = stalled_after

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: else registering it would ask the database."""
        return ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Gauges, as Prometheus wants them."""
        up = GaugeMetricFamily("hublineage_database_up", "Whether the database answers, within seconds.")
        try:
            found = list(self._asked())
        except DBAPIError:
            found = []
        up.add_metric([], float(bool(found)))
        yield from (up, *found)

    def _asked(self) -> Iterator[GaugeMetricFamily]:
        depth = GaugeMetricFamily("hublineage_queue_jobs", "Jobs by queue and state.", labels=["queue", "state"])
        overdue = GaugeMetricFamily(
            "hublineage_queue_overdue_seconds", "How long the longest has waited that is due.", labels=["queue"]
        )
        workers = GaugeMetricFamily("hublineage_workers", "Workers whose heart beats.")
        left = GaugeMetricFamily("hublineage_quota_left", "Requests left of our share.", labels=["endpoint", "bucket"])
        failures = GaugeMetricFamily("hublineage_failures", "Failures not overcome.", labels=["stage", "reason"])
        with Session(self._engine) as session:
            for one in listing.depths(session, kinds.QUEUES):
                for state, count in one.counts.items():
                    depth.add_metric([one.queue, state], count)
                overdue.add_metric([one.queue], one.overdue)
            workers.add_metric([], listing.workers(session, stalled_after=self._stalled_after))
            for row in status_rows(session):
                if row.quota < UNLIMITED:
                    free = min(row.allowed - row.used, row.allowed if row.remaining is None else row.remaining)
                    left.add_metric([row.endpoint, row.bucket], max(free, 0) if row.blocked_s <= 0 else 0)
            for stage, kind, count in session.execute(_FAILURES):
                failures.add_metric([stage, kind], count)
        yield from (depth, overdue, workers, left, failures)


def impatient(engine: Engine) -> Engine:
    """The same database, by connections of its own that give up after seconds."""
    options = f"-c timezone=UTC -c statement_timeout={_PATIENCE}s"
    return create_engine(
        engine.url, poolclass=NullPool, connect_args={"connect_timeout": _PATIENCE, "options": options}
    )
