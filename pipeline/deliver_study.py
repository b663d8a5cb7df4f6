"""Deliver: every result object gets a row for each destination that takes it, every destination a job of its own.

The jobs (`deliver_to.py`) end the step: the one that records the last acknowledgement ends the study in the same
transaction. So a destination that does not answer holds up no other.
"""

from __future__ import annotations

import procrastinate

from pipeline import deliveries, store
from pipeline.database import Connection
from pipeline.errors import NothingGivenUp
from pipeline.queue import defer_delivery, defer_step
from pipeline.services import Outcome, Services
from pipeline.status import StudyStatus
from pipeline.store import StudyRecord


def deliver_study(services: Services, record: StudyRecord) -> Outcome | None:
    """Plan the deliveries and start one job for each destination; None, for the jobs end the step."""
    with services.database.transaction(record.tenant) as conn:
        study = store.lock_study(conn, record.tenant, record.id)
        if study.status is not StudyStatus.ENCODED or study.revision != record.revision:
            return None
        names = deliveries.plan(conn, study)
        ended = deliveries.verdict(conn, study)
        if ended is None:
            for name in names:
                services.defer_delivery(conn, study, name, 0.0)
        return ended


def send_again(
    queue: procrastinate.App, conn: Connection, tenant: str, study_id: str, destination: str | None = None
) -> list[str]:
    """A person wants what was given up to be sent once more; returns the destinations that are asked again.

    Raises `NothingGivenUp` when there is nothing to send again.
    """
    study = store.lock_study(conn, tenant, study_id)
    names = deliveries.send_again(conn, study, destination)
    is_reopened = study.status is StudyStatus.FAILED and study.reason_code in deliveries.FAILURES
    if not names and not is_reopened:
        raise NothingGivenUp(f"nothing of study {study.id} was given up")
    if is_reopened:
        defer_step(queue, conn, store.advance(conn, study, StudyStatus.ENCODED))
    else:
        for name in names:
            defer_delivery(queue, conn, study, name, 0.0)
    return names
