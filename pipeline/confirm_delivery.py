"""Confirm: what a destination has acknowledged it is asked about, by storage commitment or by query.

A delivery does not wait for it: `acknowledged` is what C-STORE and STOW-RS promise, `confirmed` is more.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from pydicom.uid import generate_uid

from dicom_gateway.commitment_scu import failure_of, request_commitment
from dicom_gateway.confirm_instances import DeliveredInstance, confirm_instances, read_delivered
from dicom_gateway.errors import GatewayError
from dicom_gateway.peers import Peer
from dicom_gateway.scu_association import Destination
from dicom_gateway.service_errors import NoSuchSOPInstance
from dicom_gateway.storage_commitment import CommitmentResult
from pipeline import deliveries, store
from pipeline.archives import Archive
from pipeline.database import Connection
from pipeline.destinations import DestinationRecord, find_destination
from pipeline.errors import PipelineError
from pipeline.send_objects import Sender
from pipeline.services import Services
from pipeline.store import StudyRecord

log = logging.getLogger("radmeter.pipeline")

# Archives index after they answer, and commit when they have copied: soon, then rarely, for about a day.
PAUSES_S = (5.0, 60.0, 600.0, 3_600.0, 6 * 3_600.0, 12 * 3_600.0)
_WAIT_FOR_RESULT_S = 20.0


def confirm_delivery(services: Services, tenant: str, study_id: str, destination: str, attempt: int) -> None:
    """Ask about what is acknowledged and not confirmed; come back later for what is still open."""
    with services.database.transaction(tenant) as conn:
        study = store.get_study(conn, tenant, study_id)
        target = find_destination(conn, tenant, destination)
        rows = deliveries.confirmable(conn, tenant, study.id, destination)
        calling = store.get_tenant(conn, tenant)["called_ae_title"]
    if target is None or target.confirmation == "none" or not rows:
        return
    paths = [services.folders.results / row["location"] for row in rows]
    sender = Sender(calling, services.folders.secrets)
    with services.folders.results_at_hand(tenant, study.id):
        answers = _ask(services, study, target, sender, paths)
    with services.database.transaction(tenant) as conn:
        store.lock_study(conn, tenant, study.id)
        is_last = attempt + 1 >= len(PAUSES_S)
        _record(conn, study, target, answers, is_last=is_last)
        is_open = bool(deliveries.confirmable(conn, tenant, study.id, destination))
        if is_open and not is_last:
            services.defer_confirmation(conn, study, destination, attempt + 1)
    if is_open and is_last:
        log.error("delivery_not_confirmed", extra={"tenant": tenant, "study": study_id})


def _ask(
    services: Services, study: StudyRecord, target: DestinationRecord, sender: Sender, paths: list[Path]
) -> Mapping[str, str | None]:
    """SOP Instance UID → None where it is confirmed, else why not."""
    try:
        node = sender.node(target)
        instances = [read_delivered(path) for path in paths]
    except (PipelineError, GatewayError, OSError, ValueError) as error:
        log.warning("confirmation_not_asked", extra={"study": str(study.id), "error": type(error).__name__})
        return {}
    if target.confirmation == "query":
        return confirm_instances(Archive(target.name, node).search, instances)
    assert isinstance(node, Destination)
    return _ask_for_commitment(services, study, target, node, instances)


def _ask_for_commitment(
    services: Services,
    study: StudyRecord,
    target: DestinationRecord,
    node: Destination,
    instances: list[DeliveredInstance],
) -> Mapping[str, str | None]:
    transaction_uid = str(generate_uid(prefix=None))
    references = [one.reference for one in instances]
    uids = [reference.sop_instance_uid for reference in references]
    with services.database.transaction(study.tenant) as conn:
        # Before we ask: the answer may come on an association of the peer's at once.
        conn.execute(
            """UPDATE delivery SET commitment_uid = %s
               WHERE tenant = %s AND destination = %s AND sop_instance_uid = ANY(%s)""",
            (transaction_uid, study.tenant, target.name, uids),
        )
    answer = request_commitment(node, references, transaction_uid, _WAIT_FOR_RESULT_S)
    if answer.result is None:
        return dict.fromkeys(uids, answer.error or "the answer has not come yet")
    return {one.sop_instance_uid: failure_of(one, answer.result) for one in references}


def _record(
    conn: Connection,
    study: StudyRecord,
    target: DestinationRecord,
    answers: Mapping[str, str | None],
    *,
    is_last: bool,
) -> None:
    by = "storage commitment" if target.confirmation == "commitment" else "query"
    confirmed = [uid for uid, reason in answers.items() if reason is None]
    detail = {"destination": target.name, "by": by}
    if confirmed and deliveries.confirm(conn, study.tenant, target.name, confirmed, by):
        store.note(conn, study, "delivery_confirmed", detail=detail | {"objects": len(confirmed)})
    open_reasons = {uid: reason for uid, reason in answers.items() if reason is not None}
    if open_reasons and is_last:
        reason = next(iter(open_reasons.values()))
        conn.execute(
            """UPDATE delivery SET warning = %s
               WHERE tenant = %s AND destination = %s AND state = 'acknowledged' AND sop_instance_uid = ANY(%s)""",
            (f"not confirmed: {reason}", study.tenant, target.name, list(open_reasons)),
        )
        store.note(conn, study, "delivery_not_confirmed", detail=detail | {"error": reason})


def take_commitment_result(conn: Connection, peer: Peer, result: CommitmentResult) -> None:
    """A destination reports on an association of its own. Raises `NoSuchSOPInstance` for what we never asked."""
    rows = conn.execute(
        """SELECT d.study_id, d.destination, d.sop_instance_uid FROM delivery d
           WHERE d.tenant = %s AND d.commitment_uid = %s""",
        (peer.tenant, result.transaction_uid),
    ).fetchall()
    target = find_destination(conn, peer.tenant, rows[0]["destination"]) if rows else None
    if target is None or target.ae_title != peer.ae_title:
        raise NoSuchSOPInstance("no commitment was asked for under this Transaction UID")
    asked = {row["sop_instance_uid"] for row in rows}
    committed = {one.sop_instance_uid: None for one in result.committed if one.sop_instance_uid in asked}
    failed = {one.sop_instance_uid: failure_of(one, result) for one in result.failed}
    study = store.lock_study(conn, peer.tenant, rows[0]["study_id"])
    answers = committed | {uid: reason for uid, reason in failed.items() if uid in asked}
    _record(conn, study, target, answers, is_last=True)
