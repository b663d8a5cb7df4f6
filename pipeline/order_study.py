"""A person decides: process or discard what is here of a study that waits, process one anew that failed."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

import procrastinate

from dicom_gateway.arrival_evidence import Order
from pipeline import store
from pipeline.begin_anew import begin_anew, may_begin_anew
from pipeline.database import Connection
from pipeline.errors import NothingWaits
from pipeline.look_again import look_again
from pipeline.queue import defer_step


def waiting_studies(conn: Connection, tenant: str) -> list[dict[str, Any]]:
    """Of each study that is still arriving: study_id, ae_title, images, last_at, decision; what asks a person first."""
    return conn.execute(
        """SELECT study_id, ae_title, new_count AS images, last_at, decision FROM arrival
           WHERE tenant = %s AND closed_at IS NULL
           ORDER BY (decision->>'verdict' = 'ask') DESC NULLS LAST, first_at LIMIT 200""",
        (tenant,),
    ).fetchall()


def order_study(
    queue: procrastinate.App, conn: Connection, tenant: str, study_id: UUID | str, order: Order, by: str
) -> None:
    """Write down who asked for what; the next look, which comes at once, obeys. Raises `NothingWaits`.

    A study that failed and of which nothing is arriving begins anew.
    """
    study = store.lock_arriving(conn, tenant, study_id)
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
