"""/metrics and /healthz, for Prometheus and for whoever starts and restarts processes, on one port."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from db.errors import UsageError

if TYPE_CHECKING:
    from hublineage.health import Health
    from hublineage.metrics import Metrics


@contextmanager
def serving(metrics: Metrics, health: Callable[[], Health], port: int, host: str = "0.0.0.0") -> Iterator[int]:  # noqa: S104  # Prometheus asks from elsewhere
    """Serve both pages while the block runs; the port, chosen where 0 was asked. Raises UsageError where it is taken.

    /healthz answers 200 to whom is well and 503 to whom is not, with the reasons as JSON.
    """
    figures = make_wsgi_app(metrics.registry)

    def answer(environ: dict[str, Any], start: Any) -> Any:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            return figures(environ, start)
        found = health() if path == "/healthz" else None
        status = "404 Not Found" if found is None else "200 OK" if found.well else "503 Service Unavailable"
        start(status, [("Content-Type", "application/json")])
        return [json.dumps({} if found is None else found.words()).encode()]

    try:
        server = make_server(host, port, answer, _Server, _Quiet)
    except OSError as error:
        raise UsageError(f"--metrics-port {port}: {error.strerror or error}") from error
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
