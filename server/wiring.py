"""Builds everything from the settings; the only module that knows everyone."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import cast

import procrastinate

from dicom_gateway.errors import TLSFilesUnusable
from dicom_gateway.listener import Listener
from dicom_gateway.tls import ClientCertificate, TLSContexts, TLSFiles, TLSProfile, secure_as_server
from pipeline.ask_counts import defer_count
from pipeline.confirm_delivery import PAUSES_S
from pipeline.database import Database
from pipeline.jobs import DELIVERIES_AT_ONCE
from pipeline.queue import defer_confirmation, defer_delivery, defer_step
from pipeline.services import Folders, Services
from server.errors import SettingInvalid
from server.settings import Settings
from server.telemetry import Metrics


def folders(settings: Settings) -> Folders:
    """The data folders, made if they are missing."""
    made = Folders(
        settings.instances_directory,
        settings.work_directory,
        settings.results_directory,
        settings.secrets_directory,
    )
    settings.secrets_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in (made.instances, made.work, made.results):
        folder.mkdir(parents=True, exist_ok=True)
    return made


def database(settings: Settings, *, pool_size_max: int) -> Database:
    return Database(settings.database_url, pool_size_max=pool_size_max)


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


def services(settings: Settings, metrics: Metrics, app: procrastinate.App) -> Services:
    """What a worker's steps use."""
    # Not at the top: gateway and portal have no use for ONNX Runtime's memory.
    from inference.onnxruntime_endpoint import PROVIDERS, OnnxRuntimeEndpoint
    from models.registry import get_model

    return Services(
        # A delivery holds one connection while it sends and needs another to store each answer.
        database=database(settings, pool_size_max=settings.worker_concurrency + 2 * DELIVERIES_AT_ONCE + 2),
        folders=folders(settings),
        endpoint=OnnxRuntimeEndpoint(settings.inference_threads, PROVIDERS[settings.inference_provider]),
        get_model=functools.partial(get_model, data_directory=settings.data_directory),
        defer_step=functools.partial(defer_step, app),
        ask_counts=functools.partial(defer_count, app, delay_s=0.0),
        defer_delivery=functools.partial(defer_delivery, app),
        defer_confirmation=functools.partial(defer_confirmation, app, pauses_s=PAUSES_S),
        observe_step=metrics.observe_step,
        time_zone=settings.time_zone,
    )
