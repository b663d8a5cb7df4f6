"""The health port of a role without pages: is it alive, is it ready, what does it measure."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CollectorRegistry, exposition

from server.errors import CommandFailed
from server.settings import Settings

log = logging.getLogger("radmeter.server")

Check = Callable[[], str | None]
"""What is wrong as a sentence, None when nothing is."""

_JSON = "application/json"
# Probes and one or two Prometheus come one by one; whoever opens more connections waits for nothing here.
_CONNECTIONS_MAX = 16
_SLOW_PEER_S = 5.0
# However often somebody asks, the database is asked once in this time.
_ANSWER_KEPT_S = 1.0


@contextmanager
def health_port(
    settings: Settings,
    checks: Mapping[str, Check],
    registry: CollectorRegistry,
    *,
    is_stuck: Callable[[], bool] = lambda: False,
) -> Iterator[int | None]:
    """Answer `/healthz`, `/readyz` and `/metrics` for this while; gives the port, None where the setting is off.

    is_stuck: whether what the process does has come to a stop, so that only a new start helps.
    Raises `CommandFailed` if the port cannot be had.
    """
    if not settings.health_port:
        yield None
        return
    try:
        server = _Server(settings.health_host, settings.health_port, _Answers(checks, registry, is_stuck))
    except OSError as error:
        place = f"{settings.health_host}:{settings.health_port}"
        raise CommandFailed(f"the health port {place} cannot be opened: {error.strerror}") from None
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    log.info("health_port_opened", extra={"port": settings.health_port})
    try:
        yield settings.health_port
    finally:
        server.shutdown()
        server.server_close()


class _Answers:
    """Status and body of each path."""

    def __init__(
        self, checks: Mapping[str, Check], registry: CollectorRegistry, is_stuck: Callable[[], bool]
    ) -> None:
        self._is_stuck = is_stuck
        self._checks = checks
        self._registry = registry
        self._lock = threading.Lock()
        self._readiness: tuple[float, int, bytes] = (0.0, 0, b"")

    def of(self, path: str) -> tuple[int, str, bytes]:
        """Status, content type, body."""
        if path == "/healthz":
            is_stuck = self._is_stuck()
            return 503 if is_stuck else 200, _JSON, b'{"status": "%s"}' % (b"stuck" if is_stuck else b"ok")
        if path == "/readyz":
            return self._ready()
        if path == "/metrics":
            with self._lock:
                return 200, exposition.CONTENT_TYPE_LATEST, exposition.generate_latest(self._registry)
        return 404, "text/plain", b"there are /healthz, /readyz and /metrics\n"

    def _ready(self) -> tuple[int, str, bytes]:
        with self._lock:
            known_until, status, body = self._readiness
            if time.monotonic() >= known_until:
                problems = {name: check() for name, check in self._checks.items()}
                status = 503 if any(problems.values()) else 200
                answer = {
                    "status": "ready" if status == 200 else "not ready",
                    "checks": {name: problem or "ok" for name, problem in problems.items()},
                }
                body = json.dumps(answer).encode()
                self._readiness = (time.monotonic() + _ANSWER_KEPT_S, status, body)
            return status, _JSON, body


class _Server(ThreadingHTTPServer):
    """Bounded in connections and in the time that each may take."""

    daemon_threads = True

    def __init__(self, host: str, port: int, answers: _Answers) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.answers = answers
        self._places = threading.BoundedSemaphore(_CONNECTIONS_MAX)
        super().__init__((host, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A peer that leaves in the middle is its own affair."""


class _Handler(BaseHTTPRequestHandler):
    """One request a connection."""

    timeout = _SLOW_PEER_S
    server: _Server

    def do_GET(self) -> None:
        status, kind, body = self.server.answers.of(self.path.partition("?")[0])
        self.send_response_only(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if status == 503:
            self.send_header("Retry-After", "5")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """What was asked is not worth a line; the request line is a stranger's text."""
