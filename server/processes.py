"""What each role of `radmeter serve` runs, and the supervisor that runs all of them on one machine."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from server.embedded_postgres import EmbeddedPostgres
from server.settings import Settings

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

# Each role imports what it needs when it starts: a gateway process stays small without models and web pages.
log = logging.getLogger("radmeter.server")

ROLES = ("gateway", "worker", "portal", "triton", "backup")
_PR_SET_PDEATHSIG = 1
_RESTART_DELAY_S = 1.0


def run_worker(settings: Settings) -> None:
    """Take steps until SIGTERM."""
    from pipeline import jobs
    from pipeline.errors import QueueLost
    from server import wiring
    from server.health_port import health_port
    from server.metrics import Metrics, collected_metrics
    from server.node_metrics import register_node
    from server.rounds import rounds
    from server.tracing_choice import make_tracing

    metrics = Metrics()
    tracing = make_tracing(settings, "worker", metrics)
    is_draining = threading.Event()
    checks = wiring.worker_readiness(settings, collected_metrics(), is_draining)
    scheduler = wiring.scheduler(settings, metrics)
    app = jobs.worker_app(
        settings.database_url, lambda queue: wiring.services(settings, metrics, queue, scheduler, tracing)
    )
    log.info("worker_started")
    registry = register_node(collected_metrics(), settings, None)
    try:
        with health_port(settings, checks, registry):
            asyncio.run(
                jobs.run_worker(
                    app,
                    concurrency=settings.worker_concurrency,
                    drain_s=settings.drain_s,
                    takeover_s=settings.takeover_s,
                    each_minute=rounds(settings),
                    on_stop=is_draining.set,
                    break_off=scheduler.close,
                )
            )
    except QueueLost as lost:  # not a clean end: whoever looks after processes starts another one
        log.error("queue_lost", extra={"error": type(lost.__cause__ or lost).__name__})
        raise SystemExit(1) from None
    finally:
        tracing.close()


def run_portal(settings: Settings) -> None:
    """Serve pages, API, health and metrics until SIGTERM."""
    import uvicorn

    from portal.app import create_app
    from portal.context import PortalContext
    from portal.http_protocol import LargeBodyProtocol
    from server import places
    from server.common_wiring import mail_server
    from server.erased_copies import watch_copies
    from server.gateway import tls_files
    from server.metrics import Metrics, collected_metrics
    from server.node_metrics import register_node
    from server.object_store import object_store_checks, objects
    from server.receive_metrics import ReceiveMetrics
    from server.tracing_choice import make_tracing

    metrics = Metrics()
    kept = objects(settings, metrics.observe_object)
    watch_copies(settings)
    registry = register_node(collected_metrics(), settings, tls_files(settings))
    tracing = make_tracing(settings, "portal", metrics)
    context = PortalContext(
        database=places.database(settings, pool_size_max=8),
        data_root=settings.data_directory,
        session_hours=settings.session_hours,
        session_idle_minutes=settings.session_idle_minutes,
        portal_url=settings.portal_url.rstrip("/"),
        cookie_secure=settings.cookie_secure,
        time_zone=settings.time_zone,
        registry=registry,
        instance_bytes_max=settings.instance_bytes_max,
        receive_observer=ReceiveMetrics(metrics),
        tracing=tracing,
        stripe_webhook_secrets=tuple(filter(None, settings.stripe_webhook_secrets.split(","))),
        notices=notices(settings, registry),
        objects=kept,
        readiness_checks=object_store_checks(kept),
        mail=mail_server(settings),
    )
    app = create_app(context)
    gc.freeze()  # what is loaded stays: the collector need not walk through it again and again
    # A batch of usage makes tens of thousands of objects and no cycle; the default walks through them every 700.
    gc.set_threshold(50_000, 10, 10)
    log.info("portal_started", extra={"port": settings.http_port})
    uvicorn.run(
        app, host=settings.http_host, port=settings.http_port, log_config=None, access_log=False,
        server_header=False, http=LargeBodyProtocol, timeout_graceful_shutdown=5,
    )  # fmt: skip
    tracing.close()


def run_backup(settings: Settings) -> None:
    """Keep the WAL and new objects in the backup until SIGTERM. Raises `BackupFailed` where no folder is named."""
    from server.backup.follow import follow
    from server.backup.take import folder_of
    from server.health_port import health_port
    from server.metrics import collected_metrics

    with health_port(settings, {}, collected_metrics()):
        follow(settings, folder_of(settings, None), lambda: datetime.now(UTC))


def notices(settings: Settings, registry: CollectorRegistry) -> dict[str, Callable[[], str | None]]:
    """What `/readyz` shows beside its own checks."""
    from server import triton
    from server.common_wiring import inference_problem

    asked = {"inference": lambda: inference_problem(settings, registry)}
    if settings.uses_triton:
        asked["triton"] = lambda: triton.last_problem(settings)
    return asked


def roles_of(settings: Settings) -> tuple[str, ...]:
    """What `radmeter serve` runs on one machine: the watch over Triton only where Triton runs the models, the role
    that backs up only where a folder for it is named."""
    wanted = {"triton": settings.uses_triton, "backup": bool(settings.backup_folder)}
    return tuple(role for role in ROLES if wanted.get(role, True))


@dataclass
class Supervisor:
    """Runs one process for each role, starts again what ends, and ends with all of them.

    postgres: the embedded database, if it is ours; it is started again too.
    """

    settings: Settings
    postgres: EmbeddedPostgres | None = None
    _children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        for signal_number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_number, lambda *_: self._stopping.set())
        for role in roles_of(self.settings):
            self._children[role] = self._start(role)
        while not self._stopping.wait(0.3):
            if self.postgres is not None:
                self.postgres.ensure_running()
            for role, child in list(self._children.items()):
                if child.poll() is not None:
                    log.error("process_ended", extra={"role": role, "exit_code": child.returncode})
                    _forget_the_present_of(child.pid)
                    time.sleep(_RESTART_DELAY_S)
                    self._children[role] = self._start(role)
        self._stop_children()

    def _start(self, role: str) -> subprocess.Popen[bytes]:
        # One health port cannot be opened by each of them; the portal shows the metrics of all.
        ours = {"RADMETER_DATABASE_URL": self.settings.database_url, "RADMETER_HEALTH_PORT": "0"}
        environment = os.environ | ours
        return subprocess.Popen(
            [sys.executable, "-m", "server", "serve", "--role", role],
            env=environment,
            preexec_fn=_die_with_parent,
        )

    def _stop_children(self) -> None:
        for child in self._children.values():
            child.terminate()
        deadline = time.monotonic() + self.settings.drain_s
        for child in self._children.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(0.1, deadline - time.monotonic()))
            if child.poll() is None:
                child.kill()
                child.wait()


def _die_with_parent() -> None:
    """In the child: be told to stop when the supervisor dies, however it dies (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _forget_the_present_of(pid: int) -> None:
    """What a process that ended had said about the present, a circuit open say, holds no longer."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
