"""A person decides: process or discard what is here of a study that waits, process one anew that failed."""

from __future__ import annotations

from functools import partial
from uuid import UUID

import procrastinate

from dicom_gateway.arrival_evidence import Order
from pipeline import store
from pipeline.begin_anew import begin_anew, may_begin_anew
from pipeline.database import Connection
from pipeline.errors import NothingWaits
from pipeline.look_again import look_again
from pipeline.queue import defer_step


def order_study(
    queue: procrastinate.App, conn: Connection, tenant: str, study_id: UUID | str, order: Order, by: str
) -> None:
    """Write down who asked for what; the next look, which comes at once, obeys. Raises `NothingWaits`.

    A study that failed and of which nothing is arriving begins anew.
    """
    study = store.lock_study(conn, tenant, study_id)
    changed = conn.execute(
        """UPDATE arrival SET ordered = %s, ordered_by = %s
           WHERE tenant = %s AND study_id = %s AND closed_at IS NULL RETURNING id""",
        (order.value, by, tenant, study.id),
    ).fetchone()
    is_anew = changed is None and order is Order.PROCESS and may_begin_anew(study)
    if changed is None and not is_anew:
        raise NothingWaits(study.id)
    store.note(conn, study, f"study_{order.value}_ordered", detail={"by": by})
    if is_anew:
        begin_anew(conn, study, partial(defer_step, queue), by=by)
    else:
        look_again(queue, conn, tenant, study.id)
