"""A person decides about a study that waits: process what is here, or discard it."""

from __future__ import annotations

from uuid import UUID

import procrastinate

from dicom_gateway.arrival_evidence import Order
from pipeline import store
from pipeline.database import Connection
from pipeline.errors import NothingWaits
from pipeline.look_again import look_again


def order_study(
    queue: procrastinate.App, conn: Connection, tenant: str, study_id: UUID | str, order: Order, by: str
) -> None:
    """Write down who asked for what; the next look, which comes at once, obeys. Raises `NothingWaits`."""
    study = store.lock_study(conn, tenant, study_id)
    changed = conn.execute(
        """UPDATE arrival SET ordered = %s, ordered_by = %s
           WHERE tenant = %s AND study_id = %s AND closed_at IS NULL RETURNING id""",
        (order.value, by, tenant, study.id),
    ).fetchone()
    if changed is None:
        raise NothingWaits(study.id)
    store.note(conn, study, f"study_{order.value}_ordered", detail={"by": by})
    look_again(queue, conn, tenant, study.id)
