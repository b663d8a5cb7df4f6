"""Look at an arrival at once, because something that decides about it has changed."""

from __future__ import annotations

from uuid import UUID

import procrastinate

from pipeline.database import Connection
from pipeline.queue import defer_assembly
from pipeline.store import study_key


def look_again(queue: procrastinate.App, conn: Connection, tenant: str, study: UUID | str) -> None:
    """After an MPPS or a count came in, or a person decided: in that transaction. Nothing when nothing arrives.

    study: our study id or the Study Instance UID.
    """
    rows = conn.execute(
        """SELECT a.id FROM arrival a JOIN study s ON s.id = a.study_id
           WHERE a.tenant = %(tenant)s AND a.closed_at IS NULL
             AND (s.study_instance_uid = %(study)s OR s.id = %(id)s) FOR UPDATE OF a""",
        {"tenant": tenant, "study": str(study), "id": study_key(study)},
    ).fetchall()
    for row in rows:
        _look(queue, conn, tenant, row["id"])


def look_after_association(
    queue: procrastinate.App, conn: Connection, tenant: str, association_id: int
) -> None:
    """After the association has ended that brought the latest instance of an arrival."""
    rows = conn.execute(
        """SELECT id FROM arrival
           WHERE tenant = %s AND association_id = %s AND closed_at IS NULL ORDER BY id FOR UPDATE""",
        (tenant, association_id),
    ).fetchall()
    for row in rows:
        _look(queue, conn, tenant, row["id"])


def _look(queue: procrastinate.App, conn: Connection, tenant: str, arrival_id: int) -> None:
    """The arrival is locked, so a look in progress has either seen the change or has set the time of the next.

    A look that is due within a second is not queued twice: some senders open an association for each image.
    """
    is_far = conn.execute(
        """UPDATE arrival SET look_at = clock_timestamp()
           WHERE tenant = %s AND id = %s AND look_at > clock_timestamp() + interval '1 second' RETURNING id""",
        (tenant, arrival_id),
    ).fetchone()
    if is_far:
        defer_assembly(queue, conn, tenant, arrival_id, 0.0)
