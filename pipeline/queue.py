"""Putting jobs into the queue, in the caller's transaction."""

from __future__ import annotations

import contextlib
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import procrastinate
from procrastinate import SyncPsycopgConnector

from pipeline.database import Connection, connection_arguments, database_time
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord
from pipeline.urgency import Priority, TimeWindow

QUEUE = "studies"
ARCHIVE_QUEUE = "archives"
"""Questions to other machines, which may be slow: they hold up no step of a study."""
# Apart from the steps, so that destinations that do not answer take no step's place.
DELIVERY_QUEUE = "deliveries"
CONNECTION = {**connection_arguments(), "application_name": "radmeter-queue"}


# A job of a higher number is taken first. Nobody knows yet how urgent a study is that was not routed, and what comes
# before is short: so that comes first.
_ASSEMBLY_PRIORITY = 30
_ROUTING_PRIORITY = 20
_STEP_PRIORITY = {Priority.EMERGENCY: 10, Priority.NORMAL: 0, Priority.OFF_PEAK: -10}
# What has begun ends before another study of the same urgency begins: results come sooner, and less lies half done.
_BEGUN = {StudyStatus.DECODED: 1, StudyStatus.INFERRED: 2, StudyStatus.ENCODED: 3}
_WAITS_FOR_ITS_HOURS = frozenset({StudyStatus.ROUTED, StudyStatus.DECODED})


def step_priority(study: StudyRecord) -> int:
    """The priority of the job that takes the study's next step."""
    if study.status is StudyStatus.ASSEMBLED:
        return _ROUTING_PRIORITY
    return _STEP_PRIORITY[Priority(study.priority)] + _BEGUN.get(study.status, 0)


def step_at(study: StudyRecord, now: datetime) -> datetime | None:
    """When the next step may run; None for at once. What has run is delivered at any hour."""
    if study.run_window is None or study.status not in _WAITS_FOR_ITS_HOURS:
        return None
    window = TimeWindow.from_json(study.run_window)
    opens_at = window.next_open(now, ZoneInfo(study.run_window["time_zone"]))
    return opens_at if opens_at > now else None


def defer_step(app: procrastinate.App, conn: Connection, study: StudyRecord, delay_s: float = 0.0) -> None:
    """Put the study's next step into the queue, not before `delay_s`, in the caller's transaction."""
    at = None
    if study.run_window is not None or delay_s > 0:
        now = database_time(conn)
        at = step_at(study, now)
        if delay_s > 0:
            at = max(at or now, now + timedelta(seconds=delay_s))
    app.configure_task(
        "take_step",
        queue=QUEUE,
        lock=str(study.id),
        priority=step_priority(study),
        schedule_at=at,
        connection=conn,
    ).defer(tenant=study.tenant, study_id=str(study.id), revision=study.revision)


def defer_assembly(
    app: procrastinate.App, conn: Connection, tenant: str, arrival_id: int, delay_s: float
) -> None:
    """Look after `delay_s` whether the arrival has fallen silent, in the caller's transaction."""
    at = database_time(conn, delay_s) if delay_s > 0 else None
    app.configure_task(
        "assemble", queue=QUEUE, priority=_ASSEMBLY_PRIORITY, schedule_at=at, connection=conn
    ).defer(tenant=tenant, arrival_id=arrival_id)


def defer_delivery(
    app: procrastinate.App, conn: Connection, study: StudyRecord, destination: str, delay_s: float
) -> None:
    """Send what waits for the destination after `delay_s`, in the caller's transaction."""
    at = database_time(conn, delay_s) if delay_s > 0 else None
    app.configure_task("deliver", queue=DELIVERY_QUEUE, schedule_at=at, connection=conn).defer(
        tenant=study.tenant, study_id=str(study.id), destination=destination
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
    at = database_time(conn, pauses_s[attempt])
    app.configure_task("confirm", queue=ARCHIVE_QUEUE, schedule_at=at, connection=conn).defer(
        tenant=study.tenant, study_id=str(study.id), destination=destination, attempt=attempt
    )


def defer_reissue(
    app: procrastinate.App, conn: Connection, study: StudyRecord, revision: int, product: str, review: int
) -> None:
    """Issue the report of a result again, as it was reviewed, in the caller's transaction."""
    priority = _STEP_PRIORITY[Priority.NORMAL] + _BEGUN[StudyStatus.ENCODED]  # somebody waits for it
    app.configure_task("reissue", queue=QUEUE, priority=priority, connection=conn).defer(
        tenant=study.tenant, study_id=str(study.id), revision=revision, product=product, review=review
    )


def defer_health_round(app: procrastinate.App, conn: Connection, at: datetime) -> None:
    """Have the models looked at soon, unless that is about to happen, in the caller's transaction."""
    with contextlib.suppress(procrastinate.exceptions.AlreadyEnqueued), conn.transaction():
        app.configure_task(
            "look_at_models", queue=ARCHIVE_QUEUE, queueing_lock="look_at_models", connection=conn
        ).defer(timestamp=int(at.timestamp()))


def deferring_app(database_url: str) -> procrastinate.App:
    """An app for processes that only put jobs into the queue (gateway, portal)."""
    app = procrastinate.App(
        connector=SyncPsycopgConnector(conninfo=database_url, kwargs=CONNECTION, min_size=0, max_size=1)
    )
    app.open()
    return app
