"""`radmeter serve`: one role, or everything on one machine."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import typer

from pipeline.report_fonts import require_cjk_font
from server.embedded_postgres import EmbeddedPostgres, running_url
from server.errors import CommandFailed
from server.metrics import METRICS_FOLDER, measured_in
from server.node_pulse import node_pulse
from server.schema_gate import await_schema
from server.settings import Settings
from server.telemetry import configure_logging


@contextmanager
def with_database(settings: Settings) -> Iterator[Settings]:
    """Settings with a database that answers: the configured one, one that runs already, or our own for this while."""
    url = settings.database_url or running_url(settings)
    if url:
        yield replace(settings, database_url=url)
        return
    postgres = EmbeddedPostgres(settings)
    try:
        yield replace(settings, database_url=postgres.url)
    finally:
        postgres.stop()


def serve(settings: Settings, role: str) -> None:
    """Run until SIGTERM or Ctrl-C."""
    configure_logging(settings.log_level)
    require_cjk_font()  # a report that cannot be printed is found at the start, not after the inference
    if role in ("all", "gateway") and settings.dicom_tls_certificate:
        from server import gateway

        gateway.listeners(settings)  # unusable ones are found here, not by a gateway that starts again
    if role in ("all", "worker"):
        require_whole_weights(settings)
    if role == "all":
        with _sole_server(settings):
            _serve_all(settings)
        return
    from server import processes

    if role not in processes.ROLES:
        raise CommandFailed(f"no role {role!r}; there are all, {', '.join(processes.ROLES)}")
    # The portal's server has let its requests end when it passes the signal on; what is around it ends too then.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with _own_metrics():
        _serve_one(settings, role)


def require_whole_weights(settings: Settings) -> None:
    """Hash the weights of every model that is here. Raises `WeightsMissing` or `WeightsDigestMismatch`.

    They are hashed again when they are opened; here the change is told to whoever starts the server and not to the
    first study. A gateway or portal that runs alone starts without: images are taken in and results shown meanwhile.
    """
    from models.registry import find_models
    from models.weights import verified_weights

    for manifest in find_models(settings.data_directory).models:
        for precision in (None, *manifest.precisions):
            verified_weights(manifest, precision)


@contextmanager
def _own_metrics() -> Iterator[None]:
    """A role that runs alone measures itself and the processes that it starts; a supervisor has said where already."""
    if METRICS_FOLDER in os.environ:
        yield
        return
    with (
        tempfile.TemporaryDirectory(prefix="radmeter-metrics-", ignore_cleanup_errors=True) as folder,
        measured_in(Path(folder)),
    ):
        yield


def _serve_one(settings: Settings, role: str) -> None:
    if role == "triton":
        from server.triton import run_triton

        run_triton(settings)
        return
    if not settings.database_url:
        raise CommandFailed(
            "a single role needs RADMETER_DATABASE_URL; `radmeter serve` alone brings its own"
        )
    await_schema(settings.database_url)
    with node_pulse(settings.database_url, role):
        if role == "gateway":
            from server import gateway

            gateway.run_gateway(settings)
        else:
            from server import processes

            runs = {
                "worker": processes.run_worker,
                "portal": processes.run_portal,
                "backup": processes.run_backup,
            }
            runs[role](settings)


@contextmanager
def _sole_server(settings: Settings) -> Iterator[None]:
    """Two servers in one data directory would stop one another's database and share their metrics."""
    settings.data_directory.mkdir(parents=True, exist_ok=True)
    with (settings.data_directory / "server.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CommandFailed(f"another `radmeter serve` runs in {settings.data_directory}") from None
        yield


def _serve_all(settings: Settings) -> None:
    # Until the supervisor takes the signals: leave through the `finally` that stops the embedded PostgreSQL.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    metrics_folder = settings.data_directory / "metrics"
    shutil.rmtree(metrics_folder, ignore_errors=True)
    metrics_folder.mkdir(parents=True)
    with measured_in(metrics_folder):
        _supervise(settings)


def _supervise(settings: Settings) -> None:
    from server.installation import prepare
    from server.processes import Supervisor

    postgres = None if settings.database_url else EmbeddedPostgres(settings, owns=True)
    try:
        ready = replace(settings, database_url=postgres.url) if postgres else settings
        password = prepare(ready)
        if password is not None:
            typer.echo(
                f"First sign-in at http://{ready.http_host}:{ready.http_port}/  name: admin  password: {password}"
            )
            typer.echo("This password is shown once.")
        Supervisor(ready, postgres).run()
    finally:
        if postgres is not None:
            postgres.stop()
