"""Assemble: when an arrival has fallen silent, decide what it was and store the reason."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from billing import meter
from dicom_gateway.assemble import ArrivalState, is_complete
from pipeline import store
from pipeline.database import Connection
from pipeline.finish import usage_event
from pipeline.services import Services
from pipeline.status import TERMINAL, StudyStatus

# A study that is still on its way when more instances have come: look again after this time.
_BUSY_DELAY_S = 2.0


def assemble_study(
    services: Services, tenant: str, arrival_id: int, *, defer_again: Callable[[Connection, float], None]
) -> None:
    """Close the arrival if it is complete, else look again later. All in one transaction."""
    with services.database.transaction(tenant) as conn:
        arrival = _lock_open_arrival(conn, tenant, arrival_id)
        if arrival is None:
            return  # closed already by an earlier run of this job
        state = ArrivalState(
            last_instance_at=arrival["last_at"],
            association_open=arrival["how"] is None,
            association_ended=arrival["how"],
            instance_count=arrival["new_count"] + arrival["identical_count"] + arrival["conflict_count"],
        )
        completion = is_complete(state, arrival["now"], arrival["quiet_time_s"])
        if completion is None:
            defer_again(conn, max(0.2, _silence_left_s(arrival)))
            return
        study = store.lock_study(conn, tenant, arrival["study_id"])
        # A study without any instance of its own has only conflicts: the route step refuses it, visibly.
        if arrival["new_count"] == 0 and study.status is not StudyStatus.RECEIVING:
            _close(conn, tenant, arrival_id, "seen_again", completion.reason)
            store.note(
                conn, study, "study_seen_again", detail={"arrival": arrival_id, "reason": completion.reason}
            )
            _record_seen_again(conn, study, arrival_id, arrival["now"])
        elif study.status is StudyStatus.RECEIVING or study.status in TERMINAL:
            _close(conn, tenant, arrival_id, "assembled", completion.reason)
            conn.execute("UPDATE study SET completion = %s WHERE id = %s", (completion.reason, study.id))
            revision = study.revision + (study.status is not StudyStatus.RECEIVING)
            detail = {"reason": completion.reason, "instances": arrival["new_count"]}
            after = store.advance(conn, study, StudyStatus.ASSEMBLED, detail=detail, revision=revision)
            services.defer_step(conn, after)
        else:
            defer_again(conn, _BUSY_DELAY_S)  # late instances wait for the end of the revision in progress


def _lock_open_arrival(conn: Connection, tenant: str, arrival_id: int) -> dict[str, Any] | None:
    return conn.execute(
        """SELECT a.*, s.how, clock_timestamp() AS now, coalesce(p.quiet_time_s, 10) AS quiet_time_s
           FROM arrival a LEFT JOIN association s ON s.id = a.association_id
           LEFT JOIN peer p ON p.tenant = a.tenant AND p.ae_title = a.ae_title
           WHERE a.tenant = %s AND a.id = %s AND a.closed_at IS NULL FOR UPDATE OF a""",
        (tenant, arrival_id),
    ).fetchone()


def _silence_left_s(arrival: dict[str, Any]) -> float:
    silent_s: float = (arrival["now"] - arrival["last_at"]).total_seconds()
    return float(arrival["quiet_time_s"]) - silent_s


def _close(conn: Connection, tenant: str, arrival_id: int, outcome: str, reason: str) -> None:
    conn.execute(
        "UPDATE arrival SET closed_at = now(), outcome = %s, completion = %s WHERE tenant = %s AND id = %s",
        (outcome, reason, tenant, arrival_id),
    )


def _record_seen_again(conn: Connection, study: store.StudyRecord, arrival_id: int, at: datetime) -> None:
    """The same instances again: nothing runs, nothing is charged, and the books say so."""
    for product in store.delivered_products(conn, study):
        meter.record(conn, usage_event(conn, study, product, "seen_again", at, key=f"arrival-{arrival_id}"))
