"""Deliver: the result objects go to the peer that the route names, until each is acknowledged."""

from __future__ import annotations

from typing import Any

from dicom_gateway.deliver_dimse import DeliveryOutcome, send_instances
from dicom_gateway.scu_association import Destination
from pipeline import store
from pipeline.errors import DeliveryIncomplete, PeerUnknown
from pipeline.services import Outcome, Services
from pipeline.store import StudyRecord


def deliver_study(services: Services, record: StudyRecord) -> Outcome:
    """Send what is not yet acknowledged. Each acknowledgement is stored at once, also when others fail."""
    with services.database.transaction(record.tenant) as conn:
        objects = store.result_objects(conn, record.tenant, record.id, record.revision)
        calling = store.get_tenant(conn, record.tenant)["called_ae_title"]
        missing = [one for one in objects if one["acknowledged_at"] is None]
        peer = store.get_peer(conn, record.tenant, objects[0]["destination"])
    if peer is None:
        raise PeerUnknown(f"no peer {objects[0]['destination']}")
    destination = Destination(
        host=peer["host"], port=peer["port"], called_ae_title=peer["ae_title"], calling_ae_title=calling
    )
    outcomes = send_instances([services.folders.results / one["location"] for one in missing], destination)
    _store_outcomes(services, record, missing, outcomes)
    if not all(outcome.acknowledged for outcome in outcomes):
        raise DeliveryIncomplete(next(outcome.error for outcome in outcomes if not outcome.acknowledged))
    return Outcome(detail={"destination": peer["ae_title"], "objects": len(objects)})


def _store_outcomes(
    services: Services, record: StudyRecord, objects: list[dict[str, Any]], outcomes: list[DeliveryOutcome]
) -> None:
    by_uid = {outcome.sop_instance_uid: outcome for outcome in outcomes}
    with services.database.transaction(record.tenant) as conn:
        for one in objects:
            outcome = by_uid[one["sop_instance_uid"]]
            conn.execute(
                """UPDATE result_object SET attempts = attempts + 1, dicom_status = %s, last_error = %s,
                       acknowledged_at = CASE WHEN %s THEN clock_timestamp() END
                   WHERE tenant = %s AND sop_instance_uid = %s""",
                (outcome.status, outcome.error, outcome.acknowledged, record.tenant, one["sop_instance_uid"]),
            )
        failed = [outcome for outcome in outcomes if not outcome.acknowledged]
        if failed:
            store.note(
                conn, record, "delivery_incomplete", detail={"missing": len(failed), "error": failed[0].error}
            )
