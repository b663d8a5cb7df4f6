"""Putting jobs into the queue, in the caller's transaction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import procrastinate
from procrastinate import SyncPsycopgConnector

from pipeline.database import APP_ROLE, Connection
from pipeline.store import StudyRecord

QUEUE = "studies"
ARCHIVE_QUEUE = "archives"
"""Questions to other machines, which may be slow: they hold up no step of a study."""
# Apart from the steps, so that destinations that do not answer take no step's place.
DELIVERY_QUEUE = "deliveries"
CONNECTION = {"options": f"-c role={APP_ROLE}", "application_name": "radmeter-queue"}


def defer_step(app: procrastinate.App, conn: Connection, study: StudyRecord) -> None:
    """Put the study's next step into the queue, in the caller's transaction."""
    app.configure_task("take_step", queue=QUEUE, lock=str(study.id), connection=conn).defer(
        tenant=study.tenant, study_id=str(study.id), revision=study.revision
    )


def defer_assembly(
    app: procrastinate.App, conn: Connection, tenant: str, arrival_id: int, delay_s: float
) -> None:
    """Look after `delay_s` whether the arrival has fallen silent, in the caller's transaction."""
    at = datetime.now(UTC) + timedelta(seconds=delay_s)
    app.configure_task("assemble", queue=QUEUE, schedule_at=at, connection=conn).defer(
        tenant=tenant, arrival_id=arrival_id
    )


def defer_delivery(
    app: procrastinate.App, conn: Connection, study: StudyRecord, destination: str, delay_s: float
) -> None:
    """Send what waits for the destination after `delay_s`, in the caller's transaction."""
    at = datetime.now(UTC) + timedelta(seconds=delay_s) if delay_s > 0 else None
    app.configure_task("deliver", queue=DELIVERY_QUEUE, schedule_at=at, connection=conn).defer(
        tenant=study.tenant, study_id=str(study.id), revision=study.revision, destination=destination
    )


def defer_confirmation(
    app: procrastinate.App,
    conn: Connection,
    study: StudyRecord,
    destination: str,
    attempt: int,
    *,
    pauses_s: tuple[float, ...],
) -> None:
    """Ask the destination after a while what it keeps; `attempt` counts from 0."""
    at = datetime.now(UTC) + timedelta(seconds=pauses_s[attempt])
    app.configure_task("confirm", queue=ARCHIVE_QUEUE, schedule_at=at, connection=conn).defer(
        tenant=study.tenant, study_id=str(study.id), destination=destination, attempt=attempt
    )


def deferring_app(database_url: str) -> procrastinate.App:
    """An app for processes that only put jobs into the queue (gateway, portal)."""
    app = procrastinate.App(
        connector=SyncPsycopgConnector(conninfo=database_url, kwargs=CONNECTION, min_size=0, max_size=1)
    )
    app.open()
    return app
