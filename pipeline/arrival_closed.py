"""What follows when an arrival is closed: the audit trail, metrics, the trace."""

from __future__ import annotations

from pipeline import audit
from pipeline.completion_evidence import ArrivalState
from pipeline.database import Connection
from pipeline.services import Services
from pipeline.tracing import Place


def tell(services: Services, state: ArrivalState, closed_as: str) -> None:
    """Metrics and trace; closed_as: the arrival's outcome."""
    row, silence_s = state.row, state.evidence.silence_s
    services.observer.assembled(closed_as, silence_s)
    place = Place(row["tenant"], row["study_id"])
    took_s, waited_ms = (row["now"] - row["first_at"]).total_seconds(), round(silence_s * 1000)
    services.tracing.note(place, "assemble", took_s, outcome=closed_as, waited_ms=waited_ms)


def note_transfer(conn: Connection, tenant: str, arrival_id: int) -> str | None:
    """The audit trail's line about an arrival that was closed, and as what; last, for it locks the trail."""
    row = conn.execute(
        """SELECT study_id, ae_title, outcome, new_count, identical_count, conflict_count FROM arrival
           WHERE tenant = %s AND id = %s AND closed_at IS NOT NULL""",
        (tenant, arrival_id),
    ).fetchone()
    if row is None:
        return None
    count = row["new_count"] + row["identical_count"] + row["conflict_count"]
    detail = {"study": str(row["study_id"]), "calling_ae_title": row["ae_title"], "instances": count}
    audit.record(conn, tenant, audit.AuditEvent.INSTANCES_RECEIVED, detail)
    return str(row["outcome"])
