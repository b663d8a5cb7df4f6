"""Sending the heartbeat: makes the study up, sends it to the gateway as a PACS would, and looks what became of it.

A round sends one if one is due and leaves; a later round, of any worker, finds what became of it. So no process waits
for another, and one that dies leaves nothing undone.
"""

from __future__ import annotations

import functools
import logging
import secrets
import ssl
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from dicom_gateway.deliver_dimse import send_instances
from dicom_gateway.errors import GatewayError
from dicom_gateway.scu_association import Destination
from dicom_gateway.tls import client_context
from dicom_gateway.write_ct import study_instance_uid, write_ct_series
from models.lung_nodule_ct.phantom import Phantom, make_phantom
from pipeline import heartbeat
from pipeline.database import Connection, Database
from pipeline.heartbeat import Beat, Ending, Expected
from pipeline.heartbeat_errors import HeartbeatNotInstalled
from pipeline.heartbeat_sweep import sweep
from server import places
from server.settings import Settings
from server.watch_settings import gateway_address
from study.study import Patient

log = logging.getLogger("radmeter.heartbeat")

PATIENT = Patient(
    patient_id="SYNTHETIC-HEARTBEAT", name="Synthetic^Heartbeat^no patient", birth_date="19700101", sex="O"
)
# A chest of 70 mm with one solid nodule of 18 mm, which the model finds at 0.83: 28 slices of 133 × 173.
_SEED, _SPACING_MM, _FIELD_MM = 21, (2.5, 1.5, 1.5), (70, 200, 260)
_ANSWER_TIMEOUT_S = 30.0
_POLL_S = 0.5
_CERTIFICATE, _AUTHORITY = "heartbeat-certificate.pem", "heartbeat-authority.pem"


def look_after(database: Database, settings: Settings) -> None:
    """One round: judge what is under way, then send one if one is due."""
    try:
        _judge_open(database)
        with database.transaction(heartbeat.TENANT) as conn:
            beat, seed = _begin(conn, timedelta(minutes=settings.heartbeat_minutes))
    except HeartbeatNotInstalled:
        log.error("heartbeat_not_installed")
        return
    if beat is not None:
        _send(database, settings, beat, seed)
        sweep(database, places.folders(settings))


def run_once(database: Database, settings: Settings) -> Ending | None:
    """Send one now and wait for its end; None when another one is under way. Raises `HeartbeatNotInstalled`."""
    _judge_open(database)
    with database.transaction(heartbeat.TENANT) as conn:
        beat, seed = _begin(conn, timedelta(0))
    if beat is None:
        return None
    ending = _send(database, settings, beat, seed)
    while ending is None:
        time.sleep(_POLL_S)
        ending = _judge(database, beat)
    sweep(database, places.folders(settings))
    return ending


def _begin(conn: Connection, every: timedelta) -> tuple[Beat | None, str]:
    seed = f"heartbeat {secrets.token_hex(16)}"
    return heartbeat.begin(conn, study_instance_uid(seed), every=every), seed


def _judge_open(database: Database) -> None:
    with database.transaction(heartbeat.TENANT) as conn:
        beat = heartbeat.under_way(conn)
    if beat is not None:
        _judge(database, beat)


def _judge(database: Database, beat: Beat) -> Ending | None:
    with database.transaction(heartbeat.TENANT) as conn:
        ending = heartbeat.judge(conn, beat, expected())
    if ending is not None:
        _end(database, beat, ending)
    return ending


def _send(database: Database, settings: Settings, beat: Beat, seed: str) -> Ending | None:
    """None when the gateway has acknowledged every instance."""
    with tempfile.TemporaryDirectory(prefix="radmeter-heartbeat-") as folder:
        problem = _push(database, settings, seed, Path(folder))
    if problem is None:
        return None
    ending = Ending(stage="send", problem=problem[:500])
    _end(database, beat, ending)
    return ending


def _push(database: Database, settings: Settings, seed: str, folder: Path) -> str | None:
    with database.transaction(heartbeat.TENANT) as conn:
        names = heartbeat.names(conn)
    if names is None:
        raise HeartbeatNotInstalled
    today = datetime.now(UTC).strftime("%Y%m%d")
    phantom = _phantom()
    files = write_ct_series(
        phantom.voxels, phantom.spacing_mm, folder, patient=PATIENT, seed=seed, study_date=today,
        study_description="SYNTHETIC heartbeat, no patient",
    )  # fmt: skip
    host, port, by_tls = _address(settings)
    try:
        tls = _tls(settings) if by_tls else None
    except (GatewayError, OSError) as error:
        return str(error)
    destination = Destination(
        host, port, names.called_ae_title, names.calling_ae_title, dimse_timeout_s=_ANSWER_TIMEOUT_S, tls=tls
    )
    outcomes = send_instances(files, destination)
    refused = [outcome for outcome in outcomes if not outcome.acknowledged]
    if not refused:
        return None
    return f"{len(refused)} of {len(outcomes)} instances not taken by {host}:{port}: {refused[0].error}"


def _end(database: Database, beat: Beat, ending: Ending) -> None:
    with database.transaction(heartbeat.TENANT) as conn:
        is_ours = heartbeat.end(conn, beat, ending)
    if not is_ours:
        return
    if ending.stage is None:
        log.info("heartbeat_well", extra={"duration_ms": round((ending.seconds or 0) * 1000)})
    else:
        log.error("heartbeat_failed", extra={"step": ending.stage, "reason": ending.problem})


def _address(settings: Settings) -> tuple[str, int, bool]:
    if settings.heartbeat_to:
        return gateway_address(settings.heartbeat_to)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.dicom_host, settings.dicom_host)  # noqa: S104 not bound
    port = settings.dicom_port if settings.dicom_plain else settings.dicom_tls_port
    return host, port, not settings.dicom_plain


def _tls(settings: Settings) -> ssl.SSLContext:
    """What lies in the folder of secrets for this, where there is any."""
    authority, certificate = (
        path if (path := settings.secrets_directory / name).exists() else None
        for name in (_AUTHORITY, _CERTIFICATE)
    )
    return client_context(authorities=authority, certificate=certificate)


@functools.cache
def _phantom() -> Phantom:
    return make_phantom(
        _SEED, spacing_mm=_SPACING_MM, field_mm=_FIELD_MM, nodule_count=1, slice_thickness_mm=2.5
    )


@functools.cache
def expected() -> Expected:
    """Where the phantom's nodule is: voxel (0, 0, 0) lies at the origin, columns to the left, rows to the back."""
    phantom = _phantom()
    nodule = phantom.truth[0]
    z, y, x = (float(value) for value in np.asarray(nodule.center_index) * np.asarray(phantom.spacing_mm))
    return Expected((x, y, z), nodule.diameter_mm)
