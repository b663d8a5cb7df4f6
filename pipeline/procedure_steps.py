"""What modalities say they do and did: one row for each procedure step (MPPS, PS3.4 annex F)."""

from __future__ import annotations

from psycopg.types.json import Jsonb

from dicom_gateway.peers import Peer
from dicom_gateway.procedure_step import PerformedSeries, ProcedureStep, ProcedureStepChange
from dicom_gateway.service_errors import NoSuchSOPInstance, ProcedureStepExists, ProcedureStepIsFinal
from pipeline.database import Connection


def begin(conn: Connection, peer: Peer, step: ProcedureStep) -> None:
    """Record a new step as IN PROGRESS."""
    row = conn.execute(
        """INSERT INTO performed_procedure_step (tenant, sop_instance_uid, ae_title, study_instance_uid, status, series)
           VALUES (%s, %s, %s, %s, 'IN PROGRESS', %s)
           ON CONFLICT (tenant, sop_instance_uid) DO NOTHING RETURNING sop_instance_uid""",
        (peer.tenant, step.sop_instance_uid, peer.ae_title, step.study_instance_uid, _series(step.series)),
    ).fetchone()
    if row is None:
        raise ProcedureStepExists("the procedure step exists")


def change(conn: Connection, peer: Peer, change: ProcedureStepChange) -> str:
    """Change a step of this peer that is IN PROGRESS; returns the Study Instance UID."""
    row = conn.execute(
        """SELECT status, study_instance_uid FROM performed_procedure_step
           WHERE tenant = %s AND ae_title = %s AND sop_instance_uid = %s FOR UPDATE""",
        (peer.tenant, peer.ae_title, change.sop_instance_uid),
    ).fetchone()
    if row is None:
        raise NoSuchSOPInstance("the peer has created no such procedure step")
    if row["status"] != "IN PROGRESS":
        raise ProcedureStepIsFinal("the procedure step may no longer be updated")
    conn.execute(
        """UPDATE performed_procedure_step
           SET status = coalesce(%s, status), series = coalesce(%s, series), updated_at = now()
           WHERE tenant = %s AND sop_instance_uid = %s""",
        (
            change.status,
            None if change.series is None else _series(change.series),
            peer.tenant,
            change.sop_instance_uid,
        ),
    )
    return str(row["study_instance_uid"])


def _series(series: tuple[PerformedSeries, ...]) -> Jsonb:
    return Jsonb(
        [
            {"series_instance_uid": one.series_instance_uid, "sop_instance_uids": list(one.sop_instance_uids)}
            for one in series
        ]
    )
