"""Figures of a worker for Prometheus, and whether it is well: /metrics and /healthz on one port.

What this process does is counted here: requests, bytes, seconds per stage, failures by reason. What all workers share
(queues, quotas, failures that are open) is asked of the database at each scrape, so every worker tells the same of it.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Histogram, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import Engine, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from db.quotas import UNLIMITED, status_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from crawler.observed import Exchange

LONGEST_SILENCE = 60.0  # seconds: a worker tells that it lives every ten
_PATIENCE = 2  # seconds for the database: a scrape must not wait for a server that is gone
_REQUEST_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 120)
_STAGE_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3600)

_QUEUES = """
    SELECT queue_name, status::text, count(*)
    FROM procrastinate_jobs WHERE status IN ('todo', 'doing', 'failed') GROUP BY 1, 2 ORDER BY 1, 2
"""
_FAILURES = "SELECT stage, kind, count(*) FROM failures WHERE resolved_at IS NULL GROUP BY 1, 2 ORDER BY 1, 2"
_SILENCE = "SELECT extract(epoch FROM clock_timestamp() - last_heartbeat) FROM procrastinate_workers WHERE id = :id"
_HAS_QUEUE = "SELECT to_regclass('procrastinate_jobs') IS NOT NULL"


class Metrics:
    """What one process counts. Safe for threads; `engine`: whose database is asked at each scrape, None: none."""

    def __init__(self, engine: Engine | None = None) -> None:
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
            "hublineage_stage_seconds", "Seconds of a stage's tasks.", ["stage"], buckets=_STAGE_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._failed = Counter(
            "hublineage_stage_failures", "Tasks that failed, by stage and class of the error.", ["stage", "reason"],
            registry=self.registry,
        )  # fmt: skip
        if engine is not None:
            self.registry.register(SharedFigures(engine))

    def request(self, exchange: Exchange) -> None:
        """Count one request: a crawler's observer (crawler.observed.Observe)."""
        bucket = exchange.bucket or "storage"
        self._requests.labels(bucket, str(exchange.status or exchange.error)).inc()
        self._request_seconds.labels(bucket).observe(exchange.seconds)
        self._bytes.labels(bucket).inc(exchange.received)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a block of work, and count the error that it ends with by its class."""
        begun = time.monotonic()
        try:
            yield
        except Exception as error:
            self._failed.labels(name, type(error).__name__).inc()
            raise
        finally:
            self._stages.labels(name).observe(time.monotonic() - begun)


class SharedFigures(Collector):
    """Queues, quotas and open failures, as the database holds them; without an answer only that there is none."""

    def __init__(self, engine: Engine) -> None:
        self._engine = _impatient(engine)

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """Nothing: else registering it would ask the database."""
        return ()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Gauges, as Prometheus wants them."""
        up = GaugeMetricFamily("hublineage_database_up", "Whether the database answers.")
        try:
            found = list(self._asked())
        except DBAPIError:
            found = []
        up.add_metric([], float(bool(found)))
        yield from (up, *found)

    def _asked(self) -> Iterator[GaugeMetricFamily]:
        depth = GaugeMetricFamily("hublineage_queue_jobs", "Jobs by queue and status.", labels=["queue", "status"])
        left = GaugeMetricFamily("hublineage_quota_left", "Requests left of our share.", labels=["endpoint", "bucket"])
        failures = GaugeMetricFamily("hublineage_failures", "Failures not overcome.", labels=["stage", "reason"])
        with Session(self._engine) as session:
            if session.scalar(text(_HAS_QUEUE)):
                for queue, status, count in session.execute(text(_QUEUES)):
                    depth.add_metric([queue, status], count)
            for row in status_rows(session):
                if row.quota < UNLIMITED:
                    free = min(row.allowed - row.used, row.allowed if row.remaining is None else row.remaining)
                    left.add_metric([row.endpoint, row.bucket], max(free, 0) if row.blocked_s <= 0 else 0)
            for stage, kind, count in session.execute(text(_FAILURES)):
                failures.add_metric([stage, kind], count)
        yield from (depth, left, failures)


@dataclass(frozen=True)
class Health:
    """`silence_s`: seconds since the worker's last heartbeat, by the database's clock; None: it has none yet."""

    database: bool
    queue: bool
    silence_s: float | None

    @property
    def well(self) -> bool:
        """Whether all is as it must be."""
        return self.database and self.queue and self.silence_s is not None and self.silence_s <= LONGEST_SILENCE


class HealthCheck:
    """Asks how a worker is. `worker`: its number in the queue's table; `alive`: whether its loop still runs."""

    def __init__(self, engine: Engine, worker: Callable[[], int | None], alive: Callable[[], bool]) -> None:
        self._engine = _impatient(engine)
        self._worker = worker
        self._alive = alive

    def __call__(self) -> Health:
        """How it is now, within seconds, whatever the database does."""
        try:
            with self._engine.connect() as connection:
                known = connection.scalar(text(_HAS_QUEUE)) and self._worker() is not None
                found = connection.scalar(text(_SILENCE), {"id": self._worker()}) if known else None
        except DBAPIError:
            return Health(False, self._alive(), None)
        return Health(True, self._alive(), None if found is None else float(found))


@contextmanager
def serving(metrics: Metrics, health: Callable[[], Health], port: int, host: str = "0.0.0.0") -> Iterator[int]:  # noqa: S104  # Prometheus asks from elsewhere
    """Serve both pages while the block runs; the port, chosen where 0 was asked. Raises OSError where it is taken."""
    figures = make_wsgi_app(metrics.registry)

    def answer(environ: dict[str, Any], start: Any) -> Any:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            return figures(environ, start)
        found = health() if path == "/healthz" else None
        status = "404 Not Found" if found is None else "200 OK" if found.well else "503 Service Unavailable"
        start(status, [("Content-Type", "application/json")])
        return [json.dumps({} if found is None else {"well": found.well, **asdict(found)}).encode()]

    server = make_server(host, port, answer, _Server, _Quiet)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield int(server.server_port)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as its parent names it
        """Scrapes are no news."""


def _impatient(engine: Engine) -> Engine:
    """The same database, by connections of its own that give up after seconds."""
    options = f"-c timezone=UTC -c statement_timeout={_PATIENCE}s"
    return create_engine(
        engine.url, poolclass=NullPool, connect_args={"connect_timeout": _PATIENCE, "options": options}
    )
