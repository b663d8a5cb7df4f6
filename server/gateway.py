"""The gateway: one process that accepts, and receiver processes that live the associations."""

from __future__ import annotations

import functools
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import cast

from dicom_gateway.acceptor_settings import AcceptorSettings
from dicom_gateway.doorkeeper import Doorkeeper
from dicom_gateway.errors import TLSFilesUnusable
from dicom_gateway.listener import Listener
from dicom_gateway.peers import Peer
from dicom_gateway.receiver import Receiver
from dicom_gateway.receiver_process import ReceiverProcess
from dicom_gateway.receiver_processes import ReceiverProcesses
from dicom_gateway.tls import ClientCertificate, TLSContexts, TLSFiles, TLSProfile, secure_as_server
from pipeline import audit, nodes
from pipeline.database import Database
from pipeline.group_commit import ANSWER_WITHIN_S, LET_GO_AFTER_S, LOCK_TIMEOUT_S
from pipeline.queue import deferring_app
from pipeline.receive import DatabaseSink
from pipeline.service_desk import DatabaseServiceDesk
from server.erased_copies import watch_copies
from server.errors import SettingInvalid
from server.health_port import Check, health_port
from server.metrics import Metrics, collected_metrics
from server.node_metrics import register_node
from server.object_store import object_store_checks, objects
from server.receive_metrics import ReceiveMetrics, gateway_counts
from server.settings import Settings, load_settings
from server.telemetry import configure_logging
from server.tracing_choice import make_tracing

# Not `wiring`: what that needs for workers would be most of a receiver's memory.
log = logging.getLogger("radmeter.server")


def run_gateway(settings: Settings) -> None:
    """Accept associations until SIGTERM, then finish the messages in progress."""
    command = [sys.executable, "-m", "server.gateway"]
    crew = ReceiverProcesses(command, settings.receiver_processes or os.cpu_count() or 1)
    metrics = Metrics()
    counts = functools.partial(gateway_counts, metrics)
    doorkeeper = Doorkeeper(acceptor_settings(settings), listeners(settings), crew, counts)

    def stop(_signal_number: int, _frame: FrameType | None) -> None:
        doorkeeper.stop(settings.drain_s)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    log.info("gateway_started", extra={"port": settings.dicom_port})
    watch_copies(settings)
    database = Database(settings.database_url, pool_size_max=1, answer_within_s=ANSWER_WITHIN_S)
    checks = readiness(settings, doorkeeper, crew, database)
    registry = register_node(collected_metrics(), settings, tls_files(settings))
    with (
        health_port(settings, checks, registry, is_stuck=doorkeeper.is_stuck),
        audit.application_activity(database, "gateway"),
    ):
        doorkeeper.serve_forever()


def readiness(
    settings: Settings, doorkeeper: Doorkeeper, crew: ReceiverProcesses, database: Database
) -> dict[str, Check]:
    """What has to be right before associations are sent here, each by its name."""
    from pipeline import readiness

    free_bytes_min = acceptor_settings(settings).free_bytes_for_associations
    return {
        "acceptor": doorkeeper.problem,
        "receivers": lambda: None if crew.process_ids else "no receiver process runs",
        "database": lambda: readiness.database_problem(database),
        "migrations": lambda: readiness.migrations_problem(settings.database_url),
        "data_folder": lambda: readiness.folder_problem(settings.instances_directory, free_bytes_min),
        **object_store_checks(objects(settings)),
    }


def run_receiver(settings: Settings, control: socket.socket) -> None:
    """Live the associations that the accept process hands over, until it lets go."""
    pool_size_max = max(2, min(settings.associations_max, 8))
    database = Database(
        settings.database_url,
        pool_size_max=pool_size_max,
        lock_timeout_s=LOCK_TIMEOUT_S,
        let_go_after_s=LET_GO_AFTER_S,
        answer_within_s=ANSWER_WITHIN_S,
    )
    queue = deferring_app(settings.database_url)
    metrics = Metrics()
    tracing = make_tracing(settings, "gateway", metrics)
    gateway = nodes.name_of(
        "gateway", os.getppid()
    )  # the accept process, which is in the register for all of us
    sink = DatabaseSink(database, queue, ReceiveMetrics(metrics), tracing, gateway)
    kept = objects(settings, metrics.observe_object)
    kept_of = functools.partial(kept.present_below, settings.instances_directory)
    desk = DatabaseServiceDesk(database, queue, kept_of)

    def receiver(on_open: Callable[[int, Peer], None]) -> Receiver:
        ways_in = listeners(settings)
        counts = functools.partial(gateway_counts, metrics)
        limits = acceptor_settings(settings)
        return Receiver(limits, sink, ways_in, desk=desk, objects=kept, on_open=on_open, observe=counts)

    ReceiverProcess(control, receiver, sink).run()
    sink.close()
    tracing.close()


def acceptor_settings(settings: Settings) -> AcceptorSettings:
    return AcceptorSettings(
        host=settings.dicom_host,
        port=settings.dicom_port,
        storage_root=settings.instances_directory,
        message_bytes_max=settings.instance_bytes_max,
        associations_max=settings.associations_max,
        associations_per_host_max=settings.associations_per_host_max,
    )


def tls_files(settings: Settings) -> TLSFiles | None:
    """What the acceptor's TLS port works with; None when it is off."""
    if not settings.dicom_tls_certificate:
        return None
    return TLSFiles(
        certificate=Path(settings.dicom_tls_certificate),
        key=Path(settings.dicom_tls_key or settings.dicom_tls_certificate),
        authorities=Path(settings.dicom_tls_authorities) if settings.dicom_tls_authorities else None,
        client_certificate=cast("ClientCertificate", settings.dicom_tls_client_certificate),
        profile=cast("TLSProfile", settings.dicom_tls_profile),
    )


def listeners(settings: Settings) -> list[Listener]:
    """The DICOM ports: plain, TLS, or both. Raises `SettingInvalid` for certificates that cannot be used."""
    opened = [Listener(settings.dicom_host, settings.dicom_port)] if settings.dicom_plain else []
    files = tls_files(settings)
    if files is not None:
        try:
            handshake = secure_as_server(TLSContexts(files))
        except TLSFilesUnusable as error:
            raise SettingInvalid("dicom_tls_certificate", str(files.certificate), str(error)) from None
        opened.append(Listener(settings.dicom_host, settings.dicom_tls_port, handshake))
    return opened


def main() -> None:
    """A receiver process: the number of its control descriptor is the argument."""
    settings = load_settings()
    configure_logging(settings.log_level)
    run_receiver(settings, socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
