"""Storage commitment: what we tell a peer that we keep (PS3.4 annex J)."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import procrastinate
from psycopg.types.json import Jsonb

from dicom_gateway.peers import Peer
from dicom_gateway.service_errors import DuplicateTransactionUID, TooManyCommitments
from dicom_gateway.status import CLASS_INSTANCE_CONFLICT, NO_SUCH_SOP_INSTANCE
from dicom_gateway.storage_commitment import CommitmentRequest, CommitmentResult, Reference
from pipeline.database import Connection, database_time
from pipeline.queue import ARCHIVE_QUEUE

# By then the peer has taken the report on its own association, or has released that.
REPORT_AFTER_S = 15.0
UNREPORTED_MAX = 1000
"""Results that wait for one peer; each may be 4 MiB."""


KeptOf = Callable[[Collection[str]], Collection[str]]
"""Of locations of the instance store those that have a file."""


def decide(conn: Connection, peer: Peer, request: CommitmentRequest, kept_of: KeptOf) -> CommitmentResult:
    """What we keep of what the peer asks for; the same answer for the same request.

    Committed is what has a committed row of this tenant and its file: the row was written after the file was
    on stable storage.
    """
    _check_number(conn, peer)
    held = {
        row["sop_instance_uid"]: row
        for row in conn.execute(
            """SELECT sop_instance_uid, sop_class_uid, location FROM instance
               WHERE tenant = %s AND sop_instance_uid = ANY(%s)""",
            (peer.tenant, [reference.sop_instance_uid for reference in request.references]),
        )
    }
    kept = kept_of([row["location"] for row in held.values()])
    failed = {}
    for reference in request.references:
        row = held.get(reference.sop_instance_uid)
        if row is None or row["location"] not in kept:
            failed[reference] = NO_SUCH_SOP_INSTANCE
        elif row["sop_class_uid"] != reference.sop_class_uid:
            failed[reference] = CLASS_INSTANCE_CONFLICT
    requested = [[one.sop_class_uid, one.sop_instance_uid] for one in request.references]
    conn.execute(
        """INSERT INTO storage_commitment (tenant, ae_title, transaction_uid, requested, failed)
           VALUES (%s, %s, %s, %s, %s) ON CONFLICT (tenant, ae_title, transaction_uid) DO NOTHING""",
        (
            peer.tenant,
            peer.ae_title,
            request.transaction_uid,
            Jsonb(requested),
            Jsonb([[*_pair(reference), reason] for reference, reason in failed.items()]),
        ),
    )
    known = load(conn, peer.tenant, peer.ae_title, request.transaction_uid)
    if known["requested"] != requested:
        raise DuplicateTransactionUID("the Transaction UID was used for another request")
    # A repeated request wants a repeated report.
    conn.execute(
        """UPDATE storage_commitment SET reported_at = NULL
           WHERE tenant = %s AND ae_title = %s AND transaction_uid = %s AND reported_at IS NOT NULL""",
        (peer.tenant, peer.ae_title, request.transaction_uid),
    )
    return result_of(known)


def _check_number(conn: Connection, peer: Peer) -> None:
    row = conn.execute(
        """SELECT count(*) AS waiting FROM storage_commitment
           WHERE tenant = %s AND ae_title = %s AND reported_at IS NULL""",
        (peer.tenant, peer.ae_title),
    ).fetchone()
    assert row is not None
    if row["waiting"] >= UNREPORTED_MAX:
        raise TooManyCommitments(f"{row['waiting']} results wait for the peer")


def defer_report(
    queue: procrastinate.App,
    conn: Connection,
    peer: Peer,
    transaction_uid: str,
    delay_s: float = REPORT_AFTER_S,
) -> None:
    """Report on an association of our own after `delay_s` unless the peer has the report by then."""
    at = database_time(conn, delay_s)
    queue.configure_task("report_commitment", queue=ARCHIVE_QUEUE, schedule_at=at, connection=conn).defer(
        tenant=peer.tenant, ae_title=peer.ae_title, transaction_uid=transaction_uid
    )


def note_report(
    conn: Connection, tenant: str, ae_title: str, transaction_uid: str, error: str | None
) -> None:
    """Note an attempt to report. error: why the peer did not take it; None when it did."""
    conn.execute(
        """UPDATE storage_commitment SET attempts = attempts + 1, last_error = %s,
               reported_at = CASE WHEN %s::text IS NULL THEN clock_timestamp() END
           WHERE tenant = %s AND ae_title = %s AND transaction_uid = %s""",
        (error, error, tenant, ae_title, transaction_uid),
    )


def load(conn: Connection, tenant: str, ae_title: str, transaction_uid: str) -> dict[str, Any]:
    """The row of a commitment that was asked for."""
    row = conn.execute(
        "SELECT * FROM storage_commitment WHERE tenant = %s AND ae_title = %s AND transaction_uid = %s",
        (tenant, ae_title, transaction_uid),
    ).fetchone()
    assert row is not None
    return row


def result_of(row: dict[str, Any]) -> CommitmentResult:
    """What the row says."""
    failed = {
        Reference(sop_class_uid, sop_instance_uid): reason
        for sop_class_uid, sop_instance_uid, reason in row["failed"]
    }
    requested = [Reference(*pair) for pair in row["requested"]]
    return CommitmentResult(
        row["transaction_uid"], tuple(one for one in requested if one not in failed), failed
    )


def _pair(reference: Reference) -> tuple[str, str]:
    return reference.sop_class_uid, reference.sop_instance_uid
